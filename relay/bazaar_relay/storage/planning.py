"""What a batch adds to a store: decided before anything of it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bazaar_protocol.errors import BrokenChain, StorageError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.storage.index import Entry
from bazaar_relay.storage.store import NewRecord, Stored


class Known(Protocol):
    """What is kept already."""

    def cursors_of(self, records: Sequence[RecordId]) -> Mapping[RecordId, int]:
        """Return where those of ``records`` are that are kept."""
        ...

    def heads_of(self, authors: Sequence[AgentId]) -> Mapping[AgentId, Head]:
        """Return the newest log entry of each author that has one."""
        ...

    def addressed(self, record: RecordId, agent: AgentId) -> int | None:
        """Return under which cursor ``agent`` finds ``record``, if it is addressed to it."""
        ...

    def record(self, cursor: int) -> Record:
        """Return the record at ``cursor``."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is new, in order of cursors, and what becomes of each part of the batch."""

    entries: list[Entry]
    heads: Mapping[AgentId, Head]
    cursors: list[int | None]
    routes: list[Stored | None]


def plan(
    known: Known,
    records: Sequence[NewRecord],
    routes: Sequence[tuple[RecordId, AgentId]],
    *,
    cursor: int,
) -> Plan:
    """Give each new record, and then each new route, the next cursor after ``cursor``.

    Raises:
        StorageError: An entry does not continue its author's log: keeping it would fork the log.

    """
    authors = dict.fromkeys(new.record.author for new in records if new.record.seq)
    heads = dict(known.heads_of(list(authors)))
    unclear = [*_not_next(records, heads), *(record for record, _ in routes)]
    planned = _Planned(known, cursor, dict(known.cursors_of(unclear)), heads)
    cursors = planned.add_records(records)
    return Plan(
        planned.entries,
        planned.heads,
        cursors,
        [planned.add_route(record, agent) for record, agent in routes],
    )


class _Planned:
    def __init__(
        self,
        known: Known,
        cursor: int,
        cursors_of: dict[RecordId, int],
        heads: dict[AgentId, Head],
    ) -> None:
        self.entries: list[Entry] = []
        self.heads: dict[AgentId, Head] = {}
        self._known = known
        self._cursor = cursor
        self._cursors_of = cursors_of
        self._heads = heads
        self._new: dict[RecordId, Entry] = {}
        self._routed: dict[tuple[RecordId, AgentId], int] = {}

    def add_records(self, records: Sequence[NewRecord]) -> list[int | None]:
        """Return the cursor of each; None for duplicates."""
        heads = self._heads
        cursors: list[int | None] = []
        for new in records:
            record = new.record
            if record.id in self._cursors_of:
                cursors.append(None)
                continue
            if record.seq:
                heads[record.author] = self.heads[record.author] = _follow(
                    heads.get(record.author), record
                )
            # A log without one of its entries is worth nothing, so these stay.
            expires_ms = None if record.seq else new.expires_ms
            entry = self._add(record, new.audience, expires_ms)
            self._cursors_of[record.id] = entry.cursor
            self._new[record.id] = entry
            cursors.append(entry.cursor)
        return cursors

    def add_route(self, record_id: RecordId, agent: AgentId) -> Stored | None:
        """Return where ``agent`` finds the record; None when it is not kept (any more)."""
        original = self._cursors_of.get(record_id)
        if original is None:
            return None
        new = self._new.get(record_id)
        record = self._known.record(original) if new is None else new.record
        if new is not None and agent in new.audience:
            return Stored(original, record.raw)
        cursor = self._routed.get((record_id, agent))
        if cursor is None and new is None:
            cursor = self._known.addressed(record_id, agent)
        if cursor is None:
            cursor = self._add(record, (agent,), None, route_of=original).cursor
            self._routed[record_id, agent] = cursor
        return Stored(cursor, record.raw)

    def _add(
        self,
        record: Record,
        audience: tuple[AgentId, ...],
        expires_ms: int | None,
        *,
        route_of: int | None = None,
    ) -> Entry:
        self._cursor += 1
        entry = Entry(self._cursor, record, audience, expires_ms, route_of)
        self.entries.append(entry)
        return entry


def _not_next(records: Sequence[NewRecord], heads: Mapping[AgentId, Head]) -> list[RecordId]:
    """Return the ids of those that may be kept already, as the next entry of a log cannot be."""
    ends = {author: head.seq for author, head in heads.items()}
    unclear: list[RecordId] = []
    for new in records:
        record = new.record
        if record.seq and record.seq == ends.get(record.author, 0) + 1:
            ends[record.author] = record.seq
        else:
            unclear.append(record.id)
    return unclear


def _follow(head: Head | None, record: Record) -> Head:
    try:
        return (head or Head.empty()).follow(record)
    except BrokenChain as error:
        raise StorageError(f"the log of {record.author.hex()[:12]}: {error}") from error
