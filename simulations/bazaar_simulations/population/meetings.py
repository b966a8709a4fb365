"""How first dealings of each ego with strangers went: ``bazaar_reputation.priors`` in arrays."""

from typing import Final

import numpy as np

from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints

BARE: Final = 0
VOUCHED: Final = 1

_KEPT: Final = 0.98
_LEAST: Final = 0.5


class Meetings:
    """First meetings of ``egos`` (numbers from 0) with any of ``size`` identities, in order."""

    def __init__(self, egos: int, size: int) -> None:
        self._met = np.zeros((egos, size), bool)
        self._subjects: list[Ints] = []
        self._outcomes: list[Floats] = []
        self._used: list[Bools] = []
        """By which class each was counted."""
        self._good, self._bad = np.ones((2, egos, 2))

    def note(self, egos: Ints, subjects: Ints, jobs: Floats) -> None:
        """Take note of outcomes, above 0 for good ones; each ego stands there once at most.

        Only the first with each subject is a meeting.
        """
        first = ~self._met[egos, subjects]
        egos, subjects, jobs = egos[first], subjects[first], jobs[first]
        self._met[egos, subjects] = True
        of_subject = np.full(len(self._met), -1)
        outcome = np.zeros(len(self._met))
        of_subject[egos], outcome[egos] = subjects, jobs
        self._subjects.append(of_subject)
        self._outcomes.append(outcome)

    def forget(self, agents: Ints) -> None:
        """Let these be met again, as they have new names; their old names stay bare."""
        self._met[:, agents] = False
        for subjects in self._subjects:
            subjects[np.isin(subjects, agents)] = len(self._met[0])

    def rates(self, is_vouched: Bools) -> Floats:
        """Return what each ego expects of a stranger, by class.

        Args:
            is_vouched: By ego and identity, who is vouched for in the eyes of that ego.

        """
        rows = np.arange(len(self._met))
        padded = np.concatenate((is_vouched, np.zeros((len(rows), 1), bool)), axis=1)
        now = [padded[rows, subjects] for subjects in self._subjects]
        again = np.zeros(len(rows), bool)
        for used, row in zip(self._used, now, strict=False):
            again |= used != row
        self._good[again], self._bad[again] = 1.0, 1.0
        counted = len(self._used)
        for step, row in enumerate(now):
            self._count(step, row, again if step < counted else np.ones(len(rows), bool))
        self._used = now
        return np.asarray(self._good / (self._good + self._bad))

    def _count(self, step: int, is_vouched: Bools, which: Bools) -> None:
        outcome = self._outcomes[step]
        egos = np.flatnonzero(which & (outcome != 0))
        if not len(egos):
            return
        classes = is_vouched[egos].astype(int)
        good, bad = np.maximum(outcome[egos], 0), np.maximum(-outcome[egos], 0)
        for sums, added in ((self._good, good), (self._bad, bad)):
            sums[egos, classes] = np.maximum(sums[egos, classes] * _KEPT, _LEAST) + added
