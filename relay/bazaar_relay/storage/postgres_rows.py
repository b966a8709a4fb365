"""Reading a relay's tables in PostgreSQL. Each function is one statement, which sees one state.

Cursors become visible in their order, so what is read up to a cursor is read whole even by several
statements; all that can be gone in between is what was forgotten.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.storage.index import Entry
from bazaar_relay.storage.joined_agents import split_agents
from bazaar_relay.storage.matching import EVERYTHING
from bazaar_relay.storage.scanning import Search, passes
from bazaar_relay.storage.sharing import News
from bazaar_relay.storage.short_keys import shorten
from bazaar_relay.storage.store import NewLetter, Stored, read_record

Fetch: TypeAlias = Callable[..., Awaitable[list[Any]]]
"""Carries out a statement: that of a connection, or of a server that chooses one."""

_READ_AT_ONCE: Final = 256
_WALK: Final = """
    SELECT walked.place, found.cursor
    FROM unnest($1::bytea[]) WITH ORDINALITY AS walked (key, place)
    CROSS JOIN LATERAL (
        SELECT cursor FROM posting
        WHERE posting.key = walked.key AND cursor > $2 AND cursor <= $3 ORDER BY cursor LIMIT $4
    ) AS found
    ORDER BY walked.place, found.cursor
"""
_WALK_EVERYTHING: Final = """
    SELECT cursor FROM record
    WHERE route_of IS NULL AND cursor > $1 AND cursor <= $2 ORDER BY cursor LIMIT $3
"""
_RAWS: Final = """
    SELECT record.cursor, coalesce(routed.raw, record.raw) AS raw
    FROM record LEFT JOIN record AS routed ON routed.cursor = record.route_of
    WHERE record.cursor = ANY ($1::bigint[])
"""
_UNEXPIRED: Final = """
    SELECT cursor, raw FROM posting JOIN record USING (cursor)
    WHERE key = $1 AND cursor > $2 AND (expires_ms IS NULL OR expires_ms > $3)
    ORDER BY cursor LIMIT $4
"""
_AUDIENCE: Final = """
    SELECT audience FROM record
    WHERE id = $1 OR route_of = (SELECT cursor FROM record WHERE id = $1) ORDER BY cursor
"""
_AGAINST: Final = """
    SELECT key, raw FROM posting JOIN record USING (cursor)
    WHERE key = ANY ($1::bytea[]) ORDER BY cursor
"""
_RECEIPT: Final = """
    SELECT intake, first, last, ids, roots, receipt.expires_ms, cursor
    FROM record JOIN LATERAL (
        SELECT * FROM receipt WHERE last >= record.cursor ORDER BY last LIMIT 1
    ) AS receipt ON true
    WHERE record.id = $1
"""
_NEW_ENTRIES: Final = """
    SELECT record.cursor, coalesce(routed.raw, record.raw) AS raw, record.audience,
        record.expires_ms, record.route_of
    FROM record LEFT JOIN record AS routed ON routed.cursor = record.route_of
    WHERE record.cursor > $1 AND record.cursor <= $2 ORDER BY record.cursor
"""
_NEW_LETTERS: Final = """
    SELECT number, agent, sealed, expires_ms, sender FROM letter
    WHERE number > $1 AND number <= $2 ORDER BY number
