"""How filters are answered from keys and cursors, the same way in memory and in SQLite."""

from collections.abc import Sequence
from typing import Final, Protocol

from bazaar_protocol.frames import Filter
from bazaar_protocol.records import Record
from bazaar_relay.storage.matching import matches, walk_of
from bazaar_relay.storage.store import Stored

# One call looks at so many cursors, or at a few under each key: a rare combination costs many
# short calls instead of a long one.
_LOOKED_AT_MAX: Final = 2048
_LOOKED_AT_PER_KEY_MIN: Final = 16


class Walks(Protocol):
    """Where keys lead to cursors, and cursors to records."""

    def walk(self, key: bytes, *, after: int, upto: int, limit: int) -> list[int]:
        """Return the first cursors under ``key`` beyond ``after``, up to and with ``upto``."""
        ...

    def raw(self, cursor: int) -> bytes:
        """Return the bytes of the record at ``cursor``."""
        ...

    def record(self, cursor: int) -> Record:
        """Return the record at ``cursor``."""
        ...


def scan(
    walks: Walks, filters: Sequence[Filter], *, after: int, upto: int, limit: int
) -> tuple[list[Stored], int]:
    """Return up to ``limit`` matches beyond ``after``, and up to where nothing else matches."""
    candidates, reached = _candidates(walks, filters, after=after, upto=upto)
    found: list[Stored] = []
    for looked_at, cursor in enumerate(sorted(candidates)):
        if cursor > reached:
            break
        if looked_at == _LOOKED_AT_MAX:
            return found, cursor - 1
        raw = _check(walks, cursor, candidates[cursor])
        if raw is not None:
            found.append(Stored(cursor, raw))
        if len(found) == limit:
            return found, cursor
    return found, reached


def _candidates(
    walks: Walks, filters: Sequence[Filter], *, after: int, upto: int
) -> tuple[dict[int, list[Filter | None]], int]:
    """Return what remains to be checked at each cursor, and up to where that is complete."""
    plan = [(key, rest) for keys, rest in map(walk_of, filters) for key in keys]
    limit = max(_LOOKED_AT_PER_KEY_MIN, _LOOKED_AT_MAX // max(1, len(plan)))
    candidates: dict[int, list[Filter | None]] = {}
    reached = upto
    for key, rest in plan:
        cursors = walks.walk(key, after=after, upto=upto, limit=limit)
        if len(cursors) == limit:
            reached = min(reached, cursors[-1])
        for cursor in cursors:
            candidates.setdefault(cursor, []).append(rest)
    return candidates, reached


def _check(walks: Walks, cursor: int, rests: list[Filter | None]) -> bytes | None:
    """Return the bytes of the record at ``cursor`` if one of ``rests`` lets it pass."""
    if None in rests:  # its key says all
        return walks.raw(cursor)
    record = walks.record(cursor)
    is_match = any(rest is not None and matches(rest, record, ()) for rest in rests)
    return record.raw if is_match else None
