"""The store of a public relay: a PostgreSQL database, for one process or for several.

A commit locks the one row of ``store`` and writes records and indexes in one transaction. A read is
one statement, or a few that cursors keep together. ``sharing`` says what turns are.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self, TypeVar

from bazaar_protocol import limits
from bazaar_protocol.errors import StorageError
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import RecordId
from bazaar_relay.storage import postgres_rows as rows
from bazaar_relay.storage.joined_agents import split_agents
from bazaar_relay.storage.matching import against_key, kind_key
from bazaar_relay.storage.postgres_listening import Listener
from bazaar_relay.storage.postgres_schema import prepare
from bazaar_relay.storage.postgres_server import Server
from bazaar_relay.storage.postgres_writes import Place, forget, lock, write
from bazaar_relay.storage.sharing import News
from bazaar_relay.storage.store import Batch, Kept, Receipt, Store, Stored

T = TypeVar("T")

_NEWS_MAX: Final = 1000
_PROCESS_BYTES: Final = 8
_LISTENING: Final = """
    INSERT INTO listening (process, agents, said) VALUES ($1, $2, now())
    ON CONFLICT (process) DO UPDATE SET agents = excluded.agents, said = excluded.said
"""
_STILL_LISTENING: Final = "UPDATE listening SET said = now() WHERE process = $1"
_LISTENING_ELSEWHERE: Final = """
    SELECT agents FROM listening WHERE process <> $1 AND said > now() - interval '15 s'