"""


async def position(fetch: Fetch) -> tuple[int, int, int]:
    """Return the newest cursor, the newest letter, and up to where receipts reach."""
    ((cursor, letter, covered),) = await fetch("SELECT cursor, letter, covered FROM store")
    return cursor, letter, covered


async def scan(
    fetch: Fetch, filters: Sequence[Filter], *, after: int, limit: int
) -> tuple[list[Stored], int]:
    """Return up to ``limit`` matches beyond ``after``, and up to where nothing else matches."""
    upto, _, _ = await position(fetch)
    if after >= upto:
        return [], upto
    search = Search(filters)
    walked = await _walk(fetch, search, after=after, upto=upto)
    candidates, reached = search.candidates(walked, upto=upto)
    found: list[Stored] = []
    for first in range(0, len(candidates), _READ_AT_ONCE):
        some = candidates[first : first + _READ_AT_ONCE]
        raws = dict(await fetch(_RAWS, [cursor for cursor, _ in some]))
        for cursor, rests in some:
            raw = raws.get(cursor)  # none if it was forgotten meanwhile
            if raw is not None and passes(rests, raw):
                found.append(Stored(cursor, raw))
                if len(found) == limit:
                    return found, cursor
    return found, reached


async def heads(fetch: Fetch, authors: Iterable[AgentId]) -> dict[AgentId, Head]:
    """Return the newest log entry of each author that has one; all of one moment."""
    statement = "SELECT author, seq, id FROM head WHERE author = ANY ($1::bytea[])"
    rows = await fetch(statement, list(authors))
    return {AgentId(author): Head(seq, RecordId(id_)) for author, seq, id_ in rows}


async def heads_between(
    fetch: Fetch, first: bytes, last: bytes, *, limit: int
) -> list[tuple[AgentId, Head]]:
    """Return up to ``limit`` authors from ``first`` to ``last``, in order, with their heads."""
    statement = """
        SELECT author, seq, id FROM head WHERE author BETWEEN $1 AND $2 ORDER BY author LIMIT $3
    """
    rows = await fetch(statement, first, last, limit)
    return [(AgentId(author), Head(seq, RecordId(id_))) for author, seq, id_ in rows]


async def audience(fetch: Fetch, record: RecordId) -> list[AgentId]:
    """Return whom a record is addressed to."""
    rows = await fetch(_AUDIENCE, record)
    return list(dict.fromkeys(agent for (joined,) in rows for agent in split_agents(joined)))


async def unexpired(
    fetch: Fetch, key: bytes, *, now_ms: int, after: int, limit: int
) -> list[Stored]:
    """Return records under ``key`` that have not expired."""
    rows = await fetch(_UNEXPIRED, shorten(key), after, now_ms, limit)
    return [Stored(cursor, raw) for cursor, raw in rows]


async def against(fetch: Fetch, keys: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    """Return the records under each of ``keys``, in order of cursors."""
    found: dict[bytes, list[bytes]] = {shorten(key): [] for key in keys}
    for short, raw in await fetch(_AGAINST, list(found)):
        found[short].append(raw)
    return {key: found[shorten(key)] for key in keys}


async def receipt(fetch: Fetch, record: RecordId) -> Any | None:
    """Return the columns of the first receipt that ends beyond ``record``, and its cursor."""
    rows = await fetch(_RECEIPT, record)
    return rows[0] if rows else None


async def news(
    fetch: Fetch, since: tuple[int, int], until: tuple[int, int], *, covered: int
) -> News:
    """Return what has cursors and numbers beyond ``since``, up to and with ``until``."""
    entries: list[Entry] = []
    letters: list[tuple[int, NewLetter]] = []
    if until[0] > since[0]:
        records: dict[int, Record] = {}
        for cursor, raw, joined, expires_ms, route_of in await fetch(
            _NEW_ENTRIES, since[0], until[0]
        ):
            record = records.get(route_of) or read_record(raw)
            records[cursor] = record
            entries.append(Entry(cursor, record, split_agents(joined), expires_ms, route_of))
    if until[1] > since[1]:
        letters = [
            (number, NewLetter(AgentId(to), sealed, expires_ms, sender and AgentId(sender)))
            for number, to, sealed, expires_ms, sender in await fetch(
                _NEW_LETTERS, since[1], until[1]
            )
        ]
    return News(entries, letters, covered)


async def _walk(fetch: Fetch, search: Search, *, after: int, upto: int) -> list[list[int]]:
    walked: list[list[int]] = [[] for _ in search.keys]
    keyed = [(place, key) for place, key in enumerate(search.keys) if key != EVERYTHING]
    if keyed:
        rows = await fetch(_WALK, [shorten(key) for _, key in keyed], after, upto, search.limit)
        for number, cursor in rows:
            walked[keyed[number - 1][0]].append(cursor)
    if len(keyed) < len(search.keys):
        everything = [row[0] for row in await fetch(_WALK_EVERYTHING, after, upto, search.limit)]
        for place, key in enumerate(search.keys):
            if key == EVERYTHING:
                walked[place] = everything
    return walked
