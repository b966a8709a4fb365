"""Opinions as a test tells them, and experience to go with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bazaar_node.market.experience import Experience, Outcome
from bazaar_node.market.opinions import About, Standing
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId

NOBODY = AgentId(bytes(32))


@dataclass
class ToldOpinions:
    """What a test says of agents by role; of all others nothing is known."""

    workers: dict[AgentId, Standing] = field(default_factory=dict)
    posters: dict[AgentId, Standing] = field(default_factory=dict)
    strangers: Standing = field(default_factory=Standing)
    asked: list[About] = field(default_factory=list)
    answered_for: list[AgentId] = field(default_factory=list)

    def standing(self, about: About) -> Standing:
        self.asked.append(about)
        told = self.workers if about.role == "worker" else self.posters
        return told.get(about.agent, self.strangers)

    def best(self, count: int, capability: str) -> Sequence[AgentId]:
        del capability
        return sorted(self.workers, key=lambda agent: -self.workers[agent].points)[:count]

    def vouched(self, count: int) -> Sequence[AgentId]:
        return self.answered_for[:count]


def known(points: int, *, good: float = 1.0, bad: float = 0.0) -> Standing:
    return Standing(points, is_known=True, good=good, bad=bad)


CONVICT = Standing(0, is_known=True, is_convicted=True)


def outcome(
    number: int = 0, *, worker: AgentId = NOBODY, ceiling: int = 100, is_good: bool = True,
    confidence: int | None = None, eta_ms: int | None = None, took_ms: int = 1_000,
    is_probe: bool = False,
) -> Outcome:  # fmt: skip
    return Outcome(
        RecordId(number.to_bytes(32)), 1, worker, "table.extract", 1, b"", ceiling, confidence,
        eta_ms, is_good, took_ms, is_probe,
    )  # fmt: skip


def seasoned(ceiling: int = 100, count: int = 10) -> Experience:
    """What came of enough tasks to know whom to turn down."""
    return Experience(outcome(number, ceiling=ceiling) for number in range(count))
