"""Changing a relay's tables in PostgreSQL, inside a transaction that holds the store's row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.storage.index import Entry
from bazaar_relay.storage.joined_agents import split_agents
from bazaar_relay.storage.matching import keys_of, keys_of_route
from bazaar_relay.storage.planning import plan
from bazaar_relay.storage.short_keys import shorten
from bazaar_relay.storage.store import FORGOTTEN_MAX, Batch, Kept, read_record

_LOCK: Final = "SELECT cursor, letter, covered FROM store FOR UPDATE"
# One question for all that a batch touches, and one statement for all that it changes: each is a
# way there and back, while others wait for their turn.
_KNOWN: Final = """
    SELECT true AS is_record, id AS key, cursor AS number, NULL::bytea AS head
    FROM record WHERE id = ANY ($1::bytea[])
    UNION ALL SELECT false, author, seq, id FROM head WHERE author = ANY ($2::bytea[])
"""
_WRITE: Final = """
    WITH records AS (
        INSERT INTO record (cursor, id, author, seq, raw, audience, expires_ms, route_of)
        SELECT * FROM unnest(
            $1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[], $6::bytea[],
            $7::bigint[], $8::bigint[]
        )
    ), postings AS (
        INSERT INTO posting (key, cursor) SELECT * FROM unnest($9::bytea[], $10::bigint[])
    ), heads AS (
        INSERT INTO head (author, seq, id)
        SELECT * FROM unnest($11::bytea[], $12::bigint[], $13::bytea[])
        ON CONFLICT (author) DO UPDATE SET seq = excluded.seq, id = excluded.id
    ), letters AS (
        INSERT INTO letter (number, agent, sealed, expires_ms, sender)
        SELECT * FROM unnest($14::bigint[], $15::bytea[], $16::bytea[], $17::bigint[], $18::bytea[])
    ), collected AS (
        DELETE FROM letter USING unnest($19::bytea[], $20::bigint[]) AS gone (agent, number)
        WHERE letter.agent = gone.agent AND letter.number = gone.number
    ), receipts AS (
        INSERT INTO receipt (intake, first, last, ids, roots, expires_ms)
        SELECT * FROM unnest(
            $21::bytea[], $22::bigint[], $23::bigint[], $24::bytea[], $25::bytea[], $26::bigint[]
        )
    )
    UPDATE store SET cursor = $27, letter = $28, covered = $29 RETURNING pg_notify($30, $31)
"""
_ROUTED: Final = """
    SELECT post.id, post.cursor, post.raw, post.audience, route.cursor, route.audience
    FROM record AS post LEFT JOIN record AS route ON route.route_of = post.cursor
    WHERE post.id = ANY ($1::bytea[])
"""
_EXPIRED: Final = """
    SELECT cursor, raw, audience FROM record
    WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2
"""
_ROUTES_OF: Final = "SELECT cursor, route_of, audience FROM record WHERE route_of = ANY ($1)"
_FORGET_RECORDS: Final = "DELETE FROM record WHERE cursor = ANY ($1::bigint[])"
_FORGET_POSTINGS: Final = """
    DELETE FROM posting USING unnest($1::bytea[], $2::bigint[]) AS gone (key, cursor)
    WHERE posting.key = gone.key AND posting.cursor = gone.cursor
"""
_FORGET_LETTERS: Final = """
    DELETE FROM letter WHERE number IN (
        SELECT number FROM letter WHERE expires_ms <= $1 ORDER BY number LIMIT $2
    )
"""
_FORGET_RECEIPTS: Final = """
    DELETE FROM receipt WHERE last IN (
        SELECT last FROM receipt WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2
    )
