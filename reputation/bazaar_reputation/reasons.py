"""Why a score is what it is: each finding behind it, and how much of the score it carries.

What the reasons add together is the evidence of the score: nothing is left out, and nothing is
counted that the score does not count.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bazaar_protocol.identity import AgentId
from bazaar_reputation.book import Book
from bazaar_reputation.findings import WHOLE, Finding, StrandKey
from bazaar_reputation.scores import Part
from bazaar_reputation.strands import BAD_KEPT, BLOCK_ROUNDS, GOOD_KEPT
from bazaar_reputation.testimony import saturated


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding, as one ego weighs it."""

    finding: Finding
    weight: float
    """How much the word of its rater counts, 0 to 1."""
    age: int
    """How many rounds the rater's log has gone on since."""
    adds: float
    """How much it adds to the good or the bad evidence, in jobs."""


@dataclass(frozen=True, slots=True)
class _Voice:
    """What one rater says in all, of which a part counts."""

    good: float
    bad: float


def reasons(
    book: Book,
    ego: AgentId,
    parts: Iterable[Part],
    findings: Mapping[StrandKey, Sequence[Finding]],
) -> list[Reason]:
    """Return what carries a score, what carries most of it first.

    Args:
        book: All evidence.
        ego: Whose score it is.
        parts: What the score is made of (``Scorer.parts``).
        findings: Those of each strand among the parts.

    """
    by_voice: dict[int | None, list[Part]] = defaultdict(list)
    for part in parts:
        rater = part.strand.rater
        by_voice[None if rater is None else book.number(rater)].append(part)
    found: list[Reason] = []
    for number, said in by_voice.items():
        is_heard_in_full = number is None or number == book.number(ego)
        good, bad = (1.0, 1.0) if is_heard_in_full else _shares(said)
        for part in said:
            heard = _Voice(part.weight * good * part.good, part.weight * bad * part.bad)
            found += _split(part, heard, _aged(book, part.strand, findings.get(part.strand, ())))
    return sorted(found, key=_by_import)


def _shares(said: Iterable[Part]) -> tuple[float, float]:
    """Return which part of the good and of the bad is left when one rater's word saturates."""
    voice = _Voice(
        math.fsum(part.good for part in said),
        math.fsum(part.bad for part in said),
    )
    return (
        saturated(voice.good) / voice.good if voice.good else 0.0,
        saturated(voice.bad) / voice.bad if voice.bad else 0.0,
    )


def _aged(
    book: Book, strand: StrandKey, findings: Sequence[Finding]
) -> list[tuple[Finding, int, float]]:
    """Return the findings that still count, how old each is, and what is left of its weight."""
    newest = max((finding.round for finding in findings), default=0)
    # Nobody's rounds pass where nobody rated: such findings only fade behind newer ones.
    now = newest if strand.rater is None else max(newest, book.round_of(book.enter(strand.rater)))
    aged: list[tuple[Finding, int, float]] = []
    for finding in findings:
        if now // BLOCK_ROUNDS - finding.round // BLOCK_ROUNDS <= 1:
            age = now - finding.round
            kept: float = (GOOD_KEPT if finding.is_good else BAD_KEPT) ** age
            aged.append((finding, age, finding.weight / WHOLE * kept))
    return aged


def _split(
    part: Part, heard: _Voice, aged: Sequence[tuple[Finding, int, float]]
) -> Iterable[Reason]:
    for is_good, whole in ((True, heard.good), (False, heard.bad)):
        ours = [one for one in aged if one[0].is_good is is_good]
        left = math.fsum(weight for _, _, weight in ours)
        if whole and left:
            for finding, age, weight in ours:
                yield Reason(finding, part.weight, age, whole * weight / left)


def _by_import(reason: Reason) -> tuple[object, ...]:
    finding = reason.finding
    return -reason.adds, finding.contract, finding.record, finding.strand.subject
