"""The trio side of yamux: carries bytes between a secured connection and a ``Session``.

All decisions are the session's. Here are three tasks for each connection: one reads, one writes,
and one looks now and then whether the peer is still there. The reader never waits for the writer:
two peers that both did would wait for each other for ever.
"""

import math
from collections.abc import Callable
from typing import Final, assert_never

import trio
from libp2p.io.exceptions import IOException

from bazaar_host.noise_messages import PLAINTEXT_BYTES_MAX
from bazaar_host.secured import Secured
from bazaar_host.yamux.breaches import Breach
from bazaar_host.yamux.events import (
    DataReceived,
    Event,
    SessionEnded,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from bazaar_host.yamux.frames import NORMAL, PROTOCOL_ERROR
from bazaar_host.yamux.keepalive import Keepalive, Verdict
from bazaar_host.yamux.session import Session
from bazaar_protocol import limits
from bazaar_protocol.errors import BrokenSession, LinkClosed

_MESSAGES_PER_WRITE: Final = 4
_PING: Final = 1


class Muxer:
    """The streams on one connection.

    Args:
        secured: What carries them; its end is ours, and the other way round.
        is_initiator: True for the side that dialed.
        streams_max: How many streams the peer may have at a time.

    """

    def __init__(self, secured: Secured, *, is_initiator: bool, streams_max: int) -> None:
        self.session = Session(is_initiator=is_initiator, inbound_max=streams_max)
        self.breach: Breach | None = None
        """What the peer did wrong, if that is why the session ended."""
        self._secured = secured
        self._streams: dict[int, MuxedStream] = {}
        self._pushing: list[MuxedStream] = []
        self._keepalive = Keepalive(trio.current_time())
        self._serving = trio.move_on_at(math.inf)
        self._wake_writer = trio.Event()
        self._has_said_goodbye = trio.Event()

    @property
    def is_ended(self) -> bool:
        """Whether no stream can be opened any more."""
        return self._serving.cancel_called

    async def run(self, on_stream: Callable[["MuxedStream"], None]) -> None:
        """Serve until the session ends, whoever ends it; ``on_stream`` gets the peer's streams."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._watch)
                with self._serving:
                    await self._read(on_stream)
                self.end()
                with trio.move_on_after(limits.LINK_CLOSE_TIMEOUT_S):
                    await self._has_said_goodbye.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.end()

    def end(self, breach: Breach | None = None) -> None:
        """End the session and all of its streams; the peer is told, if it listens."""
        if self.is_ended:
            return
        self.breach = breach
        self.session.go_away(NORMAL if breach is None else PROTOCOL_ERROR)
        for stream in self._streams.values():
            stream.on_end()
        self._streams.clear()
        self._serving.cancel()
        self.wake_writer()

    def open_stream(self) -> "MuxedStream":
        """Open a stream to the peer.

        Raises:
            LinkClosed: The session has ended.

        """
        if self.is_ended:
            raise LinkClosed("the session has ended")
        return self._add(self.session.open())

    def forget(self, stream: int) -> None:
        """Tell a stream of nothing more."""
        self._streams.pop(stream, None)

    def wake_writer(self) -> None:
        """Have written what the session has to send."""
        if self.session.has_outgoing:
            self._wake_writer.set()

    def gather(self, stream: "MuxedStream") -> None:
        """Have a stream hand over what was pushed into it, when it is time to write."""
        self._pushing.append(stream)
        self._wake_writer.set()

    def _add(self, number: int) -> "MuxedStream":
        stream = self._streams[number] = MuxedStream(self, number)
        self.wake_writer()
        return stream

    async def _read(self, on_stream: Callable[["MuxedStream"], None]) -> None:
        try:
            while data := await self._secured.receive():
                self._keepalive.heard(trio.current_time())
                for event in self.session.receive(data):
                    self._handle(event, on_stream)
                    if self.is_ended:
                        return
                self.wake_writer()
        except BrokenSession as error:
            self.end(Breach(error.breach))
        except IOException:
            self.end()

    def _handle(self, event: Event, on_stream: Callable[["MuxedStream"], None]) -> None:
        if isinstance(event, SessionEnded):
            self.end()
        elif isinstance(event, StreamOpened):
            on_stream(self._add(event.stream))
        elif (stream := self._streams.get(event.stream)) is not None:  # not closed already
            match event:
                case DataReceived(_, data):
                    stream.on_data(data)
                case StreamFinished():
                    stream.on_finish()
                case StreamReset():
                    stream.on_end()
                case _:
                    assert_never(event)

    async def _write(self) -> None:
        while True:
            plaintexts, sent = self._next_batch()
            if not plaintexts:
                if self.is_ended:
                    break
                self._wake_writer = trio.Event()
                await self._wake_writer.wait()
            elif await self._send(plaintexts):
                for number, size in sent:
                    if (stream := self._streams.get(number)) is not None:
                        stream.on_sent(size)
            else:
                break
        self._has_said_goodbye.set()

    def _next_batch(self) -> tuple[list[bytes], list[tuple[int, int]]]:
        for stream in self._pushing:
            stream.hand_over()
        self._pushing.clear()
        plaintexts: list[bytes] = []
        sent: list[tuple[int, int]] = []
        while len(plaintexts) < _MESSAGES_PER_WRITE and self.session.has_outgoing:
            outgoing = self.session.outgoing(PLAINTEXT_BYTES_MAX)
            plaintexts.append(outgoing.data)
            sent += outgoing.sent
        return plaintexts, sent

    async def _send(self, plaintexts: list[bytes]) -> bool:
        try:
            with trio.fail_after(limits.LINK_WRITE_TIMEOUT_S):
                await self._secured.send(plaintexts)
        except trio.TooSlowError:
            self.end(Breach.STUCK)
        except IOException:
            self.end()
        else:
            return True
        return False

    async def _watch(self) -> None:
        while True:
            await trio.sleep_until(self._keepalive.due_at)
            match self._keepalive.judge(trio.current_time()):
                case Verdict.ASK:
                    self.session.ping(_PING)
                    self.wake_writer()
                case Verdict.GIVE_UP:
                    self.end(Breach.SILENT)
                    return
                case Verdict.WAIT:
                    pass


class MuxedStream:
    """One stream. Whoever got it has to ``reset`` or ``close`` it in the end."""

    def __init__(self, muxer: Muxer, number: int) -> None:
        self.on_sent: Callable[[int], object] = self._ignore
        """Called with the number of bytes that were written, of those that were pushed."""
        self.on_change: Callable[[], object] = self._wake
        """Called when ``take`` has something new to tell; who sets it does without ``read``."""
        self._muxer = muxer
        self._session = muxer.session
        self._number = number
        self._pushed: list[bytes] = []
        self._arrived = bytearray()
        self._is_finished = False
        self._is_ended = False
        self._changed = trio.Event()

    def take(self, size_max: int | None = None) -> bytes | None:
        """Return what has arrived; nothing if more may come, None once the peer has finished.

        Raises:
            LinkClosed: The stream has ended otherwise, and all that arrived has been taken.

        """
        if self._arrived:
            data = bytes(self._arrived[:size_max])
            del self._arrived[: len(data)]
            self._session.take(self._number, len(data))
            self._muxer.wake_writer()
            return data
        if self._is_ended:
            raise LinkClosed("the stream has ended")
        return None if self._is_finished else b""

    async def read(self, size_max: int | None = None) -> bytes:
        """Wait for bytes and return what has arrived; none once the peer has finished.

        Raises:
            LinkClosed: The stream has ended otherwise, and all that arrived has been read.

        """
        while (data := self.take(size_max)) is not None:
            if data:
                return data
            self._changed = trio.Event()
            await self._changed.wait()
        return b""

    def push(self, data: bytes) -> None:
        """Queue bytes, however many; ``on_sent`` tells when they are gone."""
        # Often many at once, so the session hears only of all of them.
        if not self._pushed:
            self._muxer.gather(self)
        self._pushed.append(data)

    def finish(self) -> None:
        """Push no more. The peer hears of it after what is queued."""
        self.hand_over()
        self._session.finish(self._number)
        self._muxer.wake_writer()

    def reset(self) -> None:
        """End the stream now, both ways, with all that is queued."""
        self._session.reset(self._number)
        self._muxer.forget(self._number)
        self.on_end()
        self._muxer.wake_writer()

    def close(self) -> None:
        """End the stream after the peer has: in peace if nothing is queued, else by ``reset``."""
        self.hand_over()
        if self._is_finished and not self._session.unsent(self._number):
            self.finish()
            self._muxer.forget(self._number)
        else:
            self.reset()

    # For the muxer.

    def hand_over(self) -> None:
        """Give the session what was pushed."""
        if self._pushed:
            self._session.send(self._number, b"".join(self._pushed))
            self._pushed.clear()

    def on_data(self, data: bytes) -> None:
        """Take in bytes that arrived."""
        self._arrived += data
        self.on_change()

    def on_finish(self) -> None:
        """Note that the peer sends no more."""
        self._is_finished = True
        self.on_change()

    def on_end(self) -> None:
        """Note that nothing comes and nothing goes any more."""
        self._is_ended = True
        self.on_change()

    def _wake(self) -> None:
        self._changed.set()

    def _ignore(self, size: int) -> None:
        """Do without being told."""
