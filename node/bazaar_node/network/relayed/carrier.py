"""One end of a relayed link as its relay sees it: messages it cannot read, and their credit."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, MalformedRecord, RemoteError

Said: TypeAlias = frames.AcceptLink | frames.LinkData | frames.LinkCredit | frames.CloseLink
Tell: TypeAlias = Callable[[Said], Awaitable[None]]
"""Sends a frame to the relay; raises a ``RemoteError`` when it is away."""

_CREDIT_BYTES_MIN: Final = limits.RELAYED_WINDOW_BYTES // 4
"""So much is taken before the sender is told: a frame for each frame would be half of them."""


class Carrier:
    """Messages to and from the other end, in order.

    Args:
        number: The relay's number for the link.
        tell: Sends to the relay.

    """

    def __init__(self, number: int, tell: Tell) -> None:
        self.number = number
        self.reason = ""
        """Why the link is over, for people; empty while it is not."""
        self._tell = tell
        self._is_known = False
        """Whether the relay knows that it is over."""
        self._arrived: deque[bytes] = deque()
        self._untaken = 0
        """What arrived and is not credited to the sender yet."""
        self._taken = 0
        self._credit = limits.RELAYED_WINDOW_BYTES
        self._changed = asyncio.Event()
        self._has_credit = asyncio.Event()

    # From the relay.

    def on_data(self, data: bytes) -> None:
        """Take a message in.

        Raises:
            MalformedRecord: The relay lets through more than we gave credit for.

        """
        if self.reason:
            return
        self._untaken += _cost(data)
        if self._untaken > limits.RELAYED_WINDOW_BYTES:
            raise MalformedRecord("more came on a relayed link than there was credit for")
        self._arrived.append(data)
        self._changed.set()

    def on_credit(self, size: int) -> None:
        """Note that the other end has taken something."""
        self._credit = min(self._credit + size, limits.RELAYED_WINDOW_BYTES)
        self._has_credit.set()

    def on_close(self, reason: str) -> None:
        """Note that the link is over, as the relay says."""
        self._is_known = True
        self.abort(reason)

    # For the link.

    def abort(self, reason: str) -> None:
        """Send nothing more; ``close`` is still to be called."""
        self.reason = self.reason or reason or "the link has ended"
        self._changed.set()
        self._has_credit.set()

    async def accept(self) -> None:
        """Say that we take the link.

        Raises:
            RemoteError: The relay is away.

        """
        await self._tell(frames.AcceptLink(self.number))

    async def send(self, data: bytes) -> None:
        """Send one message, once there is credit for it.

        Raises:
            LinkClosed: The link is over, or the other end takes nothing any more.

        """
        try:
            async with asyncio.timeout(limits.LINK_WRITE_TIMEOUT_S):
                while self._credit < _cost(data) and not self.reason:
                    self._has_credit.clear()
                    await self._has_credit.wait()
        except TimeoutError as error:
            raise LinkClosed("the other end does not read") from error
        if self.reason:
            raise LinkClosed(self.reason)
        self._credit -= _cost(data)
        await self._tell(frames.LinkData(self.number, data))

    async def receive(self) -> bytes:
        """Return the next message. ``took`` is to be called for it.

        Raises:
            LinkClosed: The link is over, and every message that came before was returned.

        """
        while not self._arrived:
            if self.reason:
                raise LinkClosed(self.reason)
            self._changed.clear()
            await self._changed.wait()
        return self._arrived.popleft()

    async def took(self, data: bytes) -> None:
        """Let the other end send so much more."""
        self._taken += _cost(data)
        if self._taken >= _CREDIT_BYTES_MIN and not self.reason:
            size, self._taken = self._taken, 0
            self._untaken -= size
            await self._tell(frames.LinkCredit(self.number, size))

    async def close(self, reason: str) -> None:
        """Say that the link is over, unless that is known."""
        self.abort(reason)
        if not self._is_known:
            self._is_known = True
            with suppress(RemoteError):  # a relay that is away has closed it
                await self._tell(frames.CloseLink(self.number, reason[: limits.NAME_CHARS_MAX]))


def _cost(data: bytes) -> int:
    return len(data) + limits.RELAYED_FRAME_BYTES
