"""What there is to tell about one agent: its history, what is wrong with it, and the findings."""

import sqlite3
from collections.abc import Iterable, Set
from dataclasses import dataclass

from bazaar_node.trust import flaw_rows, tallying
from bazaar_node.trust.histories import Circle, Flaw
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_reputation.findings import Finding, Role, StrandKey


@dataclass(frozen=True, slots=True)
class Conviction:
    """A proof that stands against an agent, for ever."""

    claim: str
    """``equivocation``, or ``omission`` of a relay."""
    place: int
    """The entry of its log that proves it."""
    record: RecordId
    """The proof."""


@dataclass(frozen=True, slots=True)
class History:
    """What is known of an agent's log."""

    agent: AgentId
    circle: Circle
    first: int
    """Where the unbroken run of entries begins that we hold; 0 without one."""
    whole: int
    """Where it ends."""
    head: int
    """The newest entry that we hold."""
    entries: int
    bytes: int
    sources: dict[AgentId, int]
    """The newest entry that each relay had when it was asked last."""
    flaws: tuple[Flaw, ...]
    conviction: Conviction | None
    heir: AgentId | None
    """Who carries on, after the log was ended by its recovery key."""
    last_seq: int | None
    """The last entry that counts, if the log was ended."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A finding, and where anybody can find the record that decided it."""

    finding: Finding
    kind: str
    author: AgentId
    seq: int


def read_history(agent: AgentId, db: sqlite3.Connection) -> History:
    """Read what is known of one agent."""
    row = db.execute(
        "SELECT circle, first, whole, head, entries, bytes FROM author WHERE agent = ?", (agent,)
    ).fetchone()
    circle, first, whole, head, entries, size = row or (Circle.OTHER, 0, 0, 0, 0, 0)
    served = db.execute("SELECT relay, seq FROM served WHERE author = ? ORDER BY relay", (agent,))
    proved = db.execute(
        "SELECT claim, place, record FROM conviction WHERE agent = ?", (agent,)
    ).fetchone()
    end = db.execute(
        "SELECT iif(has_agreed, new, NULL), last_seq FROM log_end WHERE old = ?", (agent,)
    ).fetchone()
    heir, last_seq = end or (None, None)
    return History(
        agent=agent,
        circle=Circle(circle),
        first=first,
        whole=whole,
        head=head,
        entries=entries,
        bytes=size,
        sources={AgentId(relay): seq for relay, seq in served},
        flaws=tuple(flaw_rows.read(db, agent)),
        conviction=None if proved is None else Conviction(*proved),
        heir=None if heir is None else AgentId(heir),
        last_seq=last_seq,
    )


def read_circle(agent: AgentId, db: sqlite3.Connection) -> Circle | None:
    """Return how near an agent is to us; None if we have never heard of it."""
    row = db.execute("SELECT circle FROM author WHERE agent = ?", (agent,)).fetchone()
    return None if row is None else Circle(row[0])


def read_shown(agent: AgentId, db: sqlite3.Connection) -> list[Shown]:
    """Read every finding about one agent."""
    return [_show(db, finding) for finding in tallying.read_findings(db, subject=agent)]


def read_strands(keys: Set[StrandKey], db: sqlite3.Connection) -> dict[StrandKey, list[Finding]]:
    """Read the findings of some strands, newest first."""
    found: dict[StrandKey, list[Finding]] = {}
    for subject, rater in {(key.subject, key.rater or AgentId(b"")) for key in keys}:
        for finding in tallying.read_findings(db, subject=subject, rater=rater):
            if finding.strand in keys:
                found.setdefault(finding.strand, []).append(finding)
    return found


def count_findings(agent: AgentId, role: Role, capability: str, db: sqlite3.Connection) -> int:
    """Count the findings about one agent in one role, for one capability if it is not empty."""
    (count,) = db.execute(
        """SELECT count(*) FROM strand JOIN finding ON strand = number
           WHERE subject = ? AND role = ? AND ? IN ('', capability)""",
        (agent, role, capability),
    ).fetchone()
    return int(count)


def show_findings(findings: Iterable[Finding], db: sqlite3.Connection) -> list[Shown]:
    """Find the records that decided some findings."""
    return [_show(db, finding) for finding in findings]


def _show(db: sqlite3.Connection, finding: Finding) -> Shown:
    kind, author, seq = db.execute(
        "SELECT kind, author, seq FROM evidence WHERE id = ?", (finding.record,)
    ).fetchone()
    return Shown(finding, kind, AgentId(author), seq)
