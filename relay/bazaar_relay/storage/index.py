"""Records in memory, found by every key: all of a ``MemoryStore``, the newest of ``SqliteStore``.

One event loop owns an index. While a transaction runs nobody changes it, so that the thread which
writes may look things up in it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.storage.matching import EVERYTHING, keys_of, keys_of_route, kind_key, route_key
from bazaar_relay.storage.store import Stored


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record, or a route of an older one, at its place in the order of arrival."""

    cursor: int
    record: Record
    audience: tuple[AgentId, ...]
    expires_ms: int | None
    route_of: int | None = None
    """For a route, the cursor of the record itself; its audience is the one further addressee."""

    def index_keys(self) -> list[bytes]:
        """Return the keys under which it is found."""
        if self.route_of is None:
            return keys_of(self.record, self.audience)
        return keys_of_route(self.record.id, self.audience[0])


class Index:
    """Entries that arrive in order of cursors."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        """By cursor, in its order."""
        self.bytes = 0
        """How many the records have together."""
        self._cursors: dict[RecordId, int] = {}
        self._walks: dict[bytes, list[int]] = {EVERYTHING: []}
        self._log: dict[tuple[AgentId, int], int] = {}
        self._heads: dict[AgentId, Head] = {}
        self._routes: dict[RecordId, list[int]] = {}

    def add(self, entry: Entry) -> None:
        """Take in an entry that is newer than all others."""
        record = entry.record
        self.entries[entry.cursor] = entry
        self.bytes += len(record.raw)
        for key in entry.index_keys():
            self._walks.setdefault(key, []).append(entry.cursor)
        if entry.route_of is not None:
            self._routes.setdefault(record.id, []).append(entry.cursor)
            return
        self._walks[EVERYTHING].append(entry.cursor)
        self._cursors[record.id] = entry.cursor
        if record.seq:
            self._log[record.author, record.seq] = entry.cursor
            self._heads[record.author] = Head.of(record)

    def remove(self, cursors: Iterable[int]) -> None:
        """Remove loose records and their routes."""
        keys = {EVERYTHING: None}
        for cursor in cursors:
            record_id = self.entries[cursor].record.id
            del self._cursors[record_id]
            for gone in (cursor, *self._routes.pop(record_id, ())):
                entry = self.entries.pop(gone)
                self.bytes -= len(entry.record.raw)
                keys |= dict.fromkeys(entry.index_keys())
        for key in keys:
            left = [cursor for cursor in self._walks[key] if cursor in self.entries]
            if left or key == EVERYTHING:
                self._walks[key] = left
            else:
                del self._walks[key]

    def cursor_of(self, record: RecordId) -> int | None:
        """Return where ``record`` is."""
        return self._cursors.get(record)

    def cursors_of(self, records: Iterable[RecordId]) -> dict[RecordId, int]:
        """Return where those of ``records`` are that are here."""
        return {record: self._cursors[record] for record in records if record in self._cursors}

    def heads_of(self, authors: Iterable[AgentId]) -> Mapping[AgentId, Head]:
        """Return the newest log entry of each author that has one here."""
        return {author: self._heads[author] for author in authors if author in self._heads}

    def heads_between(self, first: bytes, last: bytes) -> list[tuple[AgentId, Head]]:
        """Return the authors from ``first`` to ``last`` with their heads, in order."""
        return sorted(one for one in self._heads.items() if first <= one[0] <= last)

    def addressed(self, record: RecordId, agent: AgentId) -> int | None:
        """Return under which cursor ``agent`` finds ``record``, if it is addressed to it."""
        cursor = self._cursors.get(record)
        if cursor is not None and agent in self.entries[cursor].audience:
            return cursor
        routes = self._walks.get(route_key(record, agent))
        return routes[0] if routes else None

    def audience(self, record: RecordId) -> list[tuple[int, AgentId]]:
        """Return whom ``record`` is addressed to here, each with the cursor."""
        original = self._cursors.get(record)
        cursors = [] if original is None else [original]
        cursors += self._routes.get(record, ())
        return [(cursor, agent) for cursor in cursors for agent in self.entries[cursor].audience]

    def log(self, author: AgentId, seqs: Sequence[int]) -> dict[int, bytes]:
        """Return the log entries of ``author`` at those of the positions ``seqs`` that are here."""
        cursors = ((seq, self._log.get((author, seq))) for seq in seqs)
        return {seq: self.raw(cursor) for seq, cursor in cursors if cursor is not None}

    def unexpired(self, kind: str, *, now_ms: int, after: int, limit: int) -> list[Stored]:
        """Return records of ``kind`` that have not expired, in order of cursors."""
        cursors = self._walks.get(kind_key(kind), [])
        entries = (self.entries[cursor] for cursor in cursors[bisect_right(cursors, after) :])
        live = (entry for entry in entries if not _is_expired(entry, now_ms))
        return [Stored(entry.cursor, entry.record.raw) for entry in islice(live, limit)]

    def expired(self, now_ms: int) -> list[int]:
        """Return the cursors of the records that have expired."""
        return [entry.cursor for entry in self.entries.values() if _is_expired(entry, now_ms)]

    def walk(self, key: bytes, *, after: int, upto: int, limit: int) -> list[int]:
        """Return the first cursors under ``key`` beyond ``after``, up to and with ``upto``."""
        cursors = self._walks.get(key, [])
        first = bisect_right(cursors, after)
        return cursors[first : min(first + limit, bisect_right(cursors, upto))]

    def raws(self, key: bytes) -> list[bytes]:
        """Return the bytes of all records under ``key``, in order of cursors."""
        return [self.raw(cursor) for cursor in self._walks.get(key, [])]

    def rows_by_id(self) -> list[tuple[RecordId, int]]:
        """Return id and cursor of each record, sorted."""
        return sorted(self._cursors.items())

    def walks(self) -> list[tuple[bytes, list[int]]]:
        """Return each key with its cursors, sorted."""
        return sorted(item for item in self._walks.items() if item[0] != EVERYTHING)

    def rows_by_seq(self) -> list[tuple[AgentId, int, int]]:
        """Return author, position and cursor of each log entry, sorted."""
        return sorted((author, seq, cursor) for (author, seq), cursor in self._log.items())

    def rows_by_expiry(self) -> list[tuple[int, int]]:
        """Return when what can expire does, and its cursor, sorted."""
        return sorted(
            (entry.expires_ms, entry.cursor)
            for entry in self.entries.values()
            if entry.expires_ms is not None
        )

    def raw(self, cursor: int) -> bytes:
        """Return the bytes of the record at ``cursor``."""
        return self.entries[cursor].record.raw

    def record(self, cursor: int) -> Record:
        """Return the record at ``cursor``."""
        return self.entries[cursor].record


def _is_expired(entry: Entry, now_ms: int) -> bool:
    return entry.expires_ms is not None and entry.expires_ms <= now_ms
