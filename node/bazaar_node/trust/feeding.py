"""What a node's own trades, its own log and its subscriptions bring, taken over as evidence.

All of it is in the store already, so this is never in the way of a trade: it follows behind, and
what it has passed is marked in the transaction that keeps it.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from bazaar_node.trust import authors, records_kept
from bazaar_node.trust.histories import Circle
from bazaar_node.trust.keeping import News, Way, check_kept, keep
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Bid, Post
from bazaar_protocol.records import Record, parse

BATCH: Final = 16
_LOG: Final = "evidence of our log"


def feed(way: Way, db: sqlite3.Connection) -> News:
    """Take over the next of our own log, and of the tasks in which we had a part."""
    entries, records = _next_entries(db), _next_records(db)
    near: dict[Circle, set[AgentId]] = {Circle.PARTNER: set(), Circle.BIDDER: set()}
    for record in records:
        circle = Circle.BIDDER if isinstance(record.body, Bid | Post) else Circle.PARTNER
        if circle is Circle.BIDDER or record.seq:
            near[circle] |= {record.author, *records_kept.named_in(record)} - {way.ours}
    for circle, agents in near.items():
        authors.take_interest(db, agents, circle, way.now_ms)
    news = keep(db, [*entries, *records], replace(way, circle=Circle.PARTNER))
    news.is_cut_short = max(len(entries), len(records)) >= BATCH
    return news


def _next_entries(db: sqlite3.Connection) -> list[Record]:
    rows = db.execute(
        "SELECT raw FROM log WHERE seq > ? ORDER BY seq LIMIT ?", (_cursor(db, _LOG), BATCH)
    )
    entries = [parse(raw)[0] for (raw,) in rows.fetchall()]
    if entries:
        _move(db, _LOG, entries[-1].seq)
    return entries


def _next_records(db: sqlite3.Connection) -> list[Record]:
    rows = db.execute(
        """SELECT unread.number, raw FROM unread LEFT JOIN record ON record.id = unread.record
           ORDER BY unread.number LIMIT ?""",
        (BATCH,),
    ).fetchall()
    if rows:
        db.execute("DELETE FROM unread WHERE number <= ?", (rows[-1][0],))
    return [parse(raw)[0] for _, raw in rows if raw is not None]  # else it was forgotten


def is_behind(db: sqlite3.Connection) -> bool:
    """Tell whether our log or our tasks have more than was taken over."""
    (is_behind,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM unread) OR EXISTS (SELECT 1 FROM log WHERE seq > ?)",
        (_cursor(db, _LOG),),
    ).fetchone()
    return bool(is_behind)


def read_witnessed(db: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """Return what subscriptions brought and nobody has looked at."""
    return db.execute(
        "SELECT number, raw FROM witnessed ORDER BY number LIMIT ?", (BATCH,)
    ).fetchall()


def check_witnessed(raws: Iterable[bytes]) -> list[Record]:
    """Return those that are evidence; the others are worth nothing to anybody."""
    found: list[Record] = []
    for raw in raws:
        try:
            found.append(check_kept(parse(raw)[0]))  # its signature was checked when it came
        except RemoteError:
            continue
    return found


def feed_witnessed(records: list[Record], last: int, way: Way, db: sqlite3.Connection) -> News:
    """Take over what subscriptions brought, up to a number.

    Entries of logs that nobody wants are left out: anybody could begin any number of them.
    """
    wanted = [one for one in records if one.seq == 0 or authors.read_known(db, one.author)]
    news = keep(db, wanted, way)
    db.execute("DELETE FROM witnessed WHERE number <= ?", (last,))
    return news


def _cursor(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int.from_bytes(row[0])


def _move(db: sqlite3.Connection, name: str, to: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, to.to_bytes(8)))
