"""A town whose dealings are read by contract: who says what of whom, in rows."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec
from tests.reputation_records import PLAIN, Deal, Outcome, Party, deal

from bazaar_protocol import kinds
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record
from bazaar_reputation.contracts import Contract, findings
from bazaar_reputation.findings import Finding
from bazaar_reputation.gathering import gather

Row: TypeAlias = tuple[str, str | None, int, str]
"""Role of whom it is about, name of the rater, signed weight, why."""
Heads: TypeAlias = Callable[[AgentId], int]

ACCEPTED: list[Row] = [
    ("worker", "poster", 1000, "accepted"),
    ("poster", "worker", 1000, "accepted"),
]
DISPUTED: list[Row] = [
    ("worker", "poster", -300, "rejected, disputed"),
    ("poster", "worker", -300, "rejected, disputed"),
]


def early(_agent: AgentId) -> int:
    return 0


def late(_agent: AgentId) -> int:
    return 1_000


class Town:
    """Fresh logs for each test."""

    def __init__(self) -> None:
        names = ("poster", "worker", "judge", "sequencer", "relay", "other relay", "mallory")
        self.parties = {name: Party(name) for name in names}
        self.poster, self.worker, self.judge, self.sequencer = (
            self.parties[name] for name in names[:4]
        )
        self.relays = [self.parties["relay"], self.parties["other relay"]]
        self.mallory = self.parties["mallory"]

    def rows(self, records: Iterable[Record], heads: Heads = late) -> list[Row]:
        """Fold records and say what was found: role, rater, signed weight, why."""
        return [self.row(one) for one in found(records, heads)]

    def row(self, one: Finding) -> Row:
        names = {party.agent: name for name, party in self.parties.items()}
        rater = None if one.strand.rater is None else names[one.strand.rater]
        assert one.strand.subject in {self.poster.agent, self.worker.agent}
        assert names[one.strand.subject] == one.strand.role
        return one.strand.role, rater, one.weight * (1 if one.is_good else -1), one.why

    def deal(self, outcome: Outcome, terms: Deal = PLAIN, heads: Heads = late) -> list[Row]:
        return self.rows(deal(self.poster, self.worker, outcome, terms), heads)


def found(records: Iterable[Record], heads: Heads = late) -> list[Finding]:
    return [one for contract in gather(records).values() for one in findings(contract, heads)]


def contract_of(records: Iterable[Record]) -> Contract:
    (contract,) = gather(records).values()
    return contract


def as_if_by(victim: Party, record: Record, author: Party) -> Record:
    """The same, with a link that says the victim's log has what it hangs on."""
    body = record.body
    assert isinstance(body, kinds.Verdict | kinds.Breach)
    field = "deliver" if isinstance(body, kinds.Verdict) else "accept"
    link = msgspec.structs.replace(getattr(body, field), author=victim.agent)
    return author.say(msgspec.structs.replace(body, **{field: link}))
