"""How far ego may rely on a subject: personal, for one capability, with what is not known in it.

The score of a subject is an expected share of good work and its lower confidence bound. It is made
of ego's own experience and of what others say, each weighing what ego's walk makes of it
(``credibility``, ``walk``); of a stranger it is what ego met with other strangers (``priors``).

Two nodes with the same evidence and the same ego compute the same digits.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from bazaar_protocol.identity import AgentId
from bazaar_reputation.book import Book
from bazaar_reputation.credibility import Trust
from bazaar_reputation.findings import Role, StrandKey
from bazaar_reputation.priors import ADMISSIONS, Admission, first_meetings, rates
from bazaar_reputation.testimony import Jury, Question
from bazaar_reputation.vouches import WEIGHT_LEAST
from bazaar_reputation.walk import EPSILON, push

FULL_WEIGHT: Final = 20.0
"""A rater at whom ego's walk ends once in so many times, or more often, weighs 1."""

KNOWN_LEAST: Final = 0.5
"""Of a worker, less evidence than that is none: it is unknown."""
POSTER_KNOWN_LEAST: Final = 0.25
"""And of a poster: a single missing verdict is half a job, and has to be remembered for a while."""

_PRIOR_JOBS: Final = 2.0
_BAD_COUNTS: Final = 2.0
_CANDIDATES_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class Score:
    """What ego may expect of a subject."""

    mean: float
    """Expected share of good work."""
    lower: float
    """Lower confidence bound of it: what to rely on."""
    good: float
    """Weighted evidence, in jobs."""
    bad: float
    prior: float
    """What ego expects of unknown agents of the same admission class."""
    admission: Admission
    is_known: bool
    is_convicted: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One strand behind a score, before its rater's saturation."""

    strand: StrandKey
    """Its subject is another agent when it is one that the subject vouches for."""
    weight: float
    good: float
    bad: float


