"""What everybody says of everybody, in arrays: what a ``Book`` holds, for all raters at once.

Row ``r``, column ``s``: what ``r`` says of ``s``, in jobs, as it stands at this moment of the
rater's log. It fades as that log grows, by the product's own constants.
"""

from typing import Final, Literal, TypeAlias

import numpy as np

from bazaar_reputation.findings import WHOLE
from bazaar_reputation.judgement import BREACH, DISPUTED, NO_VERDICT
from bazaar_reputation.strands import BAD_KEPT, GOOD_KEPT
from bazaar_simulations.adversaries.adversary import Floats, Ints

DISPUTED_JOBS: Final = DISPUTED / WHOLE
BREACH_JOBS: Final = BREACH / WHOLE
NO_VERDICT_JOBS: Final = NO_VERDICT / WHOLE

Role: TypeAlias = Literal["worker", "poster"]

_ENTRIES_PER_ROUND: Final = 2


class Evidence:
    """All receipts, summed up by rater and subject."""

    def __init__(self, size: int) -> None:
        self.good: dict[Role, Floats] = {}
        self.bad: dict[Role, Floats] = {}
        for role in ("worker", "poster"):
            self.good[role], self.bad[role] = np.zeros((2, size, size))
        self._entries = np.zeros(size, np.int64)
        self._fresh: list[tuple[Floats, Ints, Ints, Floats]] = []

    def say(self, role: Role, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        """Take note of findings: above 0 for good ones, below for bad ones.

        They count from the next ``pass_round`` on.
        """
        is_good = jobs > 0
        for which, keep in ((self.good[role], is_good), (self.bad[role], jobs < 0)):
            self._fresh.append((which, raters[keep], subjects[keep], np.abs(jobs[keep])))

    def write(self, agents: Ints, entries: int) -> None:
        """Let the logs of ``agents`` grow; who stands there twice writes twice as much."""
        np.add.at(self._entries, agents, entries)

    def pass_round(self) -> None:
        """Let what was said fade as far as logs have grown, and add what is new."""
        passed = self._entries // _ENTRIES_PER_ROUND
        self._entries -= passed * _ENTRIES_PER_ROUND
        for kept, matrices in ((GOOD_KEPT, self.good), (BAD_KEPT, self.bad)):
            left = (kept**passed)[:, None]
            for role in matrices:
                matrices[role] *= left
        for matrix, raters, subjects, jobs in self._fresh:
            np.add.at(matrix, (raters, subjects), jobs)
            matrix[subjects, subjects] = 0.0  # whoever praises itself says nothing
        self._fresh.clear()

    def forget(self, agents: Ints) -> None:
        """Forget all about these: they have new names now."""
        for matrices in (self.good, self.bad):
            for matrix in matrices.values():
                matrix[agents, :] = 0.0
                matrix[:, agents] = 0.0
        self._entries[agents] = 0


class Votes:
    """Ratings as systems without receipts take them: from anybody, about anybody.

    Args:
        size: How many identities there are.
        good_kept: Which part of a good rating is left after a round.
        bad_kept: And of a bad one.

    """

    def __init__(self, size: int, good_kept: float = 1.0, bad_kept: float = 1.0) -> None:
        self.good, self.bad = np.zeros((2, size, size))
        self._kept = good_kept, bad_kept

    def say(self, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        """Take note of ratings: above 0 for good ones, below for bad ones."""
        for matrix, keep in ((self.good, jobs > 0), (self.bad, jobs < 0)):
            np.add.at(matrix, (raters[keep], subjects[keep]), 1.0)

    def pass_round(self) -> None:
        """Let ratings fade."""
        self.good *= self._kept[0]
        self.bad *= self._kept[1]

    def forget(self, agents: Ints) -> None:
        """Forget all about these: they have new names now."""
        for matrix in (self.good, self.bad):
            matrix[agents, :] = 0.0
            matrix[:, agents] = 0.0
