"""One side of a yamux session, without any input or output of its own.

Bytes from the peer go into ``receive``, which tells what happened; bytes for the peer come out of
``outgoing``, as many as the caller can write. In between the application opens, feeds, finishes and
resets streams by their numbers. The specification is hashicorp/yamux's; where it leaves a choice:

- Windows are enforced, and never grow: a stream holds at most ``YAMUX_WINDOW_BYTES`` that the
  application has not taken, and they are given back by halves.
- A peer has at most ``inbound_max`` streams; further ones are reset. A stream keeps its place until
  both sides have ended it, so a peer that opens and resets streams frees none by itself.
- What is sent in answer to the peer is either a state of a stream or waits in a queue that ends
  the session when it is full. So nothing here grows with what a peer sends or does not read.
- Streams that have something to send take turns, one frame each.

A session that has raised ``BrokenSession`` may only be asked to ``go_away``.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from bazaar_host.yamux import frames
from bazaar_host.yamux.breaches import Breach
from bazaar_host.yamux.events import (
    DataReceived,
    Event,
    SessionEnded,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from bazaar_host.yamux.frames import ACK, FIN, HEADER_BYTES, RST, SYN, Header, pack
from bazaar_host.yamux.stream import Stream
from bazaar_protocol import limits
from bazaar_protocol.errors import BrokenSession

STREAM_NUMBER_MAX = 2**32 - 1
_ROOM_MIN = 4 * HEADER_BYTES


class Outgoing(NamedTuple):
    """Bytes to write, and how many bytes of each stream are among them."""

    data: bytes
    sent: list[tuple[int, int]]


class _Body(NamedTuple):
    """A data frame whose body is still arriving."""

    stream: int
    flags: int
    left: int


class Session:
    """One side of a session.

    Args:
        is_initiator: True for the side that dialed: it opens the odd streams.
        inbound_max: How many streams the peer may have at a time.

    """

    def __init__(
        self, *, is_initiator: bool, inbound_max: int = limits.YAMUX_STREAMS_INBOUND_MAX
    ) -> None:
        self._next_number = 1 if is_initiator else 2
        self._inbound_max = inbound_max
        self._inbound = 0
        self._streams: dict[int, Stream] = {}
        self._reader = frames.FrameReader()
        self._body = _Body(frames.SESSION, 0, 0)
        self._answers: deque[bytes] = deque()
        self._ready: dict[int, None] = {}  # streams with something to send, in turn
        self._is_ending = False

    @property
    def inbound(self) -> int:
        """How many streams of the peer there are."""
        return self._inbound

    @property
    def has_outgoing(self) -> bool:
        """Whether there is something to write."""
        return bool(self._answers or self._ready)

    def unsent(self, stream: int) -> int:
        """Return how many bytes of a stream wait here, because of the peer's window or ours."""
        return self._streams[stream].unsent_bytes if stream in self._streams else 0

    # What arrives.

    def receive(self, data: bytes) -> Iterator[Event]:
        """Take in bytes from the peer, and yield what they mean; to be gone through to the end.

        Raises:
            BrokenSession: The peer broke the rules. What came before has been yielded.

        """
        for part in self._reader.feed(data):
            if isinstance(part, bytes):
                yield from self._on_body(part)
            elif part.kind == frames.PING:
                self._on_ping(part)
            elif part.kind == frames.GO_AWAY:
                yield SessionEnded(part.length)
            else:
                yield from self._on_stream_frame(part)

    def _on_stream_frame(self, header: Header) -> Iterator[Event]:
        number, flags, length = header.stream, header.flags, header.length
        if flags & SYN and self._accept(number):
            yield StreamOpened(number)
        stream = self._streams.get(number)
        if header.kind == frames.DATA:
            if stream is not None:
                stream.announced(length)
            if length:
                self._body = _Body(number, flags, length)
                return  # the flags count at the end of the body
        elif stream is not None:
            stream.widened(length)
            self._update(stream)
        yield from self._on_flags(number, flags)

    def _on_body(self, part: bytes) -> Iterator[Event]:
        number, flags, left = self._body
        self._body = _Body(number, flags, left - len(part))
        # Nobody to tell if we have given the stream up, and the peer did not know yet.
        if number in self._streams:
            yield DataReceived(number, part)
        if not self._body.left:
            yield from self._on_flags(number, flags)

    def _on_flags(self, number: int, flags: int) -> Iterator[Event]:
        stream = self._streams.get(number)
        if stream is None or stream.is_reset_by_peer:
            return
        if flags & RST:
            stream.given_up()
            self._update(stream)
            yield StreamReset(number)
        elif flags & FIN and not stream.is_finished_by_peer:
            stream.is_finished_by_peer = True
            self._update(stream)
            yield StreamFinished(number)

    def _on_ping(self, header: Header) -> None:
        if header.flags & SYN:
            self._answer(pack(frames.PING, ACK, frames.SESSION, header.length))
        elif not header.flags & ACK:
            raise BrokenSession(Breach.TYPE, "a ping is neither a question nor an answer")

    def _accept(self, number: int) -> bool:
        if number % 2 == self._next_number % 2 or number in self._streams:
            raise BrokenSession(Breach.STREAM, f"stream {number} is not the peer's to open now")
        # Even if it has its place: whoever gets it may give it up, which is an answer as well.
        self._check_answers()
        if self._inbound >= self._inbound_max:
            self._answer(pack(frames.WINDOW_UPDATE, RST, number, 0))
            return False
        self._add(Stream(number, is_inbound=True))
        return True

    def _answer(self, frame: bytes) -> None:
        self._check_answers()
        self._answers.append(frame)

    def _check_answers(self) -> None:
        if len(self._answers) >= limits.YAMUX_ANSWERS_MAX:
            raise BrokenSession(Breach.FLOOD, f"the peer has not read {len(self._answers)} answers")

    # What the application does. A stream that is over may still be named; nothing happens then.

    def open(self) -> int:
        """Open a stream and return its number."""
        number = self._next_number
        assert number <= STREAM_NUMBER_MAX
        self._next_number += 2
        self._add(Stream(number, is_inbound=False))
        return number

    def send(self, stream: int, data: bytes) -> None:
        """Queue bytes on a stream that was not finished. How many is up to the caller."""
        if (found := self._streams.get(stream)) is not None:
            assert not found.is_finishing
            found.send(data)
            self._update(found)

    def take(self, stream: int, size: int) -> None:
        """Note that the application took ``size`` of the bytes that arrived on a stream."""
        if (found := self._streams.get(stream)) is not None:
            found.take(size)
            self._update(found)

    def finish(self, stream: int) -> None:
        """Send no more on a stream, after what is queued."""
        if (found := self._streams.get(stream)) is not None:
            found.is_finishing = True
            found.is_finished_by_us |= found.is_reset_by_peer  # nobody is left to be told
            self._update(found)

    def reset(self, stream: int) -> None:
        """Give a stream up, with all that is queued."""
        if (found := self._streams.get(stream)) is not None:
            if found.is_announced and not found.is_reset_by_peer:
                # Not by `_answer`: the peer is not to blame, and there is one for each stream.
                self._answers.append(pack(frames.WINDOW_UPDATE, RST, stream, 0))
            self._remove(found)

    def ping(self, value: int) -> None:
        """Ask the peer for a sign of life."""
        if not self._is_ending:
            self._answers.append(pack(frames.PING, SYN, frames.SESSION, value))

    def go_away(self, code: int) -> None:
        """End the session: nothing but this word is sent any more."""
        if not self._is_ending:
            self._is_ending = True
            self._streams.clear()
            self._ready.clear()
            self._answers = deque([pack(frames.GO_AWAY, 0, frames.SESSION, code)])

    # What goes out.

    def outgoing(self, size_max: int) -> Outgoing:
        """Return what to write next, at most ``size_max`` bytes; none if there is nothing.

        What is returned has been sent, as far as this session knows.
        """
        assert size_max >= _ROOM_MIN
        parts: list[bytes | memoryview] = []
        sent: list[tuple[int, int]] = []
        room = size_max
        while self._answers and room >= HEADER_BYTES:
            parts.append(self._answers.popleft())
            room -= HEADER_BYTES
        while self._ready and room >= _ROOM_MIN:
            stream = self._streams[next(iter(self._ready))]
            produced, size = stream.frames(room)
            del self._ready[stream.number]  # to the end of the row, if there is more
            self._update(stream)
            if size:
                sent.append((stream.number, size))
            room -= sum(map(len, produced))
            parts += produced
        return Outgoing(b"".join(parts), sent)

    # The table of streams.

    def _add(self, stream: Stream) -> None:
        self._streams[stream.number] = stream
        self._inbound += stream.is_inbound
        self._update(stream)

    def _remove(self, stream: Stream) -> None:
        del self._streams[stream.number]
        self._ready.pop(stream.number, None)
        self._inbound -= stream.is_inbound

    def _update(self, stream: Stream) -> None:
        if stream.is_over:
            self._remove(stream)
        elif not stream.has_frames:
            self._ready.pop(stream.number, None)
        elif not self._is_ending:
            self._ready.setdefault(stream.number)
