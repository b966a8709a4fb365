"""How findings add up and fade, so that the same findings give the same sum to the last digit.

A strand is a fold in the order of its findings (Horner's rule), so appending the newest gives in
O(1), bit for bit, what folding all of them again gives. Evidence fades by the rounds of its
rater's log, never by a clock: good .98 a round, bad .99.

So that a fold can be bounded, rounds are counted in blocks of 512, and what is older than the
block before the current one no longer counts: nothing beyond 1,023 rounds, everything within 512.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import mul
from typing import Final, TypeAlias

from bazaar_reputation.findings import WHOLE, Finding

GOOD_KEPT: Final = 0.98
BAD_KEPT: Final = 0.99
BLOCK_ROUNDS: Final = 512

Place: TypeAlias = tuple[int, bytes, bytes]
"""Where a finding stands in its strand: round, deciding record, contract."""

Sums: TypeAlias = tuple[float, float, float, float]
"""Good, bad, and the good and bad of the block before."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The sums of a strand at the round of its newest finding, in jobs."""

    good: float
    """Of the findings in the block of ``round``."""
    bad: float
    round: int
    last: Place
    count: int
    older_good: float
    """Of the findings in the block before."""
    older_bad: float
    older_count: int

    @classmethod
    def empty(cls) -> "Tally":
        """Return the sums of no finding."""
        return cls(0.0, 0.0, 0, (-1, b"", b""), 0, 0.0, 0.0, 0)

    def add(self, finding: Finding) -> "Tally | None":
        """Return the sums with ``finding``, or None when it is not the newest: fold again then."""
        place = _place(finding)
        if place <= self.last:
            return None
        good, bad, count, older_good, older_bad, older_count = self._faded(finding.round)
        weight = finding.weight / WHOLE
        if finding.is_good:
            good += weight
        else:
            bad += weight
        return Tally(good, bad, finding.round, place, count + 1, older_good, older_bad, older_count)

    def at(self, now: int) -> tuple[float, float]:
        """Return how much good and bad, in jobs, is left when the rater's log is at round ``now``.

        Findings without a rater have nobody whose rounds could pass (the subject could make its own
        pass at will): ask for them at ``self.round``.
        """
        return left((self.good, self.bad, self.older_good, self.older_bad), self.round, now)

    def _faded(self, now: int) -> tuple[float, float, int, float, float, int]:
        blocks = now // BLOCK_ROUNDS - self.round // BLOCK_ROUNDS
        if blocks > 1:
            return 0.0, 0.0, 0, 0.0, 0.0, 0
        kept_good, kept_bad = _GOOD[now - self.round], _BAD[now - self.round]
        good, bad = self.good * kept_good, self.bad * kept_bad
        if blocks == 1:
            return 0.0, 0.0, 0, good, bad, self.count
        older_good, older_bad = self.older_good * kept_good, self.older_bad * kept_bad
        return good, bad, self.count, older_good, older_bad, self.older_count


def left(sums: Sums, since: int, now: int) -> tuple[float, float]:
    """Return how much good and bad is left at round ``now`` of sums that stood at ``since``."""
    good, bad, older_good, older_bad = sums
    if now <= since:
        return good + older_good, bad + older_bad
    blocks = now // BLOCK_ROUNDS - since // BLOCK_ROUNDS
    if blocks > 1:
        return 0.0, 0.0
    kept_good, kept_bad = _GOOD[now - since], _BAD[now - since]
    if blocks == 1:
        return good * kept_good, bad * kept_bad
    return good * kept_good + older_good * kept_good, bad * kept_bad + older_bad * kept_bad


def fold(findings: Iterable[Finding]) -> Tally:
    """Return the sums of the findings of one strand, in whatever order they are given."""
    ordered = sorted(findings, key=lambda one: (_place(one), one.is_good, one.weight))
    tally = Tally.empty()
    for finding in ordered:
        assert finding.strand == ordered[0].strand
        tally = tally.add(finding) or tally
    return tally


def counts_from(newest: int) -> int:
    """Return the first round that still counts in a strand whose newest is ``newest``.

    Folding only what is from there on gives the same sums as folding all.
    """
    return max(newest // BLOCK_ROUNDS - 1, 0) * BLOCK_ROUNDS


def _place(finding: Finding) -> Place:
    return finding.round, finding.record, finding.contract


def _powers(kept: float) -> tuple[float, ...]:
    # By repeated multiplication: libraries differ in the last digit of a power.
    return tuple(accumulate(repeat(kept, 2 * BLOCK_ROUNDS - 1), mul, initial=1.0))


_GOOD: Final = _powers(GOOD_KEPT)
_BAD: Final = _powers(BAD_KEPT)
