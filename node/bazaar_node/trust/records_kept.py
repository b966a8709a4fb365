"""Reading and writing single records of evidence, inside somebody's transaction."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from bazaar_protocol.evidence_kinds import Succession
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Award, Post
from bazaar_protocol.records import Record, RecordId, parse
from bazaar_reputation.contracts import parent_of

LOOSE_KEPT: Final = ("proof", "omission", "succession", "stamp", "post")
"""Loose kinds that are kept; a post only if it says what the right result is."""
_LINKS: Final = ("award", "accept", "deliver", "verdict", "breach")


def is_kept(record: Record) -> bool:
    """Tell whether a record is of any use as evidence."""
    if isinstance(record.body, Post):
        return bool(record.body.acceptance.expected or record.body.canary)
    return record.seq > 0 or record.kind in LOOSE_KEPT


def link_of(record: Record) -> Link | None:
    """Return the other author's entry that a record names, if it names one."""
    for name in _LINKS:
        link = getattr(record.body, name, None)
        if isinstance(link, Link):
            return link
    return None


def insert(db: sqlite3.Connection, record: Record, contract: bytes | None = None) -> bool:
    """Keep a record; tell whether it is new."""
    link = link_of(record)
    row = (
        record.id, record.kind, record.author, record.seq, record.prev, parent_of(record),
        link and link.author, link and link.seq, _about(record), contract, record.raw,
    )  # fmt: skip
    cursor = db.execute(
        """INSERT OR IGNORE INTO evidence (id, kind, author, seq, prev, parent,
           link_author, link_seq, about, contract, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        row,
    )
    return cursor.rowcount > 0


def read(db: sqlite3.Connection, record: bytes) -> Record | None:
    """Return a record by its id."""
    row = db.execute("SELECT raw FROM evidence WHERE id = ?", (record,)).fetchone()
    # Our own store: what is in it was verified before it came there.
    return None if row is None else parse(row[0])[0]


def read_place(db: sqlite3.Connection, author: AgentId, seq: int) -> list[Record]:
    """Return what an author signed for one position of its log: more than one entry is a fork."""
    rows = db.execute("SELECT raw FROM evidence WHERE author = ? AND seq = ?", (author, seq))
    return [parse(raw)[0] for (raw,) in rows]


def read_all(db: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, Record]]:
    """Return records in the order in which they came, with their numbers."""
    rows = db.execute(
        "SELECT number, raw FROM evidence WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
    )
    return [(number, parse(raw)[0]) for number, raw in rows]


def named_in(record: Record) -> Iterator[AgentId]:
    """Yield whose logs have to be known as well to make sense of a record."""
    link = link_of(record)
    if link is not None:
        yield AgentId(link.author)
    if isinstance(record.body, Award):
        for agent in (record.body.worker, record.body.judge, record.body.poster):
            yield AgentId(agent)


def id_on_run(
    db: sqlite3.Connection, author: AgentId, run: range, *, end: RecordId, seq: int
) -> RecordId | None:
    """Return which entry stands at ``seq`` in the unbroken run of a log; None outside of it.

    Args:
        db: Where it is kept.
        author: Whose log.
        run: Its positions.
        end: The entry at the last of them.
        seq: The position.

    """
    if seq not in run:
        return None
    later, id_ = run[-1], end
    # Where several are held, those that follow tell which of them belongs to the run.
    for place in run[run.index(seq) : -1]:
        found = _ids_at(db, author, place)
        if len(found) == 1:
            later, id_ = place, found[0]
            break
    for _ in range(seq, later):
        entry = read(db, id_)
        assert entry is not None
        id_ = RecordId(entry.prev)
    return id_


def _ids_at(db: sqlite3.Connection, author: AgentId, seq: int) -> list[RecordId]:
    rows = db.execute("SELECT id FROM evidence WHERE author = ? AND seq = ?", (author, seq))
    return [RecordId(id_) for (id_,) in rows]


def _about(record: Record) -> bytes | None:
    match record.body:
        case Award(task=task):
            return task
        case Succession(old=old):
            return old
        case _:
            return None
