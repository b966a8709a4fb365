"""Whom a node deals with: rules that its owner puts together, in TOML or in Python.

A policy has one method. Those here cover what ``[policy]`` in ``bazaar.toml`` can say; anything
with an ``objection`` method can be put beside them:

    class Cautious:
        def objection(self, candidate: Candidate) -> Objection | None:
            if candidate.amount > 1_000 and not candidate.standing.is_known:
                return Objection("a large task is for an agent we know")
            return None

    workers = All(NotConvicted(), MinScore(4_000), Cautious())
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from bazaar_node.market.opinions import Standing
from bazaar_protocol.identity import AgentId

MIN_SCORE: Final = 4_000
MIN_POSTER_SCORE: Final = 3_000
MAX_UNJUDGED: Final = 32
MAX_ON_CREDIT: Final = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who may get a task of ours, or whose task we may do."""

    agent: AgentId
    standing: Standing
    amount: int = 0
    """The ceiling of the task at stake."""
    held: int = 0
    """Of a worker: the ceilings of our tasks that it holds. Of a poster: how many results of ours
    it has not judged yet."""
    is_seasoned: bool = True
    """Whether we have enough receipts of our own for scores to mean something."""
    is_fair: bool = True
    """Of a poster: whether it has accepted work, of ours or of those who weigh with us."""
    on_credit: int = 0
    """How many results of ours posters hold that were never fair, all of them together."""
    earned: int = 0
    """How many of those the results allow that others have accepted."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Why not."""

    why: str
    kind: Literal["rule", "distrust", "score", "later"] = "rule"
    """``distrust`` is what the candidate did, ``score`` what we do not know of it yet: a worker
    that fails by its score alone may still get a small task. ``later`` may change soon. All else is
    a ``rule``."""


class Policy(Protocol):
    """One rule."""

    def objection(self, candidate: Candidate) -> Objection | None:
        """Return what speaks against the candidate; None when nothing does."""
        ...


class All:
    """Everything has to be right. An objection that may pass comes last."""

    def __init__(self, *policies: Policy) -> None:
        self._policies = policies

    def objection(self, candidate: Candidate) -> Objection | None:
        """Return the gravest objection."""
        found = _objections(self._policies, candidate)
        return min(found, key=lambda one: one.kind in {"score", "later"}, default=None)


class Any:
    """One of the rules has to be right; with none to choose from, nothing is."""

    def __init__(self, *policies: Policy) -> None:
        self._policies = policies

    def objection(self, candidate: Candidate) -> Objection | None:
        """Return the last objection if there is one to each rule."""
        found = _objections(self._policies, candidate)
        if len(found) < len(self._policies):
            return None
        return found[-1] if found else Objection("no rule allows it")


class NotConvicted:
    """Not one that signed two contradicting records."""

    def objection(self, candidate: Candidate) -> Objection | None:
        """Object to a convict."""
        if candidate.standing.is_convicted:
            return Objection("it is convicted of contradicting itself", "distrust")
        return None


@dataclass(frozen=True, slots=True)
class Allow:
    """Only these."""

    agents: Collection[AgentId]

    def objection(self, candidate: Candidate) -> Objection | None:
        """Object to everybody else."""
        is_one = candidate.agent in self.agents
        return None if is_one else Objection("it is not among those allowed")


@dataclass(frozen=True, slots=True)
class Deny:
    """Not these."""

    agents: Collection[AgentId]

    def objection(self, candidate: Candidate) -> Objection | None:
        """Object to those named."""
        is_one = candidate.agent in self.agents
        return Objection("it is denied by the owner", "distrust") if is_one else None


@dataclass(frozen=True, slots=True)
class MinScore:
    """A worker's score is high enough; it has to be once we have receipts to judge by."""

    points: int = MIN_SCORE

    def objection(self, candidate: Candidate) -> Objection | None:
        """Object to a score that is too low."""
        points = candidate.standing.points
        if not candidate.is_seasoned or points >= self.points:
            return None
        return Objection(f"its score of {_share(points)} is below {_share(self.points)}", "score")


@dataclass(frozen=True, slots=True)
class MinPosterScore:
    """A poster's score is high enough, if anything at all speaks against it.

    Everybody begins as unknown; and of whom only good is known, a low score says how others did.
    """

    points: int = MIN_POSTER_SCORE

    def objection(self, candidate: Candidate) -> Objection | None:
        """Object to one that is known for worse."""
        standing = candidate.standing
        is_blamed = standing.is_known and standing.bad > 0.0
        if not is_blamed or standing.points >= self.points:
            return None
        why = f"its score as a poster, {_share(standing.points)}, is below {_share(self.points)}"
        return Objection(why, "distrust")


@dataclass(frozen=True, slots=True)
class MaxExposure:
    """What one worker holds of our tasks at a time has an end."""

    amount: int

    def objection(self, candidate: Candidate) -> Objection | None:
        """Object to one that would hold too much."""
        if candidate.held + candidate.amount <= self.amount:
            return None
        return Objection(f"it holds tasks worth {candidate.held} already, of {self.amount}")


@dataclass(frozen=True, slots=True)
class MaxUnjudged:
    """What one poster owes us in verdicts has an end."""

    count: int = MAX_UNJUDGED

    def objection(self, candidate: Candidate) -> Objection | None:
        """Object to one that owes too many."""
        if candidate.held < self.count:
            return None
        return Objection(f"it has not judged {candidate.held} results of ours", "distrust")


@dataclass(frozen=True, slots=True)
class MaxOnCredit:
    """What all posters together hold of ours that never accepted anything has an end.

    It grows with what others accept, so new posters find workers where most are fair.
    """

    count: int = MAX_ON_CREDIT

    def objection(self, candidate: Candidate) -> Objection | None:
        """Object to one that was never fair, while others like it hold too much."""
        most = self.count + candidate.earned
        if candidate.is_fair or candidate.on_credit < most:
            return None
        why = f"posters of whom we know nothing good hold {candidate.on_credit} results of ours"
        return Objection(f"{why}, of {most}", "later")


@dataclass(frozen=True, slots=True)
class Policies:
    """Whom we give tasks to, and whose we do."""

    workers: Policy = field(default_factory=lambda: All(NotConvicted(), MinScore()))
    posters: Policy = field(
        default_factory=lambda: All(NotConvicted(), MinPosterScore(), MaxUnjudged(), MaxOnCredit())
    )


def _objections(policies: Sequence[Policy], candidate: Candidate) -> list[Objection]:
    found = (policy.objection(candidate) for policy in policies)
    return [objection for objection in found if objection is not None]


def _share(points: int) -> str:
    return f"{points / 10_000:.2f}"
