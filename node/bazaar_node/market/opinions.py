"""What a node holds of others, as far as the market asks for it.

The market asks; whoever keeps evidence answers. Without an answer everybody is a stranger of whom
nothing is known, which is how a new node begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bazaar_protocol.award import SCALE
from bazaar_protocol.identity import AgentId
from bazaar_reputation.findings import Role
from bazaar_reputation.priors import Admission
from bazaar_reputation.scores import Scorer

NEUTRAL_POINTS: Final = 5_000
"""The standing of everybody while nobody keeps evidence, in basis points."""


@dataclass(frozen=True, slots=True)
class About:
    """Whom a question is about, and in what."""

    agent: AgentId
    role: Role = "worker"
    capability: str = ""
    version: int = 0
    """0 when any version is meant, or none is known."""
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True)
class Standing:
    """What we hold of an agent."""

    points: int = NEUTRAL_POINTS
    """The lower bound of our confidence that it does right, in basis points."""
    is_known: bool = False
    """Whether there is evidence about it, and not only an expectation of its like."""
    is_convicted: bool = False
    """It contradicted itself, and that is proved for ever."""
    admission: Admission = "bare"
    """What speaks for it without evidence: nothing, a proof of work, or somebody we trust."""
    good: float = 0.0
    """The weighted evidence for it, in jobs."""
    bad: float = 0.0
    """And against it."""


class Opinions(Protocol):
    """What we hold of everybody."""

    def standing(self, about: About) -> Standing:
        """Return what we hold of one agent."""
        ...

    def best(self, count: int, capability: str) -> Sequence[AgentId]:
        """Return the agents of whom we hold most for a capability, the best first."""
        ...

    def vouched(self, count: int) -> Sequence[AgentId]:
        """Return agents of whom nothing is known but that somebody we trust answers for them."""
        ...


class NoOpinions:
    """Of a node that keeps no evidence."""

    def standing(self, about: About) -> Standing:
        """Return what we hold of a stranger."""
        del about
        return Standing()

    def best(self, count: int, capability: str) -> Sequence[AgentId]:
        """Return nobody."""
        del count, capability
        return ()

    def vouched(self, count: int) -> Sequence[AgentId]:
        """Return nobody."""
        del count
        return ()


class ScoredOpinions:
    """Of a node that keeps evidence: what its scores say."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def standing(self, about: About) -> Standing:
        """Return what the evidence says of one agent."""
        score = self._scorer.score(
            about.agent,
            about.role,
            about.capability or None,
            version=about.version,
            fingerprint=about.fingerprint,
        )
        points = 0 if score.is_convicted else int(score.lower * SCALE)
        return Standing(
            points, score.is_known, score.is_convicted, score.admission, score.good, score.bad
        )

    def best(self, count: int, capability: str) -> Sequence[AgentId]:
        """Return the agents with the highest scores for a capability."""
        return [agent for agent, _ in self._scorer.top(count, capability)]

    def vouched(self, count: int) -> Sequence[AgentId]:
        """Return strangers for whom somebody answers that weighs with us."""
        return self._scorer.vouched(count)
