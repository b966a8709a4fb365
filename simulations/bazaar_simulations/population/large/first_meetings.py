"""How first dealings with strangers went, of many egos: ``bazaar_reputation.priors`` as sums alone.

Whom an ego has met is not kept: the caller knows. So a stranger counts in the class that it had
when they met, while the product looks again when somebody begins to vouch.
"""

from typing import Final

import numpy as np

from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints

_KEPT: Final = 0.98
_LEAST: Final = 0.5


class FirstMeetings:
    """Rates of good first dealings, by ego and class: bare, or vouched for."""

    def __init__(self, egos: int) -> None:
        self._good, self._bad = np.ones((2, egos, 2))

    def note(self, egos: Ints, is_vouched: Bools, jobs: Floats) -> None:
        """Take note of first meetings, in their order: above 0 for good ones."""
        classes = is_vouched.astype(np.int64)
        while len(egos):
            _, first = np.unique(egos, return_index=True)
            who, which, went = egos[first], classes[first], jobs[first]
            for sums, added in ((self._good, went), (self._bad, -went)):
                kept = np.maximum(sums[who, which] * _KEPT, _LEAST)
                sums[who, which] = kept + np.maximum(added, 0.0)
            rest = np.ones(len(egos), bool)
            rest[first] = False
            egos, classes, jobs = egos[rest], classes[rest], jobs[rest]

    def rates(self, egos: Ints) -> Floats:
        """Return what each expects of a stranger, by class."""
        return np.asarray(self._good[egos] / (self._good[egos] + self._bad[egos]))
