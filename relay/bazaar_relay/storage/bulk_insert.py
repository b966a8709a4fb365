"""Inserting many rows by few statements.

SQLite's module gives the interpreter's lock away for every step of a statement, and gets it back
only when the event loop lets go of it. A commit that took a step for each row would wait a hundred
times for a busy relay; so one step inserts many rows. It is also cheaper.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Final

_ROWS_PER_STEP: Final = 32


def insert(
    db: sqlite3.Connection, into: str, rows: Sequence[tuple[bytes | int | None, ...]]
) -> None:
    """Carry out ``into``, which ends where the values are to follow, for all ``rows``."""
    for first in range(0, len(rows), _ROWS_PER_STEP):
        some = rows[first : first + _ROWS_PER_STEP]
        db.execute(into + _values(len(some[0]), len(some)), list(chain.from_iterable(some)))


@cache
def _values(columns: int, rows: int) -> str:
    row = "(" + ", ".join("?" * columns) + ")"
    return " VALUES " + ", ".join([row] * rows)
