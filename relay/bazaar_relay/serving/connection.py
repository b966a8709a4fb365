"""One node's link, as the relay's shell sees it: what it may still send, and what it is owed."""

import asyncio
from collections import deque

from bazaar_host.links import Link
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.frames import FromRelay, ToRelay, encode_frame
from bazaar_protocol.framing import pack
from bazaar_relay.machine.events import ConnectionId


class Connection:
    """A link, the requests that wait for their turn, and the answers that wait for room."""

    def __init__(self, number: ConnectionId, link: Link, tasks: asyncio.TaskGroup) -> None:
        self.id = number
        self.link = link
        self.writes: deque[tuple[ToRelay, int]] = deque()
        """Frames that want to write something, each with its size; ``Intake`` takes them."""
        self.reading = asyncio.Lock()
        """One answer out of the store at a time."""
        self._tasks = tasks
        self.is_failed = False
        """Nothing more is taken from it."""
        self._pause_s = 0.0
        self._paused_until_s = 0.0
        self._unanswered = 0
        self._waiting_bytes = 0
        self._owed: list[bytes] = []
        self._is_flushing = False
        self._changed = asyncio.Event()

    async def wait_for_room(self) -> None:
        """Wait until the node may send the next frame: while it is behind, nothing is read."""
        while (
            self._unanswered >= limits.WRITES_PER_LINK_MAX
            or self._waiting_bytes >= limits.WRITE_BYTES_PER_LINK_MAX
            or self._owed
        ):
            self._changed.clear()
            await self._changed.wait()
        pause_s = self._paused_until_s - asyncio.get_running_loop().time()
        if pause_s > 0:
            await asyncio.sleep(pause_s)

    def pause(self) -> None:
        """Read nothing for a while, each time twice as long: who goes on regardless costs less so.

        ``forgive`` makes it short again.
        """
        now_s = asyncio.get_running_loop().time()
        longer_s = max(2 * self._pause_s, limits.PAUSE_AFTER_REFUSAL_S)
        self._pause_s = min(longer_s, limits.PAUSE_S_MAX)
        until_s = max(now_s, self._paused_until_s) + self._pause_s
        self._paused_until_s = min(until_s, now_s + limits.PAUSE_S_MAX)

    def forgive(self) -> None:
        """Forget the pauses that there were: something was taken."""
        self._pause_s = 0.0

    def expect_answer(self) -> None:
        """Count a request that will be answered later."""
        self._unanswered += 1

    def answered(self) -> None:
        """Count its answer."""
        self._unanswered -= 1
        self._changed.set()

    def queue_write(self, frame: ToRelay, size: int) -> None:
        """Line up a frame for the intake."""
        self.writes.append((frame, size))
        self._waiting_bytes += size

    def take_write(self) -> tuple[ToRelay, int]:
        """Take the next frame for the intake."""
        frame, size = self.writes.popleft()
        self._waiting_bytes -= size
        self._changed.set()
        return frame, size

    def reply(self, packed: bytes) -> None:
        """Send answers, now or as soon as the link has room. They are never left out.

        What is owed is bounded, since a node that does not take its answers cannot ask for more.
        """
        try:
            if not self._owed and self.link.offer(packed):
                return
        except LinkClosed:
            return  # its reader sees the same, and ends the connection
        self._owed.append(packed)
        if not self._is_flushing:
            self._is_flushing = True
            self._tasks.create_task(self._flush())

    def fail(self, code: str, reason: str) -> None:
        """Say what is wrong with the link, and end it."""
        self.is_failed = True
        self.reply(pack(encode_frame(frames.Error(0, code, reason[: limits.NAME_CHARS_MAX]))))
        self.link.close()

    async def send(self, frame: FromRelay) -> None:
        """Send one frame when there is room.

        Raises:
            LinkClosed: The link has ended.

        """
        await self.link.send(pack(encode_frame(frame)))

    async def _flush(self) -> None:
        try:
            while self._owed:
                await self.link.send(self._owed[0])
                del self._owed[0]
                self._changed.set()
        except LinkClosed:
            self._owed.clear()
            self._changed.set()
        finally:
            self._is_flushing = False
