"""A disk in memory: databases that outlive the process which opens them, without any thread.

For simulations. A ``Database`` opened here keeps its contract, with these differences: it costs
no thread, so that every run is the same; how long a commit takes is for the caller to say; and a
reader that writes is told that it may not only after it has.
Pulling the plug is exact: a transaction is carried out as a whole, or not at all.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bazaar_host.database import Database, Synchronous, migrate
from bazaar_host.storage_errors import translated
from bazaar_protocol.errors import StorageError, StorageFull

T = TypeVar("T")


class MemoryDisk:
    """What one process has written.

    Args:
        delay_s: Asked for each transaction how long it takes.
        on_commit: Called after each transaction with the path of what it changed.
        is_full: Asked before each transaction whether there is no room for it.

    """

    def __init__(
        self,
        delay_s: Callable[[], float] = lambda: 0.0,
        on_commit: Callable[[Path], None] = lambda _: None,
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self.delay_s = delay_s
        self.on_commit = on_commit
        self.is_full = is_full
        self._files: dict[Path, sqlite3.Connection] = {}
        self._open: dict[Path, list[_Inline]] = {}

    @asynccontextmanager
    async def open(
        self, path: Path, migrations: Sequence[str], *, synchronous: Synchronous = "FULL"
    ) -> AsyncGenerator[Database]:
        """Open the database at ``path``, as ``Database.open`` does.

        Raises:
            StorageError: It is in use, or a newer version wrote it.

        """
        del synchronous
        if path in self._open:
            raise StorageError(f"{path} is in use by another process")
        db = self._files.setdefault(path, _empty())
        writer, reader = _Inline(self, path, db), _Reader(self, path, db)
        runners = self._open[path] = [writer, reader]
        try:
            try:
                with translated(path):
                    migrate(db, path=path, migrations=migrations)
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
            yield Database(path, writer, reader)
            await writer.drain()
        finally:
            for runner in runners:
                runner.close()
            if self._open.get(path) is runners:
                del self._open[path]

    def pull_the_plug(self) -> None:
        """End everything that is open, and what was submitted and has not been carried out."""
        for runners in self._open.values():
            for runner in runners:
                runner.close()
        self._open.clear()

    def look(self, path: Path) -> sqlite3.Connection | None:
        """Return what is committed at ``path``, to be read only; None if there is nothing."""
        return self._files.get(path)

    def save(self, path: Path) -> bytes:
        """Return a copy of what is committed at ``path``."""
        return self._files[path].serialize()

    def restore(self, path: Path, copy: bytes) -> None:
        """Replace what is at ``path``, which nobody has open, by a copy made earlier."""
        if path in self._open:
            raise StorageError(f"{path} is in use by another process")
        self._files[path] = db = _empty()
        db.deserialize(copy)


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    answer: "asyncio.Future[Any]"


class _Inline:
    """Carries out functions in the event loop, in the order of the calls."""

    def __init__(self, disk: MemoryDisk, path: Path, db: sqlite3.Connection) -> None:
        self._disk = disk
        self._path = path
        self._db = db
        self._free_at = 0.0
        self._jobs: deque[_Job] = deque()
        self._is_closed = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns, once its turn has come."""
        self._check()
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future())
        job.answer.add_done_callback(_look_at)  # its caller may be gone
        self._jobs.append(job)
        # Never before the one that came first.
        self._free_at = max(self._free_at, loop.time()) + self._disk.delay_s()
        loop.call_at(self._free_at, self._carry_out_next)
        outcome: T = await asyncio.shield(job.answer)
        return outcome

    async def drain(self) -> None:
        """Wait until all that was submitted is carried out."""
        while self._jobs:
            await asyncio.wait((self._jobs[-1].answer,))

    def close(self) -> None:
        """Carry out nothing more."""
        self._is_closed = True
        while self._jobs:
            self._jobs.popleft().answer.set_exception(self._closed())

    def _carry_out_next(self) -> None:
        if not self._jobs:  # the plug was pulled
            return
        job = self._jobs.popleft()
        try:
            result = self._carry_out(job.work)
        except BaseException as error:  # noqa: BLE001 (it is told to whoever waits)
            job.answer.set_exception(error)
        else:
            job.answer.set_result(result)
            self._disk.on_commit(self._path)

    def _carry_out(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._disk.is_full():
            raise StorageFull(f"no room left for {self._path}")
        with translated(self._path):
            return work(self._db)

    def _check(self) -> None:
        if self._is_closed:
            raise self._closed()

    def _closed(self) -> StorageError:
        return StorageError(f"{self._path} is closed")


class _Reader(_Inline):
    """Reads what is committed, and waits for nobody."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` reads."""
        await asyncio.sleep(0)  # as long as a thread would have taken at least
        self._check()
        changes = self._db.total_changes
        with translated(self._path):
            outcome = work(self._db)
        # A pragma would keep it from writing, too, and have every statement compiled anew.
        if self._db.total_changes != changes:
            raise StorageError(f"{self._path}: a reader wrote to a readonly database")
        return outcome


def _empty() -> sqlite3.Connection:
    # Autocommit, so that BEGIN and COMMIT stand in our code and nowhere else.
    db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _look_at(answer: "asyncio.Future[Any]") -> None:
    if not answer.cancelled():
        answer.exception()
