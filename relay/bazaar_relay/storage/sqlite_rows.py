"""Reading a relay's tables, on the thread of one of its connections."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bazaar_protocol import limits
from bazaar_protocol.identity import AGENT_ID_BYTES, AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.storage import postings
from bazaar_relay.storage.index import Entry
from bazaar_relay.storage.joined_agents import split_agents
from bazaar_relay.storage.matching import EVERYTHING, against_key, kind_key, route_key
from bazaar_relay.storage.store import Receipt, Stored, read_record

_WALK_EVERYTHING: Final = """
    SELECT cursor FROM record
    WHERE route_of IS NULL AND cursor > ? AND cursor <= ? ORDER BY cursor LIMIT ?
"""
_IDS: Final = 32
_BY_ID: Final = "SELECT id, cursor FROM by_id WHERE id IN (?" + ", ?" * (_IDS - 1) + ")"
_LOG: Final = """
    SELECT seq, raw FROM by_seq JOIN record USING (cursor)
    WHERE author = ? AND seq BETWEEN ? AND ?
"""
_ROUTES: Final = "SELECT key, last FROM by_key WHERE key > ? AND key <= ?"
_LETTERS: Final = "SELECT number, sealed FROM letter WHERE agent = ? ORDER BY number LIMIT ?"
_SENDERS: Final = "SELECT sender FROM letter WHERE agent = ? ORDER BY number"
_HAS_EXPIRED: Final = """
    SELECT 1 WHERE EXISTS (SELECT 1 FROM by_expiry WHERE expires_ms <= ?)
        OR EXISTS (SELECT 1 FROM letter WHERE expires_ms <= ?)
        OR EXISTS (SELECT 1 FROM receipt WHERE expires_ms <= ?)
"""
_RECEIPT: Final = """
    SELECT intake, first, last, ids, roots, expires_ms FROM receipt
    WHERE last >= ? ORDER BY last LIMIT 1
