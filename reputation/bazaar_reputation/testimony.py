"""What those who weigh anything say about a subject: the one place where evidence is added up.

Good and bad of one rater saturate, so that nobody counts for more than four jobs times its weight,
however many it signs for; that includes its share of what the vouched did badly. Only ego's own
experience and what the subject's own signatures prove count in full.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from bazaar_reputation.book import OBJECTIVE, Book
from bazaar_reputation.findings import Role
from bazaar_reputation.ratings import evidence_in
from bazaar_reputation.vouches import FAILURES_SHARED

SATURATION: Final = 4.0
"""Evidence of one rater, in jobs, that it comes close to and never reaches."""

OTHER_VERSION: Final = 0.5
"""What evidence about another version or fingerprint counts for the one asked for."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a subject."""

    role: Role = "worker"
    capability: str | None = None
    """None for all of them together."""
    version: int = 0
    """0 for any."""
    fingerprint: bytes = b""
    """Empty for any."""
    is_exact: bool = False
    """Whether evidence about another version or fingerprint counts for nothing, not for half."""

    def share_of(self, variant: tuple[str, int, bytes]) -> float:
        """Return which part of the evidence about ``variant`` counts."""
        capability, version, fingerprint = variant
        if self.capability is None:
            return 1.0
        if capability != self.capability:
            return 0.0
        is_same_version = self.version in {0, version}
        if is_same_version and self.fingerprint in {b"", fingerprint}:
            return 1.0
        return 0.0 if self.is_exact else OTHER_VERSION


ANYTHING: Final = Question()


class Word(NamedTuple):
    """What one strand adds, before its rater's saturation and weight."""

    voice: int
    """Who speaks for the rater now."""
    rater: int
    subject: int
    variant: int
    good: float
    bad: float


class Jury:
    """Those who weigh anything, and how much.

    Args:
        book: All evidence.
        ego: Who asks; the experience of its own is not saturated.
        weights: By every identity of every agent that has one above 0.

    """

    def __init__(self, book: Book, ego: int, weights: Mapping[int, float]) -> None:
        self._book = book
        self._ego = ego
        self._weights = weights
        self._shares: dict[Question, dict[int, float]] = {}

    def evidence(self, subject: int, question: Question) -> tuple[float, float]:
        """Return the good and the bad evidence about ``subject``, weighted and saturated."""
        voices: dict[int, tuple[float, list[float], list[float]]] = {}
        for words in (self.words(subject, question), self.shared_failures(subject, question)):
            for word in words:
                voice = voices.get(word.voice)
                if voice is None:
                    voice = voices[word.voice] = (self._weights[word.rater], [], [])
                voice[1].append(word.good)
                voice[2].append(word.bad)
        own_good, own_bad = voices.pop(self._ego, (1.0, [], []))[1:]
        good = [*own_good]
        bad = [*own_bad, *(word.bad for word in self.proven(subject, question))]
        shared = math.fsum(word.bad for word in self.shared_proven(subject, question))
        bad.append(shared)
        for weight, goods, bads in voices.values():
            good.append(weight * saturated(math.fsum(goods)))
            bad.append(weight * saturated(math.fsum(bads)))
        return math.fsum(good), math.fsum(bad)

    def words(self, subject: int, question: Question) -> Iterator[Word]:
        """Return what every strand about ``subject`` says, of raters that weigh anything."""
        book, weights = self._book, self._weights
        ratings = book.ratings[question.role]
        shares = self._shares.setdefault(question, {})
        for log in book.lineage.family(subject):
            for rater in weights.keys() & ratings.raters(log):  # at the price of the smaller one
                voice = book.lineage.final(rater)
                if voice == subject:
                    continue  # whoever praises itself says nothing
                now = book.round_of(rater)
                for strand in ratings.strands(log, rater):
                    variant = strand[0]
                    share = shares.get(variant)
                    if share is None:
                        share = shares[variant] = question.share_of(book.variants[variant])
                    if share:
                        good, bad = evidence_in(strand, now)
                        yield Word(voice, rater, log, variant, share * good, share * bad)

    def shared_failures(self, subject: int, question: Question) -> Iterator[Word]:
        """Return the part of the bad work of the vouched that its voucher answers for."""
        for vouched in self._vouched(subject, question):
            for word in self.words(vouched, ANYTHING):
                if word.voice != subject and word.bad:
                    yield word._replace(good=0.0, bad=FAILURES_SHARED * word.bad)

    def proven(self, subject: int, question: Question) -> Iterator[Word]:
        """Return the bad work that the subject's own signatures prove; nothing good is so."""
        book = self._book
        ratings = book.ratings[question.role]
        for log in book.lineage.family(subject):
            for strand in ratings.strands(log, OBJECTIVE):
                share = question.share_of(book.variants[strand[0]])
                if share:
                    # Nobody's rounds pass here: the subject could make its own pass at will.
                    _, bad = evidence_in(strand, now=strand[1])
                    yield Word(OBJECTIVE, OBJECTIVE, log, strand[0], 0.0, share * bad)

    def shared_proven(self, subject: int, question: Question) -> Iterator[Word]:
        """Return what the proven failures of the vouched cost their voucher: each at most a job.

        It is the one thing that others can do to an agent whatever they weigh, and the vouch is the
        agent's own signature under it.
        """
        for vouched in self._vouched(subject, question):
            words = list(self.proven(vouched, ANYTHING))
            whole = math.fsum(word.bad for word in words)
            for word in words:
                part = FAILURES_SHARED * word.bad / (1.0 + whole / SATURATION)
                yield word._replace(bad=part)

    def _vouched(self, subject: int, question: Question) -> tuple[int, ...]:
        return self._book.outstanding(subject) if question.role == "worker" else ()


def saturated(jobs: float) -> float:
    """Return what ``jobs`` of one rater count for."""
    return jobs / (1.0 + jobs / SATURATION)
