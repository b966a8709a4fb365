"""Where each key leads, in SQLite: rows of many cursors, packed as distances from the last."""

import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

from bazaar_relay.storage.bulk_insert import insert

Posting: TypeAlias = tuple[bytes, int, bytes]
"""Key, last cursor, and all cursors packed."""

# With these a row fits into its page; a longer one would spill into pages of its own.
_CURSORS_MAX: Final = 200

_READ: Final = "SELECT last, cursors FROM by_key WHERE key = ? AND last > ? ORDER BY last"
ADD: Final = "INSERT OR REPLACE INTO by_key"
_DELETE: Final = "DELETE FROM by_key WHERE key = ? AND last = ?"


def pack(walks: Iterable[tuple[bytes, Sequence[int]]]) -> list[Posting]:
    """Return the rows for keys and their cursors, which are in order."""
    return [
        (key, part[-1], _pack(part))
        for key, all_of_it in walks
        for part in (
            all_of_it[first : first + _CURSORS_MAX]
            for first in range(0, len(all_of_it), _CURSORS_MAX)
        )
    ]


def walk(db: sqlite3.Connection, key: bytes, *, after: int, upto: int, limit: int) -> list[int]:
    """Return the first cursors under ``key`` beyond ``after``, up to and with ``upto``."""
    return list(islice(cursors(db, key, after=after, upto=upto), limit))


def cursors(db: sqlite3.Connection, key: bytes, *, after: int, upto: int) -> Iterator[int]:
    """Return the cursors under ``key`` one by one."""
    for last, packed in db.execute(_READ, (key, after)):
        for cursor in _unpack(last, packed):
            if cursor > upto:
                return
            if cursor > after:
                yield cursor


def remove(db: sqlite3.Connection, gone: Iterable[tuple[bytes, int]]) -> None:
    """Take cursors away from under their keys."""
    leaving_of: defaultdict[bytes, set[int]] = defaultdict(set)
    for key, cursor in gone:
        leaving_of[key].add(cursor)
    shorter: list[Posting] = []
    for key, leaving in sorted(leaving_of.items()):
        first, last = min(leaving), max(leaving)
        for row_last, packed in db.execute(_READ, (key, first - 1)).fetchall():
            left = [cursor for cursor in _unpack(row_last, packed) if cursor not in leaving]
            if not left or left[-1] != row_last:
                db.execute(_DELETE, (key, row_last))
            shorter += pack([(key, left)])  # takes the row's place
            if row_last >= last:
                break
    insert(db, ADD, shorter)


def _pack(cursors: Sequence[int]) -> bytes:
    last = cursors[-1]
    return array("I", [last - cursor for cursor in cursors]).tobytes()


def _unpack(last: int, packed: bytes) -> list[int]:
    distances = array("I")
    distances.frombytes(packed)
    return [last - distance for distance in distances]
