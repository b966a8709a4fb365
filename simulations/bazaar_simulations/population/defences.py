"""Ways to tell whom to trust: ours, and what it is compared with.

All of them are given the same: probes of strangers, the right to decline whoever scores too low,
and the same three agents to start from. Those without receipts take ratings from anybody.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Protocol, TypeAlias

import numpy as np

from bazaar_reputation.scores import POSTER_KNOWN_LEAST
from bazaar_reputation.walk import RESTART
from bazaar_simulations import names, own_code
from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.eigentrust import global_trust
from bazaar_simulations.population.evidence import Evidence, Votes
from bazaar_simulations.population.meetings import Meetings
from bazaar_simulations.population.setting import NOTHING_OFF, Setting
from bazaar_simulations.population.standing import Formulas, Heard
from bazaar_simulations.population.town import SEEDS, Town

SCORE_LEAST: Final = 0.4
"""Who scores less gets nothing (``policy.MIN_SCORE``); of a share of trust, this times the mean."""
POSTER_SCORE_LEAST: Final = 0.3
"""For a known poster that scores less nobody works (``policy.MIN_POSTER_SCORE``)."""

_HEARD_LEAST: Final = 0.5
_NAMED: Final = 0.9
_EVEN: Final = 0.5


@dataclass(frozen=True, slots=True)
class View:
    """What every ego thinks of every identity."""

    scores: Floats
    """By ego and identity; the higher, the better."""
    least: float
    """Whoever scores less is declined."""
    is_known: Bools
    is_vouched: Bools
    is_fair: Bools
    """By worker, who has to be an ego, and poster: of whom it knows that it accepts work."""
    declines: Bools
    """By worker, who has to be an ego, and poster: for whom it does not work."""


class Defence(Protocol):
    """Keeps what was said, and makes scores of it."""

    probes: bool
    declines: bool
    invites: bool
    is_share: bool
    """Whether a score says how often work will be good, so that it can be weighed with a price."""
    needs_credit: bool
    """Whether its workers do only so much for posters of whom nothing good is known."""

    def rate(self, outcomes: "Outcomes") -> None:
        """Take note of what came of work: what its posters say."""
        ...

    def hear(self, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        """Take note of ratings for which there is no receipt."""
        ...

    def view(self, egos: Ints) -> View:
        """Return what ``egos`` think now."""
        ...

    def pass_round(self) -> None:
        """Let what was said fade."""
        ...

    def forget(self, agents: Ints) -> None:
        """Take note that these have new names."""
        ...


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Contracts that are over, each by its index."""

    posters: Ints
    workers: Ints
    jobs: Floats
    """What it says of the worker, in jobs: above 0 is good."""
    poster_jobs: Floats
    """What it says of the poster; 0 for nothing."""
    entries: int = 2
    """How many entries each side writes into its log."""


