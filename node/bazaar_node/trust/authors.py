"""Whose logs are held, how much of each, and when to ask for more of them."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bazaar_node.trust.histories import Circle, Known
from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import NO_RECORD, Record, RecordId

ASK_AGAIN_MS: Final = limits.MINUTE_MS
"""A relay is asked for the news of one author no more often than this."""
REST_MS_MIN: Final = 10 * limits.MINUTE_MS
REST_MS_MAX: Final = 7 * limits.DAY_MS


@dataclass(slots=True)
class _Author:
    circle: Circle
    known: Known
    entries: int
    bytes: int
    is_new: bool
    was_head: int


class Authors:
    """The authors that one transaction touches."""

    def __init__(self, db: sqlite3.Connection, ours: AgentId, circle: Circle) -> None:
        self._db = db
        self._ours = ours
        self._circle = circle
        self._authors: dict[AgentId, _Author] = {}

    def add(self, record: Record) -> None:
        """Count an entry that was just kept."""
        author = self._get(record.author)
        author.entries += 1
        author.bytes += len(record.raw)
        author.known = author.known.seen(record)

    def begin_run(self, record: Record) -> None:
        """Let the unbroken run of a log begin at ``record``, unless it is part of one already."""
        author = self._get(record.author)
        if author.known.whole.seq < record.seq:
            author.known = author.known.begun_at(record)

    def write(self) -> dict[AgentId, int]:
        """Write all down; return the heads that have moved."""
        moved: dict[AgentId, int] = {}
        for agent, author in self._authors.items():
            known = author.known = self._extended(agent, author.known)
            self._db.execute(
                """INSERT INTO author (agent, circle, first, whole, whole_id, head, entries, bytes)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agent) DO UPDATE SET
                   first = excluded.first, whole = excluded.whole, whole_id = excluded.whole_id,
                   head = excluded.head, entries = excluded.entries, bytes = excluded.bytes""",
                (
                    agent, author.circle, known.first, known.whole.seq, known.whole.id, known.head,
                    author.entries, author.bytes,
                ),
            )  # fmt: skip
            if known.head > author.was_head:
                moved[agent] = known.head
        return moved

    def _get(self, agent: AgentId) -> _Author:
        author = self._authors.get(agent)
        if author is None:
            row = self._db.execute(
                """SELECT circle, first, whole, whole_id, head, entries, bytes
                   FROM author WHERE agent = ?""",
                (agent,),
            ).fetchone()
            if row is None:
                circle = Circle.OURS if agent == self._ours else self._circle
                author = _Author(circle, Known(), 0, 0, is_new=True, was_head=0)
            else:
                circle, first, whole, whole_id, head, entries, size = row
                known = Known(first, _head(whole, whole_id), head)
                author = _Author(Circle(circle), known, entries, size, is_new=False, was_head=head)
            self._authors[agent] = author
        return author

    def _extended(self, agent: AgentId, known: Known) -> Known:
        """Let the run go on through entries that came before those it had to wait for."""
        head = known.whole
        if known.first == 0 or head.seq == known.head:
            return known
        while True:
            row = self._db.execute(
                "SELECT id FROM evidence WHERE author = ? AND seq = ? AND prev = ?",
                (agent, head.seq + 1, head.id),
            ).fetchone()
            if row is None:
                return Known(known.first, head, known.head)
            head = Head(head.seq + 1, RecordId(row[0]))


def read_known(db: sqlite3.Connection, agent: AgentId) -> Known | None:
    """Return how much of a log is held; None of an author that we have never heard of."""
    row = db.execute(
        "SELECT first, whole, whole_id, head FROM author WHERE agent = ?", (agent,)
    ).fetchone()
    return None if row is None else Known(row[0], _head(row[1], row[2]), row[3])


def read_beyond(db: sqlite3.Connection, agent: AgentId, known: Known) -> int | None:
    """Return the first entry that is held beyond the unbroken run of a log; None without one."""
    (seq,) = db.execute(
        "SELECT min(seq) FROM evidence WHERE author = ? AND seq > ?", (agent, known.whole.seq)
    ).fetchone()
    return None if seq is None else int(seq)


def take_interest(
    db: sqlite3.Connection, agents: Iterable[AgentId], circle: Circle, now_ms: int
) -> None:
    """Want the logs of some agents, soon, and take them to be at least that near to us."""
    db.executemany(
        """INSERT INTO author (agent, circle, interest_ms, wanted_ms) VALUES (:agent, :circle,
           :now, :now) ON CONFLICT (agent) DO UPDATE SET circle = min(circle, :circle),
           interest_ms = max(interest_ms, :now),
           wanted_ms = min(coalesce(wanted_ms, :now), max(:now, asked_ms + :again))
           WHERE circle > 0""",
        [
            {"agent": agent, "circle": circle, "now": now_ms, "again": ASK_AGAIN_MS}
            for agent in agents
        ],
    )


def wanted(db: sqlite3.Connection, now_ms: int, limit: int) -> list[tuple[AgentId, Circle]]:
    """Return whose logs to ask for now, the nearest first."""
    rows = db.execute(
        """SELECT agent, circle FROM author WHERE wanted_ms <= ?
           AND agent NOT IN (SELECT agent FROM conviction)
           ORDER BY circle, wanted_ms LIMIT ?""",
        (now_ms, limit),
    )
    return [(AgentId(agent), Circle(circle)) for agent, circle in rows]


def read_nearest(db: sqlite3.Connection) -> list[AgentId]:
    """Return those of whom we want to hear at once, the nearest first."""
    rows = db.execute(
        "SELECT agent FROM author WHERE circle > 0 ORDER BY circle, interest_ms DESC LIMIT ?",
        (limits.AUTHORS_HEARD_MAX,),
    )
    return [AgentId(agent) for (agent,) in rows]


def was_asked(db: sqlite3.Connection, agent: AgentId, now_ms: int, *, is_done: bool) -> None:
    """Note that the relays were asked: the longer ago we had to do with it, the longer the rest."""
    db.execute(
        """UPDATE author SET asked_ms = :now, wanted_ms = :now + CASE WHEN :is_done
           THEN min(max((:now - interest_ms) / 2, :rest_min), :rest_max) ELSE 0 END
           WHERE agent = :agent AND circle > 0""",
        {
            "now": now_ms, "agent": agent, "is_done": is_done, "rest_min": REST_MS_MIN,
            "rest_max": REST_MS_MAX,
        },
    )  # fmt: skip


def _head(seq: int, id_: bytes) -> Head:
    return Head(seq, RecordId(id_) if seq else NO_RECORD)
