"""What a node keeps in its one SQLite file, and how an agent is built again from it.

Every change of a turn is written in one transaction, the outgoing messages with it (a
transactional outbox: Garcia-Molina & Salem 1987, Richardson 2018). So whatever leaves the process
is durable, and whatever is durable leaves it in the end.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

import msgspec

from bazaar_host.database import Database, OpenDatabase
from bazaar_node.market.events import Change, Offer
from bazaar_node.market.ledger import Entry, Role
from bazaar_node.storage.evidence_tables import EVIDENCE_TABLES
from bazaar_node.storage.history import Row, read_history
from bazaar_node.storage.market_tables import MARKET_TABLES
from bazaar_node.storage.writing import write_change
from bazaar_protocol.errors import StorageError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import BidTerms
from bazaar_protocol.log import Head
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import Elapsed, Task, open_task, step

T = TypeVar("T")

BACKUP_MARK: Final = "backup"
"""Names the row of ``meta`` which says that the store is a backup, and of when. While it is there,
nothing may be signed: only the relays know what was signed since."""

_MIGRATIONS: Final = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE log (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, raw BLOB NOT NULL) STRICT;
    CREATE TABLE record (
        number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, raw BLOB NOT NULL
    ) STRICT;
    CREATE TABLE task (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        role TEXT NOT NULL,
        command TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        state TEXT NOT NULL,
        is_over INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX task_state ON task (is_over, number);
    CREATE UNIQUE INDEX task_idempotency ON task (idempotency_key)
        WHERE role = 'poster' AND idempotency_key <> '';
    CREATE TABLE event (
        number INTEGER PRIMARY KEY,
        task BLOB NOT NULL,
        at_ms INTEGER NOT NULL,
        what TEXT NOT NULL,
        agent BLOB NOT NULL,
        epoch INTEGER NOT NULL,
        record BLOB,
        is_folded INTEGER NOT NULL,
        note TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_task ON event (task);
    CREATE TABLE opened (bid BLOB PRIMARY KEY, salt BLOB NOT NULL, terms BLOB NOT NULL) STRICT;
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, recipient BLOB, raw BLOB NOT NULL
    ) STRICT;
    CREATE TABLE relay (
        address TEXT PRIMARY KEY,
        store BLOB NOT NULL,
        cursor INTEGER NOT NULL,
        acknowledged INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE offer (capability TEXT PRIMARY KEY, terms BLOB NOT NULL) STRICT;
    """,
    """
    CREATE TABLE ended (
        number INTEGER PRIMARY KEY,
        old BLOB NOT NULL UNIQUE,
        raw BLOB NOT NULL,
        genesis BLOB NOT NULL
    ) STRICT;
    """,
    MARKET_TABLES,
    EVIDENCE_TABLES,
)


@dataclass(frozen=True, slots=True)
class RelayMark:
    """How far we are with a relay: its store, the cursor we read to, the outbox it has."""

    store: bytes
    cursor: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """Something in the outbox: a record, or a letter to somebody."""

    number: int
    raw: bytes
    to: AgentId | None


