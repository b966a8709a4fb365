"""The receipts about one agent, derived again from their records, to be compared with the store.

Nothing that the store has derived is believed, and no signature either: every record is read and
checked as though a stranger had sent it.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bazaar_node.trust import exchange, tallying
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record
from bazaar_reputation import contracts, strands
from bazaar_reputation.findings import Finding, StrandKey
from bazaar_reputation.gathering import gather
from bazaar_reputation.strands import Tally


@dataclass(frozen=True, slots=True)
class Held:
    """What a store holds about an agent, at one moment."""

    raws: Sequence[bytes]
    heads: Mapping[AgentId, int]
    ends: Mapping[AgentId, int]
    """The last entries that count, of logs that were ended."""
    findings: frozenset[Finding]
    tallies: Mapping[StrandKey, Tally]


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What came of checking it all again."""

    records: int
    receipts: int
    contracts: int
    troubles: tuple[str, ...]
    """Where the records say something else than the store; nothing if all is well."""


def read_held(agent: AgentId, db: sqlite3.Connection) -> Held:
    """Read what there is about an agent."""
    db.execute("BEGIN")  # one state of everything, though others write
    raws = [raw for (raw,) in db.execute(_CONTRACTS_OF, {"agent": agent})]
    ends = db.execute("SELECT old, last_seq FROM log_end")
    heads = db.execute("SELECT agent, head FROM author WHERE head > 0")
    return Held(
        raws=raws,
        heads={AgentId(author): head for author, head in heads},
        ends={AgentId(old): seq for old, seq in ends},
        findings=frozenset(tallying.read_findings(db, subject=agent)),
        tallies=dict(tallying.read_tallies(db, subject=agent)),
    )


_CONTRACTS_OF: Final = """
    WITH theirs AS (
        SELECT contract FROM evidence
        WHERE author = :agent AND seq > 0 AND contract IS NOT NULL
        UNION SELECT contract FROM finding JOIN strand ON number = strand WHERE subject = :agent
    )
    SELECT raw FROM evidence WHERE contract IN theirs OR id IN (
        SELECT award.about FROM theirs JOIN evidence AS award ON award.id = theirs.contract
    ) ORDER BY seq = 0, author, seq, id
"""


def recheck(agent: AgentId, held: Held) -> Rechecked:
    """Check what is held about an agent again; it takes long, so do it in a thread."""
    records, refusals = exchange.check(held.raws)
    troubles = [f"a record does not hold: {reason}" for _, reason in refusals]
    counting = [record for record in records if _counts(record, held.ends)]
    found = _derive(agent, counting, held)
    troubles += _differences(found, held)
    return Rechecked(
        records=len(held.raws),
        receipts=len(found),
        contracts=len({finding.contract for finding in found}),
        troubles=tuple(troubles),
    )


def _counts(record: Record, ends: Mapping[AgentId, int]) -> bool:
    return record.seq <= ends.get(record.author, record.seq)


def _derive(agent: AgentId, records: Sequence[Record], held: Held) -> frozenset[Finding]:
    def head(author: AgentId) -> int:
        known = held.heads.get(author, 0)
        return min(known, held.ends.get(author, known))

    return frozenset(
        finding
        for contract in gather(records).values()
        for finding in contracts.findings(contract, head)
        if finding.strand.subject == agent
    )


def _differences(found: frozenset[Finding], held: Held) -> list[str]:
    troubles = [
        f"{_named(finding)} is not what its records say" for finding in held.findings - found
    ]
    troubles += [f"{_named(finding)} is missing in the store" for finding in found - held.findings]
    by_strand: dict[StrandKey, list[Finding]] = {}
    for finding in found:
        by_strand.setdefault(finding.strand, []).append(finding)
    tallies = {key: strands.fold(one) for key, one in by_strand.items()}
    if tallies != held.tallies:
        troubles.append("the sums in the store are not those of the receipts")
    return sorted(troubles)


def _named(finding: Finding) -> str:
    return f'contract {finding.contract.hex()[:12]}, "{finding.why}",'
