"""Back-pressure on the asyncio side of a link: what waits to be sent, and what waits to be taken.

Every kind of link uses these, so that all of them have the same bounds.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from bazaar_protocol import limits
from bazaar_protocol.errors import LinkClosed


class SendGate:
    """Counts the bytes that are queued for sending, and holds senders back while they are many."""

    __slots__ = ("_ended", "_queued_bytes", "_room")

    def __init__(self) -> None:
        self._queued_bytes = 0
        self._ended = False
        self._room = asyncio.Event()
        self._room.set()

    @property
    def is_open(self) -> bool:
        """Whether a sender may queue more without waiting."""
        return self._room.is_set()

    async def wait(self) -> None:
        """Wait until a sender may queue more.

        Raises:
            LinkClosed: The link has ended.

        """
        while not self._room.is_set():
            await self._room.wait()
        self.check()

    def check(self) -> None:
        """Raise ``LinkClosed`` if the link has ended."""
        if self._ended:
            raise LinkClosed("the link has ended")

    def add(self, size: int) -> None:
        """Count bytes that were queued."""
        self._queued_bytes += size
        if self._queued_bytes > limits.LINK_SEND_QUEUE_BYTES_MAX and not self._ended:
            self._room.clear()

    def remove(self, size: int) -> None:
        """Count bytes that have left the queue."""
        self._queued_bytes -= size
        # At half, not at the bound: else senders would wake up for each frame that leaves.
        if self._queued_bytes <= limits.LINK_SEND_QUEUE_BYTES_MAX // 2:
            self._room.set()

    def end(self) -> None:
        """Fail everyone who waits, and everyone who comes."""
        self._ended = True
        self._room.set()


class Inbox:
    """Frames that have arrived and that the application has not taken yet.

    Args:
        give_back: Called with the number of frames and of bytes that were just taken.

    """

    __slots__ = ("_arrived", "_bytes", "_ended", "_frames", "_give_back")

    def __init__(self, give_back: Callable[[int, int], None]) -> None:
        self._give_back = give_back
        self._frames: list[bytes] = []
        self._bytes = 0
        self._ended = False
        self._arrived = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether the peer may deliver more."""
        return (
            len(self._frames) < limits.LINK_RECEIVE_QUEUE_FRAMES_MAX
            and self._bytes < limits.LINK_RECEIVE_QUEUE_BYTES_MAX
        )

    def put(self, frames: list[bytes]) -> None:
        """Add frames that arrived."""
        if frames and not self._ended:
            self._frames += frames
            self._bytes += sum(map(len, frames))
            self._arrived.set()

    async def take(self) -> list[bytes]:
        """Wait for frames and return all of them.

        Raises:
            LinkClosed: The link has ended and all of its frames have been taken.

        """
        while not self._frames:
            if self._ended:
                raise LinkClosed("the link has ended")
            self._arrived.clear()
            await self._arrived.wait()
        taken, size = self._frames, self._bytes
        self._frames, self._bytes = [], 0
        self._give_back(len(taken), size)
        return taken

    def end(self, *, discard: bool) -> None:
        """Take no more frames; ``discard`` those that are there as well."""
        self._ended = True
        if discard:
            self._frames, self._bytes = [], 0
        self._arrived.set()


class Outbound(ABC):
    """The sending side of a link: whoever sends waits for the gate."""

    def __init__(self) -> None:
        self._gate = SendGate()

    async def send(self, frames: bytes) -> None:
        """Queue whole frames; wait while too much is queued.

        Raises:
            LinkClosed: The link has ended.

        """
        await self._gate.wait()
        self._enqueue(frames)

    def offer(self, frames: bytes) -> bool:
        """Queue whole frames, or return False if too much is queued.

        Raises:
            LinkClosed: The link has ended.

        """
        self._gate.check()
        if not self._gate.is_open:
            return False
        self._enqueue(frames)
        return True

    @abstractmethod
    def _enqueue(self, frames: bytes) -> None:
        """Queue frames, and count them at the gate until they have left."""
