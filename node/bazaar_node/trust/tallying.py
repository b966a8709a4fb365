"""From contracts to findings to tallies, each kept equal to what a rebuild would make of it."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from bazaar_node.trust import contract_rows
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_reputation import contracts, strands
from bazaar_reputation.findings import Finding, Role, StrandKey
from bazaar_reputation.strands import Tally

_ROLES: Final[dict[str, Role]] = {"worker": "worker", "poster": "poster"}


class Heads:
    """How far each author's log is known, within one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[AgentId, int] = {}

    def __call__(self, agent: AgentId) -> int:
        """Return the newest entry of ``agent`` that counts; 0 when none is known."""
        if agent not in self._known:
            row = self._db.execute(
                """SELECT min(head, coalesce((SELECT last_seq FROM log_end WHERE old = agent),
                   head)) FROM author WHERE agent = ?""",
                (agent,),
            ).fetchone()
            self._known[agent] = row[0] or 0
        return self._known[agent]


@dataclass(slots=True)
class Settled:
    """What has changed."""

    tallies: dict[StrandKey, Tally | None] = field(default_factory=dict)
    """None for those that are no more."""
    added: list[Finding] = field(default_factory=list)
    dropped: list[Finding] = field(default_factory=list)


def settle(db: sqlite3.Connection, touched: Iterable[RecordId]) -> Settled:
    """Ask contracts again what they say, and bring the tallies up to date."""
    heads, settled = Heads(db), Settled()
    grown: dict[int, list[Finding]] = {}
    keys: dict[int, StrandKey] = {}
    broken: set[int] = set()
    for contract in sorted(touched):
        found = _ask(db, contract, heads)
        known = _findings(db, contract)
        for strand, finding in known:
            if finding not in found:
                keys[strand] = finding.strand
                broken.add(strand)
                settled.dropped.append(finding)
                _drop(db, strand, finding)
        for finding in sorted(found - {finding for _, finding in known}, key=_place):
            strand = _number(db, finding.strand)
            keys[strand] = finding.strand
            grown.setdefault(strand, []).append(finding)
            settled.added.append(finding)
            _write(db, strand, finding)
    for strand in sorted(keys):
        tally = None if strand in broken else _grow(db, strand, grown[strand])
        if tally is None:
            tally = _refold(db, strand, keys[strand])
        _write_tally(db, strand, tally)
        settled.tallies[keys[strand]] = tally
    return settled


def overdue(db: sqlite3.Connection, author: AgentId, head: int) -> set[RecordId]:
    """Return the contracts that waited for a log to get as far as ``head``."""
    rows = db.execute(
        "SELECT DISTINCT contract FROM unsettled WHERE author = ? AND seq <= ?", (author, head)
    )
    return {RecordId(contract) for (contract,) in rows}


def read_tallies(
    db: sqlite3.Connection, *, subject: AgentId | None = None
) -> list[tuple[StrandKey, Tally]]:
    """Return all tallies, or those about one agent."""
    about = "" if subject is None else "WHERE subject = :subject"
    rows = db.execute(
        f"""SELECT role, subject, rater, capability, version, fingerprint,
            tally FROM strand JOIN tally ON strand = number {about}""",  # noqa: S608 - ours
        {"subject": subject},
    )
    return [(_key(row[:6]), _TALLY.decode(row[6])) for row in rows]


def read_findings(
    db: sqlite3.Connection, *, subject: AgentId | None = None, rater: AgentId | None = None
) -> list[Finding]:
    """Return all that was found about an agent, or by one, newest first within each strand."""
    rows = db.execute(
        """SELECT role, subject, rater, capability, version, fingerprint,
           contract, is_good, weight, round, record, why
           FROM strand JOIN finding ON strand = number
           WHERE (:subject IS NULL OR subject = :subject) AND (:rater IS NULL OR rater = :rater)
           ORDER BY number, round DESC, record DESC, contract DESC""",
        {"subject": subject, "rater": rater},
    )
    return [_finding(_key(row[:6]), row[6:]) for row in rows]


def _place(finding: Finding) -> tuple[int, bytes, bytes]:
    return finding.round, finding.record, finding.contract


def _ask(db: sqlite3.Connection, contract: RecordId, heads: Heads) -> set[Finding]:
    made = contract_rows.load(db, contract)
    places = () if made is None else contracts.unsettled(made)
    # Only what is still to come: what has passed would be asked about with every entry after it.
    coming = [(agent, seq) for agent, seq in places if heads(agent) < seq]
    _note_unsettled(db, contract, coming)
    return set() if made is None else set(contracts.findings(made, heads))