class NodeStore:
    """The durable half of a node."""

    def __init__(self, database: Database) -> None:
        self.has_changed = asyncio.Event()
        """Set by every turn that is written, for who follows behind and clears it."""
        self._database = database

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, open_database: OpenDatabase = Database.open
    ) -> AsyncGenerator[Self]:
        """Open the store at ``path``.

        Raises:
            StorageError: Another process has it, it is damaged, or a newer version wrote it.

        """
        async with open_database(path, _MIGRATIONS) as database:
            yield cls(database)

    @property
    def commits(self) -> int:
        """Transactions so far."""
        return self._database.commits

    async def write(
        self, changes: Sequence[Change], marks: Mapping[str, RelayMark] | None = None
    ) -> int:
        """Make changes durable, all or none; return the newest number in the outbox.

        Raises:
            StorageError: They could not be.

        """
        newest = await self._database.transaction(partial(_write, changes, marks or {}))
        if changes:
            self.has_changed.set()
        return newest

    async def work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something else to the store in one transaction.

        Raises:
            StorageError: It could not be done, and nothing of it was.

        """
        return await self._database.transaction(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` reads, waiting for no writer.

        Raises:
            StorageError: It cannot be read.

        """
        return await self._database.read(work)

    async def claim_identity(self, agent: AgentId) -> None:
        """Bind the store to an identity, once and for all.

        Raises:
            StorageError: It belongs to another identity: signing with this one would fork its log.

        """
        await self._database.transaction(partial(_claim_identity, agent))

    async def backup_ms(self) -> int | None:
        """Return when this store was made as a backup, 0 if nobody knows; None if it is none."""
        rows = await self._rows("SELECT value FROM meta WHERE name = ?", (BACKUP_MARK,))
        return int(rows[0][0]) if rows else None

    async def head(self) -> Head:
        """Return the head of our own log."""
        rows = await self._rows("SELECT seq, id FROM log ORDER BY seq DESC LIMIT 1")
        return Head(rows[0][0], RecordId(rows[0][1])) if rows else Head.empty()

    async def log(self, first: int, limit: int) -> list[bytes]:
        """Return entries of our own log from ``first`` on."""
        rows = await self._rows(
            "SELECT raw FROM log WHERE seq >= ? ORDER BY seq LIMIT ?", (first, limit)
        )
        return [row[0] for row in rows]

    async def live(self) -> list[Entry]:
        """Fold all tasks that are not over."""
        rows = await self._rows("SELECT id, role FROM task WHERE is_over = 0 ORDER BY number")
        return [await self.entry(RecordId(id_), role) for id_, role in rows]

    async def past(self) -> list[RecordId]:
        """Return the tasks that are over."""
        rows = await self._rows("SELECT id FROM task WHERE is_over = 1")
        return [RecordId(id_) for (id_,) in rows]

    async def entry(self, task: RecordId, role: Role) -> Entry:
        """Fold one task from what we saw of it."""
        rows = await self._database.read(partial(read_history, task))
        return Entry(fold(rows), role)

    async def history(self, task: RecordId) -> list[Row]:
        """Return what we saw of a task, in order."""
        return await self._database.read(partial(read_history, task))

    async def role(self, task: RecordId) -> Role | None:
        """Return our part in a task, or None when we have none."""
        rows = await self._rows("SELECT role FROM task WHERE id = ?", (task,))
        return cast("Role", rows[0][0]) if rows else None

    async def find(self, prefix: bytes, *, is_odd: bool, digits: str) -> list[RecordId]:
        """Return up to two tasks whose id begins with these hex digits."""
        upper = prefix + b"\xff" * (32 - len(prefix))
        rows = await self._rows(
            "SELECT id FROM task WHERE id >= ? AND id <= ? ORDER BY id LIMIT 64", (prefix, upper)
        )
        found = [RecordId(row[0]) for row in rows if not is_odd or row[0].hex().startswith(digits)]
        return found[:2]

    async def tasks(
        self, *, role: Role | None, state: str | None, limit: int
    ) -> list[tuple[RecordId, Role]]:
        """Return tasks, newest first."""
        rows = await self._rows(
            """SELECT id, role FROM task
               WHERE (? IS NULL OR role = ?) AND (? IS NULL OR state = ?)
               ORDER BY number DESC LIMIT ?""",
            (role, role, state, state, limit),
        )
        return [(RecordId(id_), role_) for id_, role_ in rows]

    async def by_idempotency_key(self, key: str) -> RecordId | None:
        """Return the task that we posted under this key."""
        rows = await self._rows(
            "SELECT id FROM task WHERE role = 'poster' AND idempotency_key = ?", (key,)
        )
        return RecordId(rows[0][0]) if rows and key else None

    async def command(self, task: RecordId) -> str:
        """Return the owner's own check of a task's result; empty for none."""
        rows = await self._rows("SELECT command FROM task WHERE id = ?", (task,))
        return str(rows[0][0]) if rows else ""

    async def counts(self) -> dict[str, int]:
        """Return how many tasks are in each state."""
        rows = await self._rows("SELECT state, count(*) FROM task GROUP BY state ORDER BY state")
        return dict(rows)

    async def opened(self) -> dict[RecordId, tuple[bytes, BidTerms]]:
        """Return salts and terms of the sealed bids for tasks that are not over."""
        rows = await self._rows(
            """SELECT DISTINCT bid, salt, terms FROM opened
               JOIN event ON event.record = opened.bid JOIN task ON task.id = event.task
               WHERE task.is_over = 0"""
        )
        return {RecordId(bid): (salt, _TERMS.decode(terms)) for bid, salt, terms in rows}

    async def opening(self, bid: RecordId) -> tuple[bytes, BidTerms] | None:
        """Return the salt and terms of one sealed bid, if we know them."""
        rows = await self._rows("SELECT salt, terms FROM opened WHERE bid = ?", (bid,))
        return (rows[0][0], _TERMS.decode(rows[0][1])) if rows else None

    async def parcels(self, after: int, limit: int) -> list[Parcel]:
        """Return what is in the outbox beyond ``after``, in order."""
        rows = await self._rows(
            "SELECT number, raw, recipient FROM outbox WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [Parcel(number, raw, to) for number, raw, to in rows]

    async def waiting(self, after: int) -> int:
        """Return how many parcels are in the outbox beyond ``after``."""
        rows = await self._rows("SELECT count(*) FROM outbox WHERE number > ?", (after,))
        return int(rows[0][0])

    async def empty_outbox(self, up_to: int) -> None:
        """Forget the parcels that every relay has."""
        await self._database.transaction(
            lambda db: db.execute("DELETE FROM outbox WHERE number <= ?", (up_to,))
        )

    async def marks(self) -> dict[str, RelayMark]:
        """Return how far we are with each relay, by address."""
        rows = await self._rows("SELECT address, store, cursor, acknowledged FROM relay")
        return {address: RelayMark(*rest) for address, *rest in rows}

    async def offers(self) -> dict[str, Offer]:
        """Return what we offer."""
        rows = await self._rows("SELECT capability, terms FROM offer ORDER BY capability")
        return {capability: _OFFER.decode(terms) for capability, terms in rows}

    async def put_offer(self, offer: Offer) -> None:
        """Keep an offer over restarts."""
        row = (offer.capability, msgspec.msgpack.encode(offer))
        await self._database.transaction(
            lambda db: db.execute("INSERT OR REPLACE INTO offer VALUES (?, ?)", row)
        )

    async def drop_offer(self, capability: str) -> None:
        """Forget an offer."""
        await self._database.transaction(
            lambda db: db.execute("DELETE FROM offer WHERE capability = ?", (capability,))
        )

    async def _rows(self, query: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        return await self._database.read(lambda db: db.execute(query, tuple(values)).fetchall())


def fold(rows: Sequence[Row]) -> Task:
    """Fold a task from what was seen of it."""
    task: Task | None = None
    for row in rows:
        if task is None:
            assert row.record is not None
            task = open_task(row.record, row.at_ms)
        elif row.is_folded:
            task = step(task, row.record if row.record is not None else Elapsed(), row.at_ms)
    assert task is not None
    return task


def _write(
    changes: Sequence[Change], marks: Mapping[str, RelayMark], db: sqlite3.Connection
) -> int:
    for change in changes:
        write_change(db, change)
    for address, mark in marks.items():
        db.execute(
            """INSERT INTO relay VALUES (?, ?, ?, ?) ON CONFLICT (address) DO UPDATE SET
               store = excluded.store, cursor = excluded.cursor,
               acknowledged = max(acknowledged, excluded.acknowledged)""",
            (address, mark.store, mark.cursor, mark.acknowledged),
        )
    row = db.execute("SELECT max(number) FROM outbox").fetchone()
    return int(row[0] or 0)


def _claim_identity(agent: AgentId, db: sqlite3.Connection) -> None:
    db.execute("INSERT OR IGNORE INTO meta VALUES ('agent', ?)", (agent,))
    (known,) = db.execute("SELECT value FROM meta WHERE name = 'agent'").fetchone()
    if known != agent:
        raise StorageError(
            f"this store belongs to the identity {known.hex()[:12]}, not to {agent.hex()[:12]}; "
            "restore the key it was made with, or begin in an empty folder"
        )


_TERMS: Final = msgspec.msgpack.Decoder(BidTerms)
_OFFER: Final = msgspec.msgpack.Decoder(Offer)