"""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a store goes."""

    cursor: int
    letter: int
    covered: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept already of all that a batch touches."""

    cursors: Mapping[RecordId, int]
    heads: Mapping[AgentId, Head]
    addressees: Mapping[tuple[RecordId, AgentId], int]
    raws: Mapping[int, bytes]

    def cursors_of(self, records: Sequence[RecordId]) -> Mapping[RecordId, int]:
        return {record: self.cursors[record] for record in records if record in self.cursors}

    def heads_of(self, authors: Sequence[AgentId]) -> Mapping[AgentId, Head]:
        return {author: self.heads[author] for author in authors if author in self.heads}

    def addressed(self, record: RecordId, agent: AgentId) -> int | None:
        return self.addressees.get((record, agent))

    def record(self, cursor: int) -> Record:
        return read_record(self.raws[cursor])


async def lock(db: Any) -> Place:
    """Begin a transaction, and let nobody else commit until it ends."""
    await db.execute("BEGIN")
    return Place(*await db.fetchrow(_LOCK))


async def write(db: Any, batch: Batch, place: Place, *, tell: Sequence[str]) -> tuple[Kept, Place]:
    """Append a batch after ``place``, and return how far the store goes with it.

    ``tell`` is a channel, and what is said there once it is committed.

    Raises:
        StorageError: An entry does not continue its author's log.

    """
    known = await _learn(db, batch)
    planned = plan(known, batch.records, batch.routes, cursor=place.cursor)
    entries = planned.entries
    # In the order of their index, so that each of its pages is touched once.
    postings = sorted(
        (shorten(key), entry.cursor) for entry in entries for key in entry.index_keys()
    )
    numbers = list(range(place.letter + 1, place.letter + 1 + len(batch.letters)))
    letters = [
        (number, letter.to, letter.sealed, letter.expires_ms, letter.sender)
        for number, letter in zip(numbers, batch.letters, strict=True)
    ]
    after = Place(
        place.cursor + len(entries),
        place.letter + len(letters),
        batch.receipts[-1].last if batch.receipts else place.covered,
    )
    await db.execute(
        _WRITE,
        *_columns(map(_row, entries), 8),
        *_columns(postings, 2),
        *_columns([(author, head.seq, head.id) for author, head in planned.heads.items()], 3),
        *_columns(letters, 5),
        *_columns(batch.collected, 2),
        *_columns(map(astuple, batch.receipts), 6),
        *astuple(after),
        *tell,
    )
    return Kept(planned.cursors, planned.routes, numbers), after


async def forget(db: Any, *, now_ms: int) -> int:
    """Delete some of what has expired, and count it."""
    expired = await db.fetch(_EXPIRED, now_ms, FORGOTTEN_MAX)
    if expired:
        await _forget_records(db, expired)
    letters = await db.execute(_FORGET_LETTERS, now_ms, FORGOTTEN_MAX)
    receipts = await db.execute(_FORGET_RECEIPTS, now_ms, FORGOTTEN_MAX)
    return len(expired) + _count(letters) + _count(receipts)


async def _forget_records(db: Any, expired: Sequence[Any]) -> None:
    records = {cursor: read_record(raw) for cursor, raw, _ in expired}
    keys = [
        (shorten(key), cursor)
        for cursor, _, audience in expired
        for key in keys_of(records[cursor], split_agents(audience))
    ]
    routes = await db.fetch(_ROUTES_OF, list(records))
    keys += [
        (shorten(key), cursor)
        for cursor, route_of, agent in routes
        for key in keys_of_route(records[route_of].id, AgentId(agent))
    ]
    await db.execute(_FORGET_POSTINGS, *_columns(keys, 2))
    await db.execute(_FORGET_RECORDS, [*records, *(cursor for cursor, _, _ in routes)])


async def _learn(db: Any, batch: Batch) -> _Known:
    routed = list(dict.fromkeys(record for record, _ in batch.routes))
    ids = list(dict.fromkeys([*(new.record.id for new in batch.records), *routed]))
    authors = dict.fromkeys(new.record.author for new in batch.records if new.record.seq)
    raws: dict[int, bytes] = {}
    addressees: dict[tuple[RecordId, AgentId], int] = {}
    for id_, cursor, raw, audience, route, agent in await _found_routes(db, routed):
        raws[cursor] = raw
        for one in split_agents(audience):
            addressees[RecordId(id_), one] = cursor
        if route is not None:
            addressees.setdefault((RecordId(id_), AgentId(agent)), route)
    cursors: dict[RecordId, int] = {}
    heads: dict[AgentId, Head] = {}
    for is_record, key, number, head in await db.fetch(_KNOWN, ids, list(authors)):
        if is_record:
            cursors[RecordId(key)] = number
        else:
            heads[AgentId(key)] = Head(number, RecordId(head))
    return _Known(cursors, heads, addressees, raws)


async def _found_routes(db: Any, records: list[RecordId]) -> list[Any]:
    found: list[Any] = await db.fetch(_ROUTED, records) if records else []
    return found


def _row(entry: Entry) -> tuple[object, ...]:
    audience = b"".join(entry.audience)
    if entry.route_of is not None:
        return entry.cursor, None, None, None, b"", audience, entry.expires_ms, entry.route_of
    record = entry.record
    return (
        entry.cursor, record.id, record.author, record.seq, record.raw, audience, entry.expires_ms,
        None,
    )  # fmt: skip


def _columns(table: Iterable[Sequence[object]], count: int) -> list[tuple[object, ...]]:
    """Return the columns of a table, which are so many even if it has no rows."""
    return list(zip(*table, strict=True)) or [()] * count


def _count(said: str) -> int:
    """Return how many rows a statement says that it has changed, as in ``DELETE 3``."""
    return int(said.rpartition(" ")[2])