"""


class Rows:
    """What the tables know."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def cursors_of(self, ids: Iterable[RecordId]) -> dict[RecordId, int]:
        """Return where those of ``ids`` are that are here."""
        wanted = list(ids)
        found: dict[RecordId, int] = {}
        for first in range(0, len(wanted), _IDS):
            some = wanted[first : first + _IDS]
            some += some[:1] * (_IDS - len(some))  # one statement, whatever their number
            found |= dict(self._db.execute(_BY_ID, some))
        return found

    def heads_of(self, authors: Iterable[AgentId]) -> Mapping[AgentId, Head]:
        """Return the newest log entry of each author that has one."""
        found: dict[AgentId, Head] = {}
        for author in authors:
            row = self._one("SELECT seq, id FROM head WHERE author = ?", author)
            if row is not None:
                found[author] = Head(*row)
        return found

    def addressed(self, record: RecordId, agent: AgentId) -> int | None:
        """Return under which cursor ``agent`` finds ``record``, if it is addressed to it."""
        row = self._one(
            "SELECT cursor, audience FROM by_id JOIN record USING (cursor) WHERE id = ?", record
        )
        if row is not None and agent in split_agents(row[1]):
            cursor: int = row[0]
            return cursor
        routes = postings.walk(
            self._db, route_key(record, agent), after=0, upto=limits.INTEGER_MAX, limit=1
        )
        return routes[0] if routes else None

    def audience(self, record: RecordId) -> list[tuple[int, AgentId]]:
        """Return whom ``record`` is addressed to here, each with the cursor."""
        row = self._one(
            "SELECT cursor, audience FROM by_id JOIN record USING (cursor) WHERE id = ?", record
        )
        found = [] if row is None else [(int(row[0]), agent) for agent in split_agents(row[1])]
        return found + [(cursor, agent) for agent, cursor in self.routes(record)]

    def routes(self, record: RecordId) -> list[tuple[AgentId, int]]:
        """Return to whom ``record`` was routed later, each with the cursor."""
        # The keys of its routes begin alike and end with the agent.
        begin = route_key(record, AgentId(b""))
        end = route_key(record, AgentId(b"\xff" * AGENT_ID_BYTES))
        found = self._db.execute(_ROUTES, (begin, end))
        return [(AgentId(key[len(begin) :]), cursor) for key, cursor in found]

    def find(self, record: RecordId) -> bytes | None:
        """Return the bytes of ``record``."""
        row = self._one("SELECT raw FROM by_id JOIN record USING (cursor) WHERE id = ?", record)
        return None if row is None else row[0]

    def walk(self, key: bytes, *, after: int, upto: int, limit: int) -> list[int]:
        """Return the first cursors under ``key`` beyond ``after``, up to and with ``upto``."""
        if key != EVERYTHING:
            return postings.walk(self._db, key, after=after, upto=upto, limit=limit)
        rows = self._db.execute(_WALK_EVERYTHING, (after, upto, limit))
        return [cursor for (cursor,) in rows]

    def raw(self, cursor: int) -> bytes:
        """Return the bytes of the record at ``cursor``."""
        row = self._one("SELECT raw, route_of FROM record WHERE cursor = ?", cursor)
        assert row is not None, "an index leads to a record"
        raw: bytes = row[0]
        return raw if row[1] is None else self.raw(row[1])

    def record(self, cursor: int) -> Record:
        """Return the record at ``cursor``."""
        return read_record(self.raw(cursor))

    def unexpired(
        self, kind: str, *, now_ms: int, after: int, upto: int, limit: int
    ) -> list[Stored]:
        """Return records of ``kind`` that have not expired, in order of cursors."""
        found: list[Stored] = []
        for cursor in postings.cursors(self._db, kind_key(kind), after=after, upto=upto):
            row = self._one("SELECT raw, expires_ms FROM record WHERE cursor = ?", cursor)
            assert row is not None, "an index leads to a record"
            raw, expires_ms = row
            if expires_ms is None or expires_ms > now_ms:
                found.append(Stored(cursor, raw))
            if len(found) == limit:
                break
        return found

    def log(self, author: AgentId, seqs: Sequence[int]) -> dict[int, bytes]:
        """Return the log entries of ``author`` at those of the positions ``seqs`` that are here."""
        return dict(self._db.execute(_LOG, (author, seqs[0], seqs[-1]))) if seqs else {}

    def letters(self, agent: AgentId) -> list[tuple[int, bytes]]:
        """Return the letters that wait for ``agent``."""
        return self._db.execute(_LETTERS, (agent, limits.LETTERS_PER_AGENT_MAX)).fetchall()

    def senders(self, agent: AgentId) -> list[AgentId | None]:
        """Return for each letter that waits for ``agent`` who handed it in."""
        return [sender for (sender,) in self._db.execute(_SENDERS, (agent,))]

    def has_expired(self, now_ms: int) -> bool:
        """Tell whether there is a record or a letter that has expired."""
        return self._one(_HAS_EXPIRED, now_ms, now_ms, now_ms) is not None

    def against(self, agent: AgentId) -> list[bytes]:
        """Return what ended or convicted ``agent``, in order of cursors."""
        key = against_key(agent)
        found = postings.cursors(self._db, key, after=0, upto=limits.INTEGER_MAX)
        return [self.raw(cursor) for cursor in found]

    def receipt(self, cursor: int) -> Receipt | None:
        """Return the receipt that spans ``cursor``."""
        row = self._one(_RECEIPT, cursor)
        receipt = None if row is None else Receipt(*row)
        return receipt if receipt is not None and receipt.first <= cursor else None

    def covered(self) -> int:
        """Return the cursor up to which all that needs a receipt is under one."""
        row = self._one("SELECT covered FROM store")
        assert row is not None, "opening the store has written it"
        cursor: int = row[0]
        return cursor

    def entries(self, *, after: int) -> list[Entry]:
        """Return all records and routes beyond ``after``, in order of cursors."""
        entries: dict[int, Entry] = {}
        for cursor, raw, audience, expires_ms, route_of in self._db.execute(
            "SELECT * FROM record WHERE cursor > ? ORDER BY cursor", (after,)
        ):
            if route_of is None:
                record = read_record(raw)
            else:
                routed = entries.get(route_of)
                record = self.record(route_of) if routed is None else routed.record
            entries[cursor] = Entry(cursor, record, split_agents(audience), expires_ms, route_of)
        return list(entries.values())

    def _one(self, statement: str, *values: bytes | int) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
        return row
