"""The trio side of one link: between a stream and the pump to asyncio."""

import math
from collections.abc import Callable

import trio

from bazaar_host.muxer import MuxedStream
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
        stream: MuxedStream,
        on_frames: Callable[[list[bytes]], None],
        on_sent: Callable[[int], None],
    ) -> None:
        self._stream = stream
        self._on_frames = on_frames
        stream.on_sent = on_sent
        self._wake_reader = trio.Event()
        self._frames_untaken = 0
        self._bytes_untaken = 0
        self._is_closing = False
        self._scope = trio.move_on_at(math.inf)

    async def run(self) -> None:
        """Return when the channel has ended. Whatever a broken stream raises comes out of here."""
        with self._scope:
            await self._read()

    def push(self, frames: bytes) -> None:
        """Queue frames for sending; none after ``close``."""
        if not self._is_closing:
            self._stream.push(frames)

    def give_back(self, frames: int, size: int) -> None:
        """Note that the application took frames, so that more may come."""
        self._frames_untaken -= frames
        self._bytes_untaken -= size
        self._wake_reader.set()

    def close(self) -> None:
        """Send what is queued, say goodbye and end; do not wait for long."""
        self._is_closing = True
        self._scope.deadline = trio.current_time() + limits.LINK_CLOSE_TIMEOUT_S
        self._stream.finish()
        self._wake_reader.set()

    async def _read(self) -> None:
        splitter = Splitter()
        while data := await self._stream.read():
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
