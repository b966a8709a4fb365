"""The embedded store of a relay: one SQLite file.

A commit appends rows to a log, and its records to an overlay in memory; the index tables follow
in batches. A read takes what is old from the tables, on a connection of its own, and what is new
from the overlay, in the event loop.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from bazaar_host.database import Database, OpenDatabase, Synchronous
from bazaar_host.logs import logger
from bazaar_protocol.errors import StorageError
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import RecordId
from bazaar_relay.storage import sqlite_writes
from bazaar_relay.storage.backups import check
from bazaar_relay.storage.matching import against_key
from bazaar_relay.storage.merging import pieces
from bazaar_relay.storage.overlay import Overlay
from bazaar_relay.storage.scanning import scan
from bazaar_relay.storage.sqlite_heads import heads_between
from bazaar_relay.storage.sqlite_rows import Rows
from bazaar_relay.storage.sqlite_schema import MIGRATIONS
from bazaar_relay.storage.store import Batch, Kept, Receipt, Stored

T = TypeVar("T")

_MAKE_STORE: Final = """
    INSERT INTO store (name, merged, merging) SELECT ?, 0, 0 WHERE NOT EXISTS (SELECT * FROM store)
"""


class SqliteStore:
    """A ``Store`` on one SQLite file."""

    def __init__(self, database: Database, name: bytes, overlay: Overlay) -> None:
        self.name = name
        self._database = database
        self._overlay = overlay
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._merge: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        name: bytes,
        relay: AgentId | None = None,
        synchronous: Synchronous = "FULL",
        open_database: OpenDatabase = Database.open,
    ) -> AsyncGenerator[Self]:
        """Open the store at ``path``, making it first, with ``name``, when there is none.

        With ``relay`` it is that relay's from now on, and no other's.

        Raises:
            RestoredStore: It is a copy of a store.
            ConfigError: It is another relay's.
            StorageError: The file cannot be used, or a newer version wrote it.

        """
        async with open_database(path, MIGRATIONS, synchronous=synchronous) as database:
            kept_name, overlay = await database.transaction(partial(_load, name, relay))
            store = cls(database, kept_name, overlay)
            try:
                yield store
            finally:
                await store.close()

    async def commit(self, batch: Batch) -> Kept:
        """Keep a batch in one transaction.

        A cancelled caller's batch is kept all the same.
        """
        return await self._run(self._commit(batch))

    async def cursor(self) -> int:
        """Return the newest cursor."""
        return self._overlay.cursor

    async def heads(self, authors: Sequence[AgentId]) -> Mapping[AgentId, Head]:
        """Return the newest log entry of each author that has one."""
        return await self._read(lambda rows: rows.heads_of(authors))

    async def heads_between(
        self, first: bytes, last: bytes, *, limit: int
    ) -> list[tuple[AgentId, Head]]:
        """Return up to ``limit`` authors from ``first`` to ``last``, in order, with their heads."""
        return await self._database.read(partial(heads_between, first, last, limit))

    async def get(self, record: RecordId) -> bytes | None:
        """Return one record."""
        for layer in self._overlay.layers:
            cursor = layer.cursor_of(record)
            if cursor is not None:
                return layer.raw(cursor)
        return await self._read(lambda rows: rows.find(record))

    async def audience(self, record: RecordId) -> list[AgentId]:
        """Return whom a record is addressed to."""
        # First what is new: a merge moves it into the tables, and never the other way.
        found = [one for layer in self._overlay.layers for one in layer.audience(record)]
        found += await self._read(lambda rows: rows.audience(record))
        # Agents of one cursor stand in the order of their record, which sorting has to keep.
        return list(dict.fromkeys(agent for _, agent in sorted(found, key=lambda one: one[0])))

    async def scan(
        self, filters: Sequence[Filter], *, after: int, limit: int
    ) -> tuple[list[Stored], int]:
        """Return matches beyond ``after``, and how far the scan came."""
        found: list[Stored] = []
        reached = after
        while True:
            look = partial(scan, filters=filters, after=reached, limit=limit - len(found))
            # A merge may move what is new into the tables while they are read: look again where
            # the next part is.
            upto = self._overlay.merged
            if reached < upto:
                more, reached = await self._read(partial(look, upto=upto))
            else:
                layer, upto = self._overlay.layer_after(reached)
                more, reached = look(layer, upto=upto)
            found += more
            if len(found) >= limit or reached < upto or reached >= self._overlay.cursor:
                return found, reached

    async def log(self, author: AgentId, *, first: int, last: int, limit: int) -> list[bytes]:
        """Return consecutive log entries of ``author``."""
        seqs = range(max(1, first), min(last + 1, max(1, first) + limit))
        entries: dict[int, bytes] = {}
        for layer in self._overlay.layers:
            entries |= layer.log(author, seqs)
        if len(entries) < len(seqs):
            entries |= await self._read(lambda rows: rows.log(author, seqs))
        return [entries[seq] for seq in seqs if seq in entries]

    async def task(self, task: RecordId, *, after: int, limit: int) -> list[Stored]:
        """Return the post and every record about it."""
        found, _ = await self.scan([Filter(tasks=(task,))], after=after, limit=limit)
        return found

    async def unexpired(self, kind: str, *, now_ms: int, after: int, limit: int) -> list[Stored]:
        """Return records of ``kind`` that have not expired."""
        found: list[Stored] = []
        reached = after
        while len(found) < limit and reached < self._overlay.cursor:
            left = limit - len(found)
            upto = self._overlay.merged
            if reached < upto:
                found += await self._read(
                    partial(
                        Rows.unexpired,
                        kind=kind,
                        now_ms=now_ms,
                        after=reached,
                        upto=upto,
                        limit=left,
                    )
                )
            else:
                layer, upto = self._overlay.layer_after(reached)
                found += layer.unexpired(kind, now_ms=now_ms, after=reached, limit=left)
            reached = upto
        return found

    async def letters(self, agent: AgentId) -> list[tuple[int, bytes]]:
        """Return the letters that wait for ``agent``."""
        return await self._read(lambda rows: rows.letters(agent))

    async def senders(self, agent: AgentId) -> list[AgentId | None]:
        """Return for each letter that waits for ``agent`` who handed it in."""
        return await self._read(lambda rows: rows.senders(agent))

    async def against(self, agents: Sequence[AgentId]) -> Mapping[AgentId, list[bytes]]:
        """Return what ended or convicted each agent."""
        # What is new comes first, as a merge may move it into the tables meanwhile; then it is
        # found twice.
        layers = self._overlay.layers
        newer = {
            agent: [*layers[1].raws(against_key(agent)), *layers[0].raws(against_key(agent))]
            for agent in agents
        }
        older = await self._read(lambda rows: {agent: rows.against(agent) for agent in agents})
        return {agent: list(dict.fromkeys(older[agent] + newer[agent])) for agent in agents}

    async def receipt(self, record: RecordId) -> Receipt | None:
        """Return the receipt that spans the place of ``record``."""
        newer = [layer.cursor_of(record) for layer in self._overlay.layers]
        cursor = next((one for one in newer if one is not None), None)
        return await self._read(lambda rows: _receipt(rows, record, cursor))

    async def covered(self) -> int:
        """Return the cursor up to which all that needs a receipt is under one."""
        return await self._read(Rows.covered)

    async def forget(self, *, now_ms: int) -> int:
        """Delete what has expired; a cancelled caller's is deleted all the same."""
        return await self._run(self._forget(now_ms))

    async def merge(self) -> None:
        """Complete the index tables, as happens by itself now and then and at the end.

        Raises:
            StorageError: They could not be written; nothing is lost.

        """
        while self._overlay.merged < self._overlay.cursor:
            await self._start_merge()

    async def close(self) -> None:
        """Finish what was begun, and complete the index tables."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(StorageError):  # the next start reads what they lack from the log
            await self.merge()

    async def _commit(self, batch: Batch) -> Kept:
        async with self._writing:
            overlay = self._overlay
            if overlay.is_full and overlay.is_merging:  # memory has its bounds
                await self._start_merge()
            written = await self._database.transaction(
                partial(
                    sqlite_writes.write,
                    batch=batch,
                    layers=overlay.layers,
                    cursor=overlay.cursor,
                )
            )
            for entry in written.plan.entries:
                overlay.add(entry)
            if overlay.is_full and not overlay.is_merging:
                self._start_merge()
        return Kept(written.plan.cursors, written.plan.routes, written.letters)

    async def _forget(self, now_ms: int) -> int:
        if not self._overlay.has_expired(now_ms) and not await self._read(
            lambda rows: rows.has_expired(now_ms)
        ):
            return 0
        await self.merge()  # most of it, while commits go on
        async with self._writing:
            await self.merge()  # now no route of what is deleted is left above the tables
            merged = self._overlay.merged
            return await self._database.transaction(
                partial(sqlite_writes.forget, now_ms=now_ms, merged=merged)
            )

    def _start_merge(self) -> asyncio.Task[None]:
        if self._merge is None:
            if not self._overlay.is_merging:
                self._overlay.freeze()
            self._merge = self._spawn(self._merge_older())
        return self._merge

    async def _merge_older(self) -> None:
        overlay = self._overlay
        try:
            for piece in await asyncio.to_thread(pieces, overlay.older, upto=overlay.frozen):
                await self._database.transaction(piece)
            overlay.drop()
        except StorageError as error:
            # Nobody waits for it, until what is new has no room left; then commits fail as well.
            logger("store").error("indexing failed", reason=str(error))
            raise
        finally:
            self._merge = None

    async def _read(self, work: Callable[[Rows], T]) -> T:
        return await self._database.read(partial(_read, work))

    async def _run(self, work: Coroutine[None, None, T]) -> T:
        # What a commit changes on the disk it must also change in memory, whoever is cancelled.
        return await asyncio.shield(self._spawn(work))

    def _spawn(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a merge that failed is told to the commit that has to wait for it


def _load(name: bytes, relay: AgentId | None, db: sqlite3.Connection) -> tuple[bytes, Overlay]:
    db.execute(_MAKE_STORE, (name,))
    check(db, relay)
    kept_name, merged, merging = db.execute("SELECT name, merged, merging FROM store").fetchone()
    entries = Rows(db).entries(after=merged)
    return kept_name, Overlay(entries, merged=merged, merging=merging)


def _receipt(rows: Rows, record: RecordId, cursor: int | None) -> Receipt | None:
    if cursor is None:
        cursor = rows.cursors_of([record]).get(record)
    return None if cursor is None else rows.receipt(cursor)


def _read(work: Callable[[Rows], T], db: sqlite3.Connection) -> T:
    db.execute("BEGIN")  # all its statements see one state
    return work(Rows(db))