def _findings(db: sqlite3.Connection, contract: RecordId) -> list[tuple[int, Finding]]:
    rows = db.execute(
        """SELECT number, role, subject, rater, capability, version, fingerprint,
           contract, is_good, weight, round, record, why
           FROM finding JOIN strand ON number = strand WHERE contract = ?""",
        (contract,),
    )
    return [(row[0], _finding(_key(row[1:7]), row[7:])) for row in rows.fetchall()]


def _write(db: sqlite3.Connection, strand: int, finding: Finding) -> None:
    row = (
        finding.contract, strand, finding.round, finding.record, finding.is_good,
        finding.weight, finding.why,
    )  # fmt: skip
    db.execute("INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _drop(db: sqlite3.Connection, strand: int, finding: Finding) -> None:
    db.execute(
        "DELETE FROM finding WHERE contract = ? AND strand = ? AND record = ?",
        (finding.contract, strand, finding.record),
    )


def _note_unsettled(
    db: sqlite3.Connection, contract: RecordId, places: Iterable[tuple[AgentId, int]]
) -> None:
    db.execute("DELETE FROM unsettled WHERE contract = ?", (contract,))
    rows = [(author, seq, contract) for author, seq in places]
    db.executemany("INSERT OR IGNORE INTO unsettled VALUES (?, ?, ?)", rows)


def _number(db: sqlite3.Connection, key: StrandKey) -> int:
    """Return the number of a strand, giving it one if it is new."""
    columns = (
        key.subject, key.role, key.rater or b"", key.capability, key.version, key.fingerprint,
    )  # fmt: skip
    row = db.execute(
        """SELECT number FROM strand WHERE subject = ? AND role = ? AND rater = ?
           AND capability = ? AND version = ? AND fingerprint = ?""",
        columns,
    ).fetchone()
    if row is not None:
        return int(row[0])
    cursor = db.execute(
        """INSERT INTO strand (subject, role, rater, capability, version, fingerprint)
           VALUES (?, ?, ?, ?, ?, ?)""",
        columns,
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _grow(db: sqlite3.Connection, strand: int, found: list[Finding]) -> Tally | None:
    """Append what is new to a tally; None when it does not all come at the end."""
    row = db.execute("SELECT tally FROM tally WHERE strand = ?", (strand,)).fetchone()
    if row is None:
        return strands.fold(found)
    tally: Tally | None = _TALLY.decode(row[0])
    for finding in sorted(found, key=_place):
        if tally is None:
            return None
        tally = tally.add(finding)
    return tally


def _refold(db: sqlite3.Connection, strand: int, key: StrandKey) -> Tally | None:
    (newest,) = db.execute("SELECT max(round) FROM finding WHERE strand = ?", (strand,)).fetchone()
    if newest is None:
        return None
    rows = db.execute(
        """SELECT contract, is_good, weight, round, record, why FROM finding
           WHERE strand = ? AND round >= ?""",
        (strand, strands.counts_from(newest)),
    )
    return strands.fold(_finding(key, row) for row in rows)


def _write_tally(db: sqlite3.Connection, strand: int, tally: Tally | None) -> None:
    if tally is None:
        db.execute("DELETE FROM tally WHERE strand = ?", (strand,))
        db.execute("DELETE FROM strand WHERE number = ?", (strand,))
        return
    row = (strand, msgspec.msgpack.encode(tally))
    db.execute("INSERT OR REPLACE INTO tally VALUES (?, ?)", row)


def _key(row: tuple[object, ...]) -> StrandKey:
    role, subject, rater, capability, version, fingerprint = row
    assert isinstance(subject, bytes)
    assert isinstance(rater, bytes)
    assert isinstance(version, int)
    assert isinstance(fingerprint, bytes)
    return StrandKey(
        role=_ROLES[str(role)],
        subject=AgentId(subject),
        rater=AgentId(rater) if rater else None,
        capability=str(capability),
        version=version,
        fingerprint=fingerprint,
    )


def _finding(key: StrandKey, row: tuple[object, ...]) -> Finding:
    contract, is_good, weight, round_, record, why = row
    assert isinstance(contract, bytes)
    assert isinstance(weight, int)
    assert isinstance(round_, int)
    assert isinstance(record, bytes)
    return Finding(
        contract=RecordId(contract),
        strand=key,
        is_good=bool(is_good),
        weight=weight,
        round=round_,
        record=RecordId(record),
        why=str(why),
    )


_TALLY: Final = msgspec.msgpack.Decoder(Tally)
