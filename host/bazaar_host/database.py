"""The one SQLite file of a process: one connection that writes, one that reads.

Whatever is done to it is a plain function on a ``sqlite3.Connection``, carried out on that
connection's own thread from its first statement to its last. So a transaction costs one hop
between threads however many rows it has, no other task's statement can slip into it, and
cancelling the task that waits for it cannot leave it half done.
"""

import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
)
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol, Self, TypeVar

import aiosqlite

from bazaar_host import file_lock
from bazaar_host.storage_errors import translated
from bazaar_protocol.errors import StorageError

T = TypeVar("T")

Synchronous = Literal["FULL", "NORMAL", "OFF"]

# Nobody else should be writing; this is for someone who looks at the file with a tool.
_BUSY_TIMEOUT_S: Final = 0.5
_ITER_CHUNK_SIZE: Final = 64  # aiosqlite asks for one; its cursors are not used here


class Runner(Protocol):
    """Carries out functions on one connection, one after the other."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns; a cancelled caller's is carried out all the same."""
        ...


class OpenDatabase(Protocol):
    """Opens a database; ``Database.open`` does, and so does a ``MemoryDisk``."""

    def __call__(
        self, path: Path, migrations: Sequence[str], *, synchronous: Synchronous = "FULL"
    ) -> "AbstractAsyncContextManager[Database]":
        """Open what is at ``path``; see ``Database.open``."""
        ...


class Database:
    """The SQLite file of this process, and of no other process at the same time."""

    def __init__(self, path: Path, writer: Runner, reader: Runner) -> None:
        self.path = path
        self.commits = 0
        """Transactions committed so far: the cheap measure of syncs.

        With ``synchronous="FULL"`` each one that changed something costs one fdatasync, and
        a checkpoint, every 1000 pages or so, two more.
        """
        self._writer = writer
        self._reader = reader

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, migrations: Sequence[str], *, synchronous: Synchronous = "FULL"
    ) -> AsyncGenerator[Self]:
        """Open the file at ``path``, creating or migrating it first.

        Each script of ``migrations`` makes one version of the schema, in one transaction; a script
        that was released once never changes. Leaving the block waits for the transactions that
        were submitted. With less than ``FULL``, a power cut may undo commits.

        Raises:
            StorageError: It is in use, corrupt, cannot be made, or a newer version wrote it.

        """
        async with AsyncExitStack() as stack:
            path = stack.enter_context(_owned(path))
            writer = _Thread(path, read_only=False)
            await stack.enter_async_context(writer)
            await writer.run(partial(_configure, path=path, synchronous=synchronous))
            await writer.run(partial(migrate, path=path, migrations=migrations))
            reader = _Thread(path, read_only=True)
            await stack.enter_async_context(reader)
            yield cls(path, writer, reader)

    async def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns once its changes are committed, or raise and keep none.

        Transactions run one at a time, in the order of the calls, on a thread of their own, so
        ``work`` must not touch what belongs to the event loop. A cancelled caller's transaction
        still runs to its end. After a failure, a full disk included, the next one may succeed.

        Raises:
            StorageFull: There is no room left.
            StorageError: SQLite refused a statement, or the database is closed.

        """
        return await self._writer.run(partial(self._transact, work))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns; it sees every commit made so far, and waits for no writer.

        Each statement sees one state of the database. When several have to see the same one,
        ``work`` begins with ``BEGIN``; it need not end it.

        Raises:
            StorageError: SQLite refused a statement, or the database is closed.

        """
        return await self._reader.run(partial(_read, work))

    async def backup(self, to: Path) -> None:
        """Copy one consistent state to the new file ``to``, while writing goes on.

        Reads wait for it. A file named ``to`` exists only once it is whole and on the disk.

        Raises:
            StorageFull: There is no room left for it.
            StorageError: There is such a file already, or it cannot be written.

        """
        await self._reader.run(partial(_back_up, to=to))

    def _transact(self, work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work(db)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:  # SQLite ends it by itself after some errors, not after all
                db.execute("ROLLBACK")
        self.commits += 1
        return result


def copy(path: Path, to: Path) -> None:
    """Copy one consistent state of the file at ``path`` to the new file ``to``.

    Whoever writes to it may be another process, and goes on doing so.

    Raises:
        StorageFull: There is no room left for it.
        StorageError: There is such a file already, or it cannot be read or written.

    """
    with closing(_connect(path, read_only=True)) as db:
        _back_up(db, to=to)


class _Thread(aiosqlite.Connection):
    """An aiosqlite connection that carries out whole functions, docs/adr/0020."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        super().__init__(partial(_connect, path, read_only=read_only), _ITER_CHUNK_SIZE)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns on the connection's thread, after all work before it."""
        try:
            db = self._conn
        except ValueError as error:
            raise StorageError(f"{self._path} is closed") from error
        outcome: T = await self._execute(self._guarded, work, db)  # type: ignore[no-untyped-call]
        return outcome

    def _guarded(self, work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
        with translated(self._path):
            return work(db)


@contextmanager
def _owned(path: Path) -> Generator[Path]:
    with ExitStack() as stack:
        with translated(path):  # only this, and not what the owner does with it
            path = path.resolve()  # one store, one lock, by whatever link one comes to it
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(file_lock.hold(path))
            _make_private(path)
        yield path


def _make_private(path: Path) -> None:
    # Before SQLite opens it, since its other files take over the mode of this one.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode={'ro' if read_only else 'rw'}"
    with translated(path):
        # Autocommit, so that BEGIN and COMMIT stand in our code and nowhere else.
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)


def _configure(db: sqlite3.Connection, *, path: Path, synchronous: Synchronous) -> None:
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StorageError(f"{path}: its file system cannot hold a write-ahead log")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA foreign_keys = ON")


def migrate(db: sqlite3.Connection, *, path: Path, migrations: Sequence[str]) -> None:
    """Bring the schema of the database at ``path`` up to date, one transaction for each step.

    Raises:
        StorageError: A newer version wrote it.

    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise StorageError(
            f"{path} was written by a newer version: "
            f"its schema is number {version}, this program knows {len(migrations)}"
        )
    for number, script in enumerate(migrations[version:], start=version + 1):
        # executescript would commit a transaction that was begun outside the script. When it fails,
        # the connection is closed, and that rolls back.
        db.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};\nCOMMIT;")


def _read(work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
    try:
        return work(db)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _back_up(db: sqlite3.Connection, *, to: Path) -> None:
    if to.exists():
        raise StorageError(f"{to} exists already; a backup overwrites nothing")
    part = to.with_name(to.name + ".part")
    with translated(to):
        part.unlink(missing_ok=True)
        try:
            _make_private(part)
            with closing(sqlite3.connect(part)) as copy:
                db.backup(copy)
            _sync(part)
            part.rename(to)
            _sync(to.parent)
        finally:
            part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
