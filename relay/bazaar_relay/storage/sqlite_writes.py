"""Changing a relay's tables, inside a transaction, on the thread that writes."""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Final

from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.storage import postings
from bazaar_relay.storage.bulk_insert import insert
from bazaar_relay.storage.index import Entry, Index
from bazaar_relay.storage.joined_agents import split_agents
from bazaar_relay.storage.matching import keys_of, keys_of_route
from bazaar_relay.storage.planning import Plan, plan
from bazaar_relay.storage.sqlite_rows import Rows
from bazaar_relay.storage.store import FORGOTTEN_MAX, Batch, read_record

_ADD_RECORD: Final = "INSERT INTO record"
_SET_HEAD: Final = "INSERT OR REPLACE INTO head"
_ADD_LETTER: Final = """
    INSERT INTO letter (agent, sealed, expires_ms, sender) VALUES (?, ?, ?, ?)
"""
_COLLECT: Final = "DELETE FROM letter WHERE agent = ? AND number = ?"
_EXPIRED: Final = """
    SELECT record.cursor, raw, audience, record.expires_ms
    FROM by_expiry JOIN record USING (cursor)
    WHERE by_expiry.expires_ms <= ? AND by_expiry.cursor <= ? ORDER BY by_expiry.expires_ms LIMIT ?
"""
_ADD_RECEIPT: Final = """
    INSERT INTO receipt (intake, first, last, ids, roots, expires_ms) VALUES (?, ?, ?, ?, ?, ?)
"""
_FORGET_RECEIPTS: Final = """
    DELETE FROM receipt WHERE last IN (
        SELECT last FROM receipt WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?
    )
"""
_FORGET_LETTERS: Final = """
    DELETE FROM letter WHERE number IN (
        SELECT number FROM letter WHERE expires_ms <= ? ORDER BY number LIMIT ?
    )
"""


@dataclass(frozen=True, slots=True)
class Written:
    """A batch in the tables."""

    plan: Plan
    letters: list[int]


class _Everything:
    """What is kept, in the layers above the tables and in them.

    The layers belong to the event loop, which changes none of them while a batch is written.
    """

    def __init__(self, layers: tuple[Index, ...], rows: Rows) -> None:
        self._layers = layers
        self._rows = rows

    def cursors_of(self, records: Iterable[RecordId]) -> Mapping[RecordId, int]:
        found: dict[RecordId, int] = {}
        for layer in self._layers:
            found |= layer.cursors_of(records)
        return found | self._rows.cursors_of(id_ for id_ in records if id_ not in found)

    def heads_of(self, authors: Iterable[AgentId]) -> Mapping[AgentId, Head]:
        return self._rows.heads_of(authors)

    def addressed(self, record: RecordId, agent: AgentId) -> int | None:
        for layer in self._layers:
            cursor = layer.addressed(record, agent)
            if cursor is not None:
                return cursor
        return self._rows.addressed(record, agent)

    def record(self, cursor: int) -> Record:
        for layer in self._layers:
            if cursor in layer.entries:
                return layer.record(cursor)
        return self._rows.record(cursor)


def write(
    db: sqlite3.Connection, batch: Batch, layers: tuple[Index, ...], *, cursor: int
) -> Written:
    """Append a batch to the tables after ``cursor``.

    Raises:
        StorageError: An entry does not continue its author's log.

    """
    known = _Everything(layers, Rows(db))
    planned = plan(known, batch.records, batch.routes, cursor=cursor)
    insert(db, _ADD_RECORD, [_row(entry) for entry in planned.entries])
    heads = [(author, head.seq, head.id) for author, head in planned.heads.items()]
    insert(db, _SET_HEAD, heads)
    letters: list[int] = []
    for letter in batch.letters:
        row = (letter.to, letter.sealed, letter.expires_ms, letter.sender)
        number = db.execute(_ADD_LETTER, row).lastrowid
        assert number is not None
        letters.append(number)
    db.executemany(_COLLECT, batch.collected)
    for receipt in batch.receipts:
        db.execute(_ADD_RECEIPT, astuple(receipt))
        db.execute("UPDATE store SET covered = ?", (receipt.last,))
    return Written(planned, letters)


def forget(db: sqlite3.Connection, *, now_ms: int, merged: int) -> int:
    """Delete some of what has expired, of records only such as the indexes know, and count it."""
    expired = db.execute(_EXPIRED, (now_ms, merged, FORGOTTEN_MAX)).fetchall()
    rows: list[int] = []
    keys: list[tuple[bytes, int]] = []
    for cursor, raw, audience, _ in expired:
        record = read_record(raw)
        rows.append(cursor)
        keys += ((key, cursor) for key in keys_of(record, split_agents(audience)))
        for agent, route in Rows(db).routes(record.id):
            rows.append(route)
            keys += ((key, route) for key in keys_of_route(record.id, agent))
        db.execute("DELETE FROM by_id WHERE id = ?", (record.id,))
    postings.remove(db, keys)
    expiries = ((expires_ms, cursor) for cursor, _, _, expires_ms in expired)
    db.executemany("DELETE FROM by_expiry WHERE expires_ms = ? AND cursor = ?", expiries)
    db.executemany("DELETE FROM record WHERE cursor = ?", ((row,) for row in sorted(rows)))
    letters = db.execute(_FORGET_LETTERS, (now_ms, FORGOTTEN_MAX)).rowcount
    receipts = db.execute(_FORGET_RECEIPTS, (now_ms, FORGOTTEN_MAX)).rowcount
    return len(expired) + letters + receipts


def _row(entry: Entry) -> tuple[int, bytes, bytes, int | None, int | None]:
    raw = entry.record.raw if entry.route_of is None else b""
    return entry.cursor, raw, b"".join(entry.audience), entry.expires_ms, entry.route_of
