"""The trio side of one link: between a yamux stream and the pump to asyncio."""

import math
from collections import deque
from collections.abc import Callable

import trio
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import YamuxStream

from bazaar_host.hardening import WRITE_BYTES_MAX, room
from bazaar_protocol import limits
from bazaar_protocol.framing import Splitter


class Channel:
    """Moves frames in both directions until either side ends it.

    Args:
        stream: What carries them.
        on_frames: Called with the frames that arrive.
        on_sent: Called with the number of bytes that left the queue.

    """

    def __init__(
        self,
        stream: YamuxStream,
        on_frames: Callable[[list[bytes]], None],
        on_sent: Callable[[int], None],
    ) -> None:
        self._stream = stream
        self._on_frames = on_frames
        self._on_sent = on_sent
        self._queue: deque[bytes] = deque()
        self._wake_writer = trio.Event()
        self._wake_reader = trio.Event()
        self._frames_untaken = 0
        self._bytes_untaken = 0
        self._is_closing = False
        self._scope = trio.move_on_at(math.inf)

    async def run(self) -> bool:
        """Return when the channel has ended: True if both sides agreed that it should.

        Whatever a broken stream raises comes out of here, in an exception group.
        """
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()
                nursery.cancel_scope.cancel()
        return not self._scope.cancelled_caught

    def push(self, frames: bytes) -> None:
        """Queue frames for sending."""
        self._queue.append(frames)
        self._wake_writer.set()

    def give_back(self, frames: int, size: int) -> None:
        """Note that the application took frames, so that more may come."""
        self._frames_untaken -= frames
        self._bytes_untaken -= size
        self._wake_reader.set()

    def close(self) -> None:
        """Send what is queued, say goodbye and end; do not wait for long."""
        self._is_closing = True
        self._scope.deadline = trio.current_time() + limits.LINK_CLOSE_TIMEOUT_S
        self._wake_writer.set()
        self._wake_reader.set()

    async def _write(self) -> None:
        while True:
            while self._queue:
                data = self._next_piece()
                await self._send(data)
                self._on_sent(len(data))
            if self._is_closing:
                await self._stream.close()
                return
            self._wake_writer = trio.Event()
            await self._wake_writer.wait()

    def _next_piece(self) -> bytes:
        """Take from the queue what fits into one write, and at least one send's worth."""
        parts = [self._queue.popleft()]
        size = len(parts[0])
        while self._queue and size + len(self._queue[0]) <= WRITE_BYTES_MAX:
            parts.append(self._queue.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    async def _send(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            size = min(WRITE_BYTES_MAX, await room(self._stream))
            await self._stream.write(data[start : start + size])
            start += size

    async def _read(self) -> None:
        splitter = Splitter()
        while True:
            try:
                data = await self._stream.read()
            except MuxedStreamEOF:
                return
            bodies = splitter.feed(data)
            if bodies and not self._is_closing:
                self._frames_untaken += len(bodies)
                self._bytes_untaken += sum(map(len, bodies))
                self._on_frames(bodies)
            # While we do not read, the window shuts, and the peer's sender waits.
            while self._is_full and not self._is_closing:
                self._wake_reader = trio.Event()
                await self._wake_reader.wait()

    @property
    def _is_full(self) -> bool:
        return (
            self._frames_untaken >= limits.LINK_RECEIVE_QUEUE_FRAMES_MAX
            or self._bytes_untaken >= limits.LINK_RECEIVE_QUEUE_BYTES_MAX
        )
