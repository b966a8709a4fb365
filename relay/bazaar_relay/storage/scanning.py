"""How filters are answered from keys and cursors, the same way wherever those are."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from bazaar_protocol.frames import Filter
from bazaar_protocol.records import Record
from bazaar_relay.storage.matching import matches, walk_of
from bazaar_relay.storage.store import Stored, read_record

# One call looks at so many cursors, or at a few under each key: a rare combination costs many
# short calls instead of a long one.
_LOOKED_AT_MAX: Final = 2048
_LOOKED_AT_PER_KEY_MIN: Final = 16

Rests: TypeAlias = Sequence[Filter | None]
"""What remains to be checked of a record, for each filter whose key led to it; None for nothing."""


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


class Search:
    """Which keys to walk for some filters, and how far."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._plan = [(key, rest) for keys, rest in map(walk_of, filters) for key in keys]
        self.keys = [key for key, _ in self._plan]
        self.limit = max(_LOOKED_AT_PER_KEY_MIN, _LOOKED_AT_MAX // max(1, len(self._plan)))
        """How many cursors to take from under each."""

    def candidates(
        self, walked: Iterable[Sequence[int]], *, upto: int
    ) -> tuple[list[tuple[int, Rests]], int]:
        """Return what to look at, in order, and up to where nothing else can match.

        ``walked`` are the cursors under each key, up to and with ``upto``.
        """
        rests: dict[int, list[Filter | None]] = {}
        reached = upto
        for (_, rest), cursors in zip(self._plan, walked, strict=True):
            if len(cursors) == self.limit:
                reached = min(reached, cursors[-1])
            for cursor in cursors:
                rests.setdefault(cursor, []).append(rest)
        found: list[tuple[int, Rests]] = [
            (cursor, rests[cursor]) for cursor in sorted(rests) if cursor <= reached
        ]
        if len(found) > _LOOKED_AT_MAX:
            reached = found[_LOOKED_AT_MAX][0] - 1
        return found[:_LOOKED_AT_MAX], reached


def scan(
    walks: Walks, filters: Sequence[Filter], *, after: int, upto: int, limit: int
) -> tuple[list[Stored], int]:
    """Return up to ``limit`` matches beyond ``after``, and up to where nothing else matches."""
    search = Search(filters)
    walked = [walks.walk(key, after=after, upto=upto, limit=search.limit) for key in search.keys]
    candidates, reached = search.candidates(walked, upto=upto)
    found: list[Stored] = []
    for cursor, rests in candidates:
        raw = _check(walks, cursor, rests)
        if raw is not None:
            found.append(Stored(cursor, raw))
        if len(found) == limit:
            return found, cursor
    return found, reached


def passes(rests: Rests, raw: bytes) -> bool:
    """Tell whether one of ``rests`` lets the record ``raw`` pass."""
    return None in rests or _is_match(rests, read_record(raw))


def _check(walks: Walks, cursor: int, rests: Rests) -> bytes | None:
    """Return the bytes of the record at ``cursor`` if one of ``rests`` lets it pass."""
    if None in rests:  # its key says all
        return walks.raw(cursor)
    record = walks.record(cursor)
    return record.raw if _is_match(rests, record) else None


def _is_match(rests: Rests, record: Record) -> bool:
    return any(rest is not None and matches(rest, record, ()) for rest in rests)