"""
_LONG_GONE: Final = "DELETE FROM listening WHERE said < now() - interval '1 hour'"
_GONE: Final = "DELETE FROM listening WHERE process = $1"


class PostgresStore:
    """A ``SharedStore`` on one PostgreSQL database."""

    def __init__(
        self, server: Server, name: bytes, place: Place, fetch: rows.Fetch | None = None
    ) -> None:
        self.name = name
        self.risk = ""
        """What the server is set to that may lose what was acknowledged; empty for nothing."""
        self._server = server
        self._fetch = fetch or server.fetch
        self._process = os.urandom(_PROCESS_BYTES)
        self._told = place
        """Up to where this process knows what was committed."""
        self._turn: tuple[Any, Place] | None = None
        self._listening = b""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._listener = Listener(server, self._process)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, address: str, *, name: bytes, relay: AgentId | None = None
    ) -> AsyncGenerator[Self]:
        """Open the store at ``address``, making it first, with ``name``, when there is none.

        With ``relay`` it is that relay's from now on, and no other's.

        Raises:
            ConfigError: The server does not let us in, or the store is another relay's.
            StorageError: The server cannot be reached, or a newer version made the store.

        """
        async with Server.open(address) as server:
            async with server.connection() as db:
                async with db.transaction():
                    kept_name = await prepare(db, name=name, relay=relay, place=server.place)
                store = cls(server, kept_name, Place(*await rows.position(db.fetch)))
                store.risk = await _risk(db)
            listening = asyncio.create_task(store._listener.run())
            try:
                yield store
            finally:
                listening.cancel()
                await store.close()
                await asyncio.wait({listening})
                with suppress(StorageError):  # or they are forgotten in a while
                    await server.fetch(_GONE, store._process)

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Store]:
        """Open a view of one moment to read from; what is committed after it is news."""
        async with (
            self._server.connection() as db,
            db.transaction(isolation="repeatable_read", readonly=True),
        ):
            self._told = Place(*await rows.position(db.fetch))
            yield PostgresStore(self._server, self.name, self._told, db.fetch)

    async def commit(self, batch: Batch) -> Kept:
        """Keep a batch in one transaction, that of the turn if one was begun.

        A cancelled caller's batch is kept all the same.
        """
        return await self._run(self._commit(batch))

    async def news(self) -> News:
        """Return what was committed beyond what this process was told, or the first part of it."""
        cursor, letter, covered = await rows.position(self._server.fetch)
        self._check_not_older(cursor, letter)
        until = Place(
            min(cursor, self._told.cursor + _NEWS_MAX),
            min(letter, self._told.letter + _NEWS_MAX),
            covered,
        )
        is_whole = until == Place(cursor, letter, covered)
        told = self._told
        found = await rows.news(
            self._server.fetch,
            (told.cursor, told.letter),
            (until.cursor, until.letter),
            covered=min(covered, until.cursor),
        )
        self._told = until
        return News(found.entries, found.letters, found.covered, is_whole)

    async def begin_turn(self) -> News:
        """Return all that was committed; nobody else commits until the turn ends."""
        assert self._turn is None, "one turn at a time"
        db = await self._server.lend()
        try:
            with self._server.translated():
                place = await lock(db)
                self._check_not_older(place.cursor, place.letter)
                told = self._told
                found = await rows.news(
                    db.fetch,
                    (told.cursor, told.letter),
                    (place.cursor, place.letter),
                    covered=place.covered,
                )
        except BaseException:
            await self._server.take_back(db)
            raise
        self._told = place
        self._turn = (db, place)
        return found

    async def end_turn(self) -> None:
        """Let others have their turn."""
        if self._turn is not None:
            (db, _), self._turn = self._turn, None
            await self._server.take_back(db)

    async def tell_listening(self, agents: Sequence[AgentId]) -> Sequence[AgentId]:
        """Say who listens at this process, and return who does at others."""
        joined = b"".join(agents)
        async with self._server.connection() as db:
            said = ""
            if joined == self._listening:  # most of the time, and they may be many
                said = await db.execute(_STILL_LISTENING, self._process)
            if said != "UPDATE 1":
                await db.execute(_LISTENING, self._process, joined)
            self._listening = joined
            others = await db.fetch(_LISTENING_ELSEWHERE, self._process)
            await db.execute(_LONG_GONE)
        return list(dict.fromkeys(agent for (joined,) in others for agent in split_agents(joined)))

    def on_change(self, call: Callable[[], None]) -> None:
        """Have ``call`` called when others may have committed something."""
        self._listener.on_change = call

    async def cursor(self) -> int:
        """Return the newest cursor."""
        cursor, _, _ = await rows.position(self._fetch)
        return cursor

    async def heads(self, authors: Sequence[AgentId]) -> Mapping[AgentId, Head]:
        """Return the newest log entry of each author that has one."""
        return await rows.heads(self._fetch, authors)

    async def heads_between(
        self, first: bytes, last: bytes, *, limit: int
    ) -> list[tuple[AgentId, Head]]:
        """Return up to ``limit`` authors from ``first`` to ``last``, in order, with their heads."""
        return await rows.heads_between(self._fetch, first, last, limit=limit)

    async def get(self, record: RecordId) -> bytes | None:
        """Return one record."""
        found = await self._fetch("SELECT raw FROM record WHERE id = $1", record)
        return found[0][0] if found else None

    async def audience(self, record: RecordId) -> list[AgentId]:
        """Return whom a record is addressed to."""
        return await rows.audience(self._fetch, record)

    async def scan(
        self, filters: Sequence[Filter], *, after: int, limit: int
    ) -> tuple[list[Stored], int]:
        """Return matches beyond ``after``, and how far the scan came."""
        return await rows.scan(self._fetch, filters, after=after, limit=limit)

    async def log(self, author: AgentId, *, first: int, last: int, limit: int) -> list[bytes]:
        """Return consecutive log entries of ``author``."""
        first = max(1, first)
        found = await self._fetch(
            "SELECT raw FROM record WHERE author = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq",
            author,
            first,
            min(last, first + limit - 1),
        )
        return [raw for (raw,) in found]

    async def task(self, task: RecordId, *, after: int, limit: int) -> list[Stored]:
        """Return the post and every record about it."""
        found, _ = await self.scan([Filter(tasks=(task,))], after=after, limit=limit)
        return found

    async def unexpired(self, kind: str, *, now_ms: int, after: int, limit: int) -> list[Stored]:
        """Return records of ``kind`` that have not expired."""
        key = kind_key(kind)
        return await rows.unexpired(self._fetch, key, now_ms=now_ms, after=after, limit=limit)

    async def letters(self, agent: AgentId) -> list[tuple[int, bytes]]:
        """Return the letters that wait for ``agent``."""
        found = await self._fetch(
            "SELECT number, sealed FROM letter WHERE agent = $1 ORDER BY number LIMIT $2",
            agent,
            limits.LETTERS_PER_AGENT_MAX,
        )
        return [(number, sealed) for number, sealed in found]

    async def senders(self, agent: AgentId) -> list[AgentId | None]:
        """Return for each letter that waits for ``agent`` who handed it in."""
        statement = "SELECT sender FROM letter WHERE agent = $1 ORDER BY number"
        return [sender for (sender,) in await self._fetch(statement, agent)]

    async def against(self, agents: Sequence[AgentId]) -> Mapping[AgentId, list[bytes]]:
        """Return what ended or convicted each agent."""
        found = await rows.against(self._fetch, list(map(against_key, agents)))
        return {agent: found[against_key(agent)] for agent in agents}

    async def receipt(self, record: RecordId) -> Receipt | None:
        """Return the receipt that spans the place of ``record``."""
        found = await rows.receipt(self._fetch, record)
        if found is None:
            return None
        *columns, cursor = found
        receipt = Receipt(*columns)
        return receipt if receipt.first <= cursor else None

    async def covered(self) -> int:
        """Return the cursor up to which all that needs a receipt is under one."""
        _, _, covered = await rows.position(self._fetch)
        return covered

    async def forget(self, *, now_ms: int) -> int:
        """Delete what has expired; a cancelled caller's is deleted all the same."""
        return await self._run(self._forget(now_ms))

    async def close(self) -> None:
        """Finish what was begun."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _check_not_older(self, cursor: int, letter: int) -> None:
        if cursor < self._told.cursor or letter < self._told.letter:
            raise StorageError(
                f"{self._server.place} has lost what was committed: its newest cursor is {cursor}, "
                f"and was {self._told.cursor}. It comes from a backup, or from a standby that was "
                "behind; no process may go on with it"
            )

    async def _commit(self, batch: Batch) -> Kept:
        turn, self._turn = self._turn, None
        db = await self._server.lend() if turn is None else turn[0]
        try:
            with self._server.translated():
                place = await lock(db) if turn is None else turn[1]
                kept, after = await write(db, batch, place, tell=self._listener.news)
                await db.execute("COMMIT")
        finally:
            await self._server.take_back(db)
        if turn is not None:
            self._told = after
        return kept

    async def _forget(self, now_ms: int) -> int:
        async with self._server.connection() as db, db.transaction():
            await db.execute("SELECT FROM store FOR UPDATE")
            return await forget(db, now_ms=now_ms)

    async def _run(self, work: Coroutine[None, None, T]) -> T:
        # What a commit changes in the database it must also change here, whoever is cancelled.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


async def _risk(db: Any) -> str:
    found = [
        f"{name}=off"
        for name in ("fsync", "synchronous_commit", "full_page_writes")
        if await db.fetchval(f"SHOW {name}") == "off"
    ]
    return ", ".join(found)
