"""What a session tells about what arrived."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes arrived on a stream. They count against its window until ``Session.take`` is told."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """The peer will send no more on a stream, but may go on reading."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave a stream up: nothing more comes, and nothing that is sent is read."""

    stream: int


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The peer ends the session, and all streams with it."""

    code: int


Event = StreamOpened | DataReceived | StreamFinished | StreamReset | SessionEnded