class Nothing:
    """Whoever bids may get it."""

    probes = declines = invites = is_share = needs_credit = False

    def __init__(self, town: Town) -> None:
        self._size = town.size

    def rate(self, outcomes: Outcomes) -> None:
        pass

    def hear(self, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        pass

    def view(self, egos: Ints) -> View:
        nobody = np.zeros((len(egos), self._size), bool)
        return View(np.zeros(nobody.shape), -1.0, ~nobody, nobody, ~nobody, nobody)

    def pass_round(self) -> None:
        pass

    def forget(self, agents: Ints) -> None:
        pass


Marker: TypeAlias = Callable[[Votes, Ints], tuple[Floats, float, Bools]]
"""From votes to the scores of each ego, the least that is enough, and who is known."""


class Voted:
    """A system that makes scores of votes.

    Args:
        town: Who there is.
        marks: How.
        fades: Whether votes fade.
        is_share: Whether a score is an expected share of good work.

    """

    probes = declines = invites = True
    needs_credit = False

    def __init__(
        self, town: Town, marks: Marker, *, fades: bool = False, is_share: bool = False
    ) -> None:
        self.is_share = is_share
        self._votes = Votes(town.size, 0.98, 0.99) if fades else Votes(town.size)
        self._posters = Votes(town.size)
        self._marks = marks

    def rate(self, outcomes: Outcomes) -> None:
        self._votes.say(outcomes.posters, outcomes.workers, outcomes.jobs)
        self._posters.say(outcomes.workers, outcomes.posters, outcomes.poster_jobs)

    def hear(self, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        self._votes.say(raters, subjects, jobs)

    def view(self, egos: Ints) -> View:
        scores, least, is_known = self._marks(self._votes, egos)
        good, bad = self._posters.good[egos], self._posters.bad[egos]
        # By its own experience, as nothing in these systems says what to think of a poster.
        is_shunned = (good + 1) / (good + bad + 2) < POSTER_SCORE_LEAST
        nobody = np.zeros(scores.shape, bool)
        return View(scores, least, is_known, nobody, good > 0, is_shunned)

    def pass_round(self) -> None:
        self._votes.pass_round()

    def forget(self, agents: Ints) -> None:
        self._votes.forget(agents)
        self._posters.forget(agents)


class Policy(Voted):
    """A policy of one's own: what to think of everybody, given what everybody has said.

    Args:
        town: Who there is.

    """

    least: ClassVar[float] = SCORE_LEAST
    """Whoever scores less gets nothing."""

    def __init__(self, town: Town) -> None:
        super().__init__(town, self._mark)

    def scores(self, votes: Votes, egos: Ints) -> Floats:
        """Return what each of ``egos`` thinks of every identity: one row for each of them.

        Args:
            votes: How often who was content with whom, and how often not.
            egos: The numbers of those who ask.

        """
        raise NotImplementedError

    def _mark(self, votes: Votes, egos: Ints) -> tuple[Floats, float, Bools]:
        heard = (votes.good + votes.bad).sum(axis=0) >= _HEARD_LEAST
        return self.scores(votes, egos), self.least, _for_all(heard, len(egos))


class Ours:
    """What the product does.

    Args:
        town: Who there is.
        off: Parts of it that are switched off.
        tried: Changes to it that are tried.

    """

    is_share = True

    def __init__(
        self, town: Town, off: frozenset[str] = NOTHING_OFF, tried: frozenset[str] = NOTHING_OFF
    ) -> None:
        self.probes = "probes" not in off
        self.declines = "declining" not in off
        self.invites = "invitations" not in off
        self.needs_credit = "credit" not in off
        self._off = off
        self._tried = tried
        self._town = town
        self._formulas = Formulas(off)
        self._evidence = Evidence(town.size)
        self._workers_met = Meetings(town.honest, town.size)
        self._posters_met = Meetings(town.honest, town.size)
        self._has_bad_posters = False

    def rate(self, outcomes: Outcomes) -> None:
        evidence = self._evidence
        evidence.say("worker", outcomes.posters, outcomes.workers, outcomes.jobs)
        evidence.say("poster", outcomes.workers, outcomes.posters, outcomes.poster_jobs)
        self._has_bad_posters |= bool((outcomes.poster_jobs < 0).any())
        evidence.write(outcomes.posters, outcomes.entries)
        if "rounds of posting" not in self._tried:
            evidence.write(outcomes.workers, outcomes.entries)
        honest = self._town.honest
        is_heard = (outcomes.posters < honest) & (outcomes.jobs != 0)
        self._meet(self._workers_met, outcomes.posters[is_heard], outcomes.workers[is_heard],
                   outcomes.jobs[is_heard])  # fmt: skip
        is_heard = (outcomes.workers < honest) & (outcomes.poster_jobs != 0)
        self._meet(self._posters_met, outcomes.workers[is_heard], outcomes.posters[is_heard],
                   outcomes.poster_jobs[is_heard])  # fmt: skip

    def hear(self, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        if "receipts" in self._off:
            self._evidence.say("worker", raters, subjects, jobs)

    def view(self, egos: Ints) -> View:
        formulas, evidence, vouches = self._formulas, self._evidence, self._town.vouches
        weights = formulas.weights(evidence, egos, np.arange(SEEDS))
        is_vouched = formulas.is_vouched(weights, vouches)
        heard = formulas.heard(evidence, (weights, egos), vouches, "worker")
        expected = self._prior(self._workers_met, egos, is_vouched)
        if "named" in self._tried:
            expected[:, :SEEDS] = _NAMED
        if "kinder priors" in self._tried:
            expected += np.maximum(_EVEN - expected, 0.0) * np.minimum(heard.good, 1.0)
        scores = formulas.lower(heard, expected)
        declines, is_fair = np.zeros(scores.shape, bool), np.ones(scores.shape, bool)
        if self._has_bad_posters:
            of_posters = formulas.heard(evidence, (weights, egos), vouches, "poster")
            is_fair = of_posters.good >= POSTER_KNOWN_LEAST
            prior = self._prior(self._posters_met, egos, is_vouched)
            declines = self._shuns(of_posters, prior)
        return View(scores, SCORE_LEAST, heard.is_known, is_vouched, is_fair, declines)

    def pass_round(self) -> None:
        self._evidence.pass_round()

    def forget(self, agents: Ints) -> None:
        self._evidence.forget(agents)
        self._town.vouches[:, agents] = 0.0
        self._workers_met.forget(agents)
        self._posters_met.forget(agents)

    def _shuns(self, heard: Heard, prior: Floats) -> Bools:
        lower = self._formulas.lower(heard, prior)
        return np.asarray(heard.is_known & (heard.bad > 0.0) & (lower < POSTER_SCORE_LEAST))

    def _prior(self, met: Meetings, egos: Ints, is_vouched: Bools) -> Floats:
        if "priors" in self._off:
            return np.full(is_vouched.shape, 0.5)
        everybody = np.zeros((self._town.honest, self._town.size), bool)
        everybody[egos] = is_vouched
        rates = met.rates(everybody)[egos]
        return np.where(is_vouched, rates[:, 1:], rates[:, :1])

    def _meet(self, met: Meetings, egos: Ints, subjects: Ints, jobs: Floats) -> None:
        # One ego may have met several at once, and they count one after the other.
        while len(egos):
            _, first = np.unique(egos, return_index=True)
            met.note(egos[first], subjects[first], jobs[first])
            rest = np.ones(len(egos), bool)
            rest[first] = False
            egos, subjects, jobs = egos[rest], subjects[rest], jobs[rest]


DEFENCES: Final = ("none", "average", "beta", "EigenTrust", "walk", "ours")


def defence(setting: Setting, town: Town) -> Defence:
    """Return the defence that a setting names; ``FILE.py:Class`` is a class of one's own.

    Raises:
        ConfigError: There is none of that name.

    """
    match setting.defence:
        case "none":
            return Nothing(town)
        case "average":
            return Voted(town, _average, is_share=True)
        case "beta":
            return Voted(town, _beta, fades=True, is_share=True)
        case "EigenTrust":
            return Voted(town, _eigentrust)
        case "walk":
            return Voted(town, _walk)
        case "ours":
            return Ours(town, setting.off, setting.tried)
        case name if own_code.is_own(name):
            return own_code.load(name, Policy)(town)
        case name:
            known = names.find(name, DEFENCES, "a defence")
            return defence(replace(setting, defence=known), town)


def _average(votes: Votes, egos: Ints) -> tuple[Floats, float, Bools]:
    good, bad = votes.good.sum(axis=0), votes.bad.sum(axis=0)
    whole = good + bad
    scores = np.where(whole > 0, good / np.maximum(whole, 1.0), 0.5)
    return _for_all(scores, len(egos)), SCORE_LEAST, _for_all(whole >= _HEARD_LEAST, len(egos))


def _beta(votes: Votes, egos: Ints) -> tuple[Floats, float, Bools]:
    good, bad = votes.good.sum(axis=0), votes.bad.sum(axis=0)
    scores = (good + 1.0) / (good + bad + 2.0)
    is_known = _for_all(good + bad >= _HEARD_LEAST, len(egos))
    return _for_all(scores, len(egos)), SCORE_LEAST, is_known


def _eigentrust(votes: Votes, egos: Ints) -> tuple[Floats, float, Bools]:
    trust = global_trust(votes.good, votes.bad, np.arange(SEEDS))
    is_known = _for_all(trust > 0, len(egos))
    return _for_all(trust, len(egos)), SCORE_LEAST / len(trust), is_known


def _walk(votes: Votes, egos: Ints) -> tuple[Floats, float, Bools]:
    """Let a walk start at each ego; who did more bad than good for ego itself comes last."""
    net = votes.good - votes.bad
    edges = np.maximum(net, 0.0)
    edges[np.ix_(egos, np.arange(SEEDS))] += 0.2
    np.fill_diagonal(edges, 0.0)
    whole = edges.sum(axis=1, keepdims=True)
    steps = edges / np.where(whole > 0, whole, 1.0)
    passed_on = np.eye(len(steps)) - (1.0 - RESTART) * steps
    start = np.zeros((len(steps), len(egos)))
    start[egos, np.arange(len(egos))] = RESTART
    ends = np.linalg.solve(passed_on.T, start).T
    own = net[egos]
    return np.where(own < 0, own, ends), SCORE_LEAST / len(steps), (ends > 0) | (own < 0)


def _for_all(row: np.ndarray, egos: int) -> np.ndarray:
    return np.tile(row, (egos, 1))