class Scorer:
    """The scores of one ego.

    Args:
        book: All evidence.
        ego: Whose scores.
        seeds: Whom ego's user has named: the walk goes to them before there is any experience.
        epsilon: How exact ego's walk is computed (``walk.push``).

    """

    def __init__(
        self,
        book: Book,
        ego: AgentId,
        seeds: Iterable[AgentId] = (),
        *,
        epsilon: float = EPSILON,
    ) -> None:
        self._book = book
        self._epsilon = epsilon
        self._ego = book.enter(ego)
        self._trust = Trust(book, self._ego, tuple(map(book.enter, seeds)))
        self._weights: dict[int, float] = {}
        self._vouched: frozenset[int] = frozenset()
        self._jury = Jury(book, self._ego, self._weights)
        self._priors: dict[tuple[Role, Admission], float] = {}
        self._scores: dict[tuple[int | None, Question], Score] = {}
        self._revision = -1
        self._standing_revision = -1

    def weight(self, rater: AgentId) -> float:
        """Return how much the word of ``rater`` counts, between 0 and 1."""
        self._catch_up()
        return self._weights.get(self._book.enter(rater), 0.0)

    def score(
        self,
        subject: AgentId,
        role: Role = "worker",
        capability: str | None = None,
        *,
        version: int = 0,
        fingerprint: bytes = b"",
    ) -> Score:
        """Return what ego may expect of ``subject``.

        Args:
            subject: About whom.
            role: In which role.
            capability: For which capability; None for all of them together.
            version: Evidence about another version counts half, unless 0.
            fingerprint: So does evidence about another fingerprint, unless empty.

        """
        self._catch_up()
        key = self._book.number(subject), Question(role, capability, version, fingerprint)
        score = self._scores.get(key)
        if score is None:
            score = self._scores[key] = self._score(*key)
        return score

    def evidence(self, subject: AgentId, question: Question) -> tuple[float, float]:
        """Return the weighted good and bad evidence about ``subject``, in jobs."""
        self._catch_up()
        number = self._book.number(subject)
        return (0.0, 0.0) if number is None else self._jury.evidence(number, question)

    def parts(
        self,
        subject: AgentId,
        role: Role = "worker",
        capability: str | None = None,
        *,
        version: int = 0,
        fingerprint: bytes = b"",
    ) -> tuple[Part, ...]:
        """Return what the score of ``subject`` is made of, what carries most of it first."""
        self._catch_up()
        number = self._book.number(subject)
        if number is None:
            return ()
        question = Question(role, capability, version, fingerprint)
        parts = [*self._heard(number, question), *self._proven(number, question)]
        return tuple(sorted(parts, key=_by_import))

    def top(self, count: int, capability: str | None = None) -> tuple[tuple[AgentId, Score], ...]:
        """Return the best workers that ego knows of, the best first.

        They are looked for among those whose work ego and its most trusted raters liked.
        """
        self._catch_up()
        ids = self._book.ids
        scored = [(ids[number], self.score(ids[number], "worker", capability))
                  for number in self._candidates()]  # fmt: skip
        known = [(agent, score) for agent, score in scored
                 if score.is_known and not score.is_convicted]  # fmt: skip
        return tuple(sorted(known, key=lambda one: (-one[1].lower, one[0]))[:count])

    def vouched(self, count: int) -> tuple[AgentId, ...]:
        """Return strangers for whom somebody answers that weighs enough, in a fixed order."""
        self._catch_up()
        ids = self._book.ids
        found = (ids[number] for number in self._vouched if number != self._ego)
        strangers = (agent for agent in sorted(found) if self._is_stranger(agent))
        return tuple(islice(strangers, count))

    def _is_stranger(self, agent: AgentId) -> bool:
        score = self.score(agent)
        return not score.is_known and not score.is_convicted

    def _score(self, subject: int | None, question: Question) -> Score:
        admission = self._admission(subject)
        prior = self._priors.get((question.role, admission))
        if prior is None:
            self._priors.update(self._make_priors(question.role))
            prior = self._priors[question.role, admission]
        good = bad = 0.0
        is_convicted = False
        if subject is not None:
            good, bad = self._jury.evidence(subject, question)
            is_convicted = self._book.is_convicted(subject)
        whole = math.fsum((good, _BAD_COUNTS * bad, _PRIOR_JOBS))
        mean = 0.0 if is_convicted else math.fsum((good, _PRIOR_JOBS * prior)) / whole
        doubt = math.sqrt(max(mean * (1.0 - mean), 0.0) / (whole + 1.0))
        return Score(
            mean=mean,
            lower=max(mean - doubt, 0.0),
            good=good,
            bad=bad,
            prior=prior,
            admission=admission,
            is_known=good + bad >= _known_least(question.role),
            is_convicted=is_convicted,
        )

    def _catch_up(self) -> None:
        book = self._book
        if self._revision == book.revision:
            return
        is_first = self._revision < 0
        self._revision = book.revision
        self._scores.clear()
        has_changed = self._trust.catch_up() or is_first
        if has_changed:
            self._weigh()
        if has_changed or self._standing_revision != book.standing_revision:
            self._standing_revision = book.standing_revision
            strong = (log for log, weight in self._weights.items() if weight >= WEIGHT_LEAST)
            voices = {book.lineage.final(log) for log in strong}
            self._vouched = frozenset(
                vouched for voice in voices for vouched in book.outstanding(voice)
            )
            self._priors.clear()

    def _weigh(self) -> None:
        book, trust = self._book, self._trust
        ego = book.lineage.final(self._ego)
        own = trust.opinion(ego)
        self._weights = {}
        ends = push(ego, trust.row, trust.breadth, epsilon=self._epsilon)
        for agent, share in ends.shares.items():
            if agent != ego and own.credibility_of(trust.opinion(agent)):
                weight = min(1.0, FULL_WEIGHT * share)
                self._weights.update(dict.fromkeys(book.lineage.family(agent), weight))
        self._weights.update(dict.fromkeys(book.lineage.family(ego), 1.0))
        self._jury = Jury(book, ego, self._weights)

    def _admission(self, subject: int | None) -> Admission:
        if subject is None:
            return "bare"
        if subject in self._vouched:
            return "vouched"
        return "stamped" if self._book.is_stamped(subject) else "bare"

    def _make_priors(self, role: Role) -> dict[tuple[Role, Admission], float]:
        book = self._book
        meetings = book.meetings(book.lineage.final(self._ego), role)
        firsts = first_meetings(meetings, lambda agent: book.lineage.final(book.enter(agent)))
        shares = rates((self._admission(number), first) for number, first in firsts.items())
        return {(role, admission): shares[admission] for admission in ADMISSIONS}

    def _candidates(self) -> list[int]:
        ids = self._book.ids
        voices = {self._book.lineage.final(log): weight for log, weight in self._weights.items()}
        found: dict[int, None] = {}
        for voice in sorted(voices, key=lambda voice: (-voices[voice], ids[voice])):
            liked = self._trust.opinion(voice).likes
            found.update(dict.fromkeys(sorted(liked, key=ids.__getitem__)))
            if len(found) >= _CANDIDATES_MAX:
                break
        found.pop(self._book.lineage.final(self._ego), None)
        return list(found)

    def _heard(self, subject: int, question: Question) -> Iterator[Part]:
        book, jury = self._book, self._jury
        for word in (*jury.words(subject, question), *jury.shared_failures(subject, question)):
            rater = book.ids[word.rater]
            key = book.key(question.role, word.subject, rater, word.variant)
            yield Part(key, self._weights[word.rater], word.good, word.bad)

    def _proven(self, subject: int, question: Question) -> Iterator[Part]:
        book, jury = self._book, self._jury
        for word in (*jury.proven(subject, question), *jury.shared_proven(subject, question)):
            key = book.key(question.role, word.subject, None, word.variant)
            yield Part(key, 1.0, word.good, word.bad)


def _known_least(role: Role) -> float:
    return KNOWN_LEAST if role == "worker" else POSTER_KNOWN_LEAST


def _by_import(part: Part) -> tuple[object, ...]:
    key = part.strand
    weighty = part.weight * (part.good + part.bad)
    return (-weighty, key.subject, key.rater or b"", key.capability, key.version, key.fingerprint)
