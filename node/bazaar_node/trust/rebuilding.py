"""Deriving everything anew from the records, beside a node that goes on working.

It goes on where it stopped when the process was killed in between. What comes meanwhile is kept as
always: nothing depends on the order.
"""

import asyncio
import sqlite3
from functools import partial
from typing import Final

import msgspec

from bazaar_node.trust import booking
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.histories import Circle
from bazaar_node.trust.keeping import News, Way, keep_again
from bazaar_protocol.records import parse

BATCH: Final = 256
_META: Final = "rebuilding"
_DERIVED: Final = ("finding", "tally", "strand", "unsettled", "conviction", "stamp", "log_end")


class _Stage(msgspec.Struct, frozen=True, array_like=True):
    name: str
    """``parted``: contracts are taken apart; then ``loose`` records and ``logged`` ones."""
    number: int
    last: int


_NEXT: Final = {"parted": "loose", "loose": "logged", "logged": ""}


async def rebuild(store: EvidenceStore) -> int:
    """Derive everything anew, and correct the book by it; return how many records there are.

    The book says what it said until all is derived.

    Raises:
        StorageError: It could not go on; the next call, or the next start, does.

    """
    before = await store.contents()
    seen, met = dict(before.tallies), list(before.met)
    stage = await store.work(_begin)
    last = stage.last
    while stage.name:
        if stage.name == "parted":
            stage = await store.work(partial(_part, stage))
        else:
            derive = partial(_derive, stage, store.way(Circle.OTHER))
            news, stage = await store.work(derive)
            seen |= news.tallies
            met += news.met
        await asyncio.sleep(0)  # others first
    after = await store.contents()
    after.tallies |= dict.fromkeys(seen.keys() - after.tallies.keys())
    after.unmet = [*set(met).difference(after.met)]
    booking.tell(store.book, after)
    return last


async def resume(store: EvidenceStore) -> None:
    """Finish what an earlier process had begun, if it had.

    Raises:
        StorageError: It could not go on.

    """
    if await store.read(_read_stage) is not None:
        await rebuild(store)


def _begin(db: sqlite3.Connection) -> _Stage:
    stage = _read_stage(db)
    if stage is not None:
        return stage
    for table in _DERIVED:
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - ours, all of them
    db.execute("UPDATE author SET head = 0, entries = 0, bytes = 0")
    (last,) = db.execute("SELECT coalesce(max(number), 0) FROM evidence").fetchone()
    stage = _Stage("parted", 0, last)
    _write_stage(db, stage)
    return stage


def _part(stage: _Stage, db: sqlite3.Connection) -> _Stage:
    up_to = min(stage.number + BATCH, stage.last)
    db.execute(
        "UPDATE evidence SET contract = NULL WHERE number > ? AND number <= ? AND seq > 0",
        (stage.number, up_to),
    )
    stage = _advanced(stage, up_to)
    _write_stage(db, stage)
    return stage


def _derive(stage: _Stage, way: Way, db: sqlite3.Connection) -> tuple[News, _Stage]:
    up_to = min(stage.number + BATCH, stage.last)
    rows = db.execute(
        """SELECT raw FROM evidence WHERE number > ? AND number <= ? AND (seq > 0) = ?
           ORDER BY number""",
        (stage.number, up_to, stage.name == "logged"),
    )
    news = keep_again(db, [parse(raw)[0] for (raw,) in rows.fetchall()], way)
    stage = _advanced(stage, up_to)
    _write_stage(db, stage)
    return news, stage


def _advanced(stage: _Stage, number: int) -> _Stage:
    if number < stage.last:
        return _Stage(stage.name, number, stage.last)
    return _Stage(_NEXT[stage.name], 0, stage.last)


def _read_stage(db: sqlite3.Connection) -> _Stage | None:
    row = db.execute("SELECT value FROM meta WHERE name = ?", (_META,)).fetchone()
    return None if row is None else _STAGE.decode(row[0])


def _write_stage(db: sqlite3.Connection, stage: _Stage) -> None:
    if stage.name:
        row = (_META, msgspec.msgpack.encode(stage))
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row)
    else:
        db.execute("DELETE FROM meta WHERE name = ?", (_META,))


_STAGE: Final = msgspec.msgpack.Decoder(_Stage)
