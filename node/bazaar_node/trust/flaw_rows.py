"""What is wrong with histories, as it is written down."""

import sqlite3
from collections.abc import Sequence

from bazaar_node.trust.histories import PASSING, Flaw, Named
from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId


def note(db: sqlite3.Connection, flaw: Flaw, now_ms: int) -> None:
    """Write down a flaw, the first time it is seen."""
    # So many of each: whoever links to entries that do not exist leaves room for what is proved.
    (count,) = db.execute(
        "SELECT count(*) FROM flaw WHERE agent = ? AND what = ?", (flaw.agent, flaw.what)
    ).fetchone()
    if count >= limits.FLAWS_PER_AUTHOR_MAX:
        return
    row = (flaw.agent, flaw.what, flaw.place, flaw.last, flaw.source, flaw.note, now_ms)
    db.execute("INSERT OR IGNORE INTO flaw VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def replace_passing(
    db: sqlite3.Connection, agent: AgentId, flaws: Sequence[Flaw], now_ms: int
) -> None:
    """Write down what is missing of a log now, in place of what was missing before."""
    kept = {(flaw.what, flaw.place, flaw.source) for flaw in flaws}
    for known in read(db, agent):
        if known.what in PASSING and (known.what, known.place, known.source) not in kept:
            db.execute(
                "DELETE FROM flaw WHERE agent = ? AND what = ? AND place = ? AND source = ?",
                (agent, known.what, known.place, known.source),
            )
    for flaw in flaws:
        note(db, flaw, now_ms)


def forget_unproved(db: sqlite3.Connection, agent: AgentId, place: int) -> None:
    """Forget forks from a position on at which the author was reset, unless one is proved."""
    db.execute(
        """DELETE FROM flaw WHERE agent = ? AND what = 'fork' AND place >= ?
           AND NOT EXISTS (SELECT 1 FROM conviction WHERE conviction.agent = flaw.agent)""",
        (agent, place),
    )


def read(db: sqlite3.Connection, agent: AgentId) -> list[Flaw]:
    """Return what is wrong with a history, in the order of its positions."""
    rows = db.execute(
        """SELECT what, agent, place, last, source, note FROM flaw WHERE agent = ?
           ORDER BY place, what, source""",
        (agent,),
    )
    return [Flaw(what, AgentId(who), *rest) for what, who, *rest in rows]


def read_named(db: sqlite3.Connection, agent: AgentId, *, up_to: int) -> list[Named]:
    """Return links to entries of a log that we do not have, among the records up to a number."""
    rows = db.execute(
        """SELECT author, max(link_seq) FROM evidence
           WHERE link_author = ? AND contract IS NULL AND number <= ? AND NOT EXISTS
           (SELECT 1 FROM evidence AS there WHERE there.id = evidence.parent)
           GROUP BY author ORDER BY 2 DESC LIMIT ?""",
        (agent, up_to, limits.FLAWS_PER_AUTHOR_MAX),
    )
    return [Named(AgentId(holder), seq) for holder, seq in rows]
