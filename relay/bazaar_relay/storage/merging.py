"""How the index tables learn of many records at once, piece by piece, each piece a transaction.

The rows of a merge are sorted, so neighbours go onto the same page. Between two pieces commits
take their turn. A merge that was cut off is done again from its beginning with the very same
rows: its end is written down first.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from bazaar_relay.storage import postings
from bazaar_relay.storage.bulk_insert import insert
from bazaar_relay.storage.index import Index

Piece: TypeAlias = Callable[[sqlite3.Connection], None]

_ROWS_PER_PIECE: Final = 2500


def pieces(index: Index, *, upto: int) -> list[Piece]:
    """Return the transactions that write ``index``, whose newest cursor is ``upto``."""
    tables: tuple[tuple[str, Sequence[tuple[bytes | int, ...]]], ...] = (
        ("INSERT OR IGNORE INTO by_id", index.rows_by_id()),
        (postings.ADD, postings.pack(index.walks())),
        ("INSERT OR IGNORE INTO by_seq", index.rows_by_seq()),
        ("INSERT OR IGNORE INTO by_expiry", index.rows_by_expiry()),
    )
    work: list[Piece] = [
        partial(_insert, statement, rows[first : first + _ROWS_PER_PIECE])
        for statement, rows in tables
        for first in range(0, len(rows), _ROWS_PER_PIECE)
    ]
    return [partial(_begin, upto), *work, partial(_finish, upto)]


def _begin(upto: int, db: sqlite3.Connection) -> None:
    db.execute("UPDATE store SET merging = ?", (upto,))


def _insert(
    statement: str, rows: Sequence[tuple[bytes | int, ...]], db: sqlite3.Connection
) -> None:
    insert(db, statement, rows)


def _finish(upto: int, db: sqlite3.Connection) -> None:
    db.execute("UPDATE store SET merged = ?", (upto,))
