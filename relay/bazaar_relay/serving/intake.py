"""Whose turn it is, and the checking of signatures.

Every identity has its own line, and the lines are served in turn (``lines``): a flood by one makes
its own line long, and nobody else's. How much is in work at once is bounded, so what cannot be
worked on stays in the lines, and behind them in the links.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bazaar_protocol import frames, limits
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.frames import ToRelay
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record
from bazaar_relay.machine.events import Event, Received, Verified, Verify
from bazaar_relay.machine.verifying import verify
from bazaar_relay.serving.checking import BULK, Checkers
from bazaar_relay.serving.connection import Connection
from bazaar_relay.serving.lines import TwoClasses

THREADS: Final = 2
_BATCHES_MAX: Final = 2  # one is checked while the next is gathered
_BATCH_RECORDS: Final = THREADS * limits.RECORDS_PER_JOB_MAX


class Intake:
    """Hands frames that write to the machine, and checks what the machine wants checked.

    Args:
        run: Lets the machine handle an event, and carries out what it answers.
        threads: Where signatures are checked; None to check them in the event loop, so that a
            simulation runs the same way each time.
        is_stranger: Tells whether others go first.

    """

    def __init__(
        self,
        run: Callable[[Event], None],
        threads: ThreadPoolExecutor | None,
        is_stranger: Callable[[AgentId], bool] = lambda _: False,
    ) -> None:
        self._run = run
        self._threads = threads
        self._checkers = None if threads is None else Checkers(threads)
        self._is_stranger = is_stranger
        self._turns: TwoClasses[AgentId, Connection] = TwoClasses()
        self._wanted: list[Verify] = []
        self._in_work = 0
        self._batches = 0
        self._bytes = 0
        self._is_stopped = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def put(self, connection: Connection, frame: ToRelay, size: int) -> None:
        """Line up a frame; wait while too much is waiting here altogether."""
        await self._has_room.wait()
        self._bytes += size
        if self._bytes >= limits.WRITE_BYTES_MAX:
            self._has_room.clear()
        peer = connection.link.peer
        connection.queue_write(frame, size)
        self._turns.put(
            peer, connection, max(1, _records(frame)), is_stranger=self._is_stranger(peer)
        )
        self._changed.set()

    def want(self, verify: Verify) -> None:
        """Check these soon; many are checked together."""
        self._wanted.append(verify)
        self._changed.set()

    def finished(self, records: int) -> None:
        """Take note that records were answered for."""
        self._in_work -= records
        self._changed.set()

    def forget(self, connection: Connection) -> None:
        """Leave out what a link that has ended still wanted."""
        while connection.writes:
            self._release(connection.take_write()[1])
        self._turns.forget(connection.link.peer, connection)

    def stop(self) -> None:
        """Take no more frames into work."""
        self._is_stopped = True

    async def serve(self, tasks: asyncio.TaskGroup) -> None:
        """Work until cancelled."""
        try:
            await self._serve(tasks)
        finally:
            if self._checkers is not None:
                await self._checkers.close()

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            while not self._wanted and not (self._turns and self._may_start):
                self._changed.clear()
                await self._changed.wait()
            if self._may_start:
                self._gather()
            batch, self._wanted = self._wanted, []
            raws = [raw for verify in batch for raw in verify.raws]
            if self._threads is None or len(raws) <= limits.RECORDS_INLINE_MAX:
                self._tell(batch, _verify_all(raws))
                await asyncio.sleep(0)  # else a fast sender would keep everyone else waiting
            else:
                self._batches += 1
                tasks.create_task(self._verify(batch, raws))

    @property
    def _may_start(self) -> bool:
        if self._is_stopped:
            return False
        return self._batches < _BATCHES_MAX and self._in_work < limits.RECORDS_IN_WORK_MAX

    def _gather(self) -> None:
        """Give the frames whose turn it is to the machine, until there is a batch."""
        gathered = 0
        while self._turns and gathered < _BATCH_RECORDS:
            connection = self._turns.take()
            frame, size = connection.take_write()
            self._release(size)
            records = _records(frame)
            gathered += max(1, records)
            self._in_work += records
            self._run(Received(connection.id, frame))

    def _release(self, size: int) -> None:
        self._bytes -= size
        if self._bytes <= limits.WRITE_BYTES_MAX // 2:
            self._has_room.set()

    async def _verify(self, batch: list[Verify], raws: list[bytes]) -> None:
        if len(raws) < BULK or self._checkers is None:
            outcomes = await self._verify_in_threads(raws)
        else:
            outcomes = await self._checkers.verify(raws)
        self._batches -= 1
        self._changed.set()
        self._tell(batch, outcomes)

    async def _verify_in_threads(self, raws: list[bytes]) -> list[Record | RemoteError]:
        # One hop to a thread costs about as much as one check, so never for a few.
        half = max(limits.RECORDS_INLINE_MAX + 1, -(-len(raws) // THREADS))
        size = min(half, limits.RECORDS_PER_JOB_MAX)
        loop = asyncio.get_running_loop()
        parts = [raws[start : start + size] for start in range(0, len(raws), size)]
        outcomes = await asyncio.gather(
            *(loop.run_in_executor(self._threads, _verify_all, part) for part in parts)
        )
        return [outcome for part in outcomes for outcome in part]

    def _tell(self, batch: list[Verify], outcomes: Sequence[Record | RemoteError]) -> None:
        start = 0
        for wanted in batch:
            end = start + len(wanted.raws)
            self._run(Verified(wanted.work, outcomes[start:end]))
            start = end


def _records(frame: ToRelay) -> int:
    return len(frame.records) if isinstance(frame, frames.Publish) else 0


def _verify_all(raws: Sequence[bytes]) -> list[Record | RemoteError]:
    return list(map(verify, raws))
