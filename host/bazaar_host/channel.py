"""The trio side of one link: between a stream and the pump to asyncio."""

import math
from collections.abc import Callable
from typing import Final

import trio

from bazaar_host.muxer import MuxedStream
from bazaar_protocol import limits
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.framing import Splitter

_SENT_REPORTED_BYTES: Final = limits.LINK_SEND_QUEUE_BYTES_MAX // 8
"""Senders wait above the bound and go on at half of it, so they can do without the rest."""


class Channel:
    """Moves frames in both directions until either side ends it.

    Args:
        stream: What carries them.
        on_frames: Called with the frames that arrive.
        on_sent: Called with the number of bytes that left the queue; not at once, as each call
            wakes another thread, but before it could matter.

    """

    def __init__(
        self,
        stream: MuxedStream,
        on_frames: Callable[[list[bytes]], None],
        on_sent: Callable[[int], None],
    ) -> None:
        self._stream = stream
        self._on_frames = on_frames
        self._on_sent = on_sent
        stream.on_sent = self._note_sent
        stream.on_change = self._take
        self._sent_unreported = 0
        self._splitter = Splitter()
        self._frames_untaken = 0
        self._bytes_untaken = 0
        self._is_closing = False
        self._scope = trio.move_on_at(math.inf)
        self._is_over = trio.Event()
        self._error: RemoteError | None = None

    async def run(self) -> None:
        """Return when the channel has ended.

        Raises:
            LinkClosed: The stream broke.
            TooLarge: The peer sent a frame that is none.

        """
        try:
            with self._scope:
                self._take()
                await self._is_over.wait()
        finally:
            self._is_over.set()  # nothing is handed on from here on
        if self._error is not None:
            raise self._error

    def push(self, frames: bytes) -> None:
        """Queue frames for sending; none after ``close``."""
        if not self._is_closing:
            self._stream.push(frames)

    def give_back(self, frames: int, size: int) -> None:
        """Note that the application took frames, so that more may come."""
        self._frames_untaken -= frames
        self._bytes_untaken -= size
        self._take()

    def close(self) -> None:
        """Send what is queued, say goodbye and end; do not wait for long."""
        self._is_closing = True
        self._scope.deadline = trio.current_time() + limits.LINK_CLOSE_TIMEOUT_S
        self._stream.finish()
        self._take()

    def _note_sent(self, size: int) -> None:
        self._sent_unreported += size
        if self._sent_unreported >= _SENT_REPORTED_BYTES:
            size, self._sent_unreported = self._sent_unreported, 0
            self._on_sent(size)

    def _take(self) -> None:
        # While nothing is taken, the window shuts, and the peer's sender waits.
        if self._is_over.is_set() or (self._is_full and not self._is_closing):
            return
        try:
            data = self._stream.take()
            bodies = self._splitter.feed(data) if data else []
        except RemoteError as error:
            self._error = error
            self._is_over.set()
            return
        if data is None:
            self._is_over.set()
        elif bodies and not self._is_closing:
            self._frames_untaken += len(bodies)
            self._bytes_untaken += sum(map(len, bodies))
            self._on_frames(bodies)

    @property
    def _is_full(self) -> bool:
        return (
            self._frames_untaken >= limits.LINK_RECEIVE_QUEUE_FRAMES_MAX
            or self._bytes_untaken >= limits.LINK_RECEIVE_QUEUE_BYTES_MAX
        )
