"""What the honest do for posters that never paid: ``bazaar_node.market.credit``, as counts.

Who has accepted a result stands in what a worker says of posters; here it is only counted how many
results came to nothing. One that was for somebody who turns out fair later stays counted.
"""

import numpy as np

from bazaar_node.market.credit import SHARE
from bazaar_node.market.policy import MAX_ON_CREDIT
from bazaar_simulations.adversaries.adversary import Bools, Ints


class Credit:
    """By worker, of whom the first ``honest`` count."""

    def __init__(self, honest: int) -> None:
        self._unpaid, self._accepted = np.zeros((2, honest), np.int64)

    def note(self, workers: Ints, accepted: Bools, is_fair: Bools) -> None:
        """Take note of results that were accepted, or came to nothing.

        Args:
            workers: Honest ones.
            accepted: Which results were.
            is_fair: Whether the poster had accepted another one before.

        """
        size = len(self._unpaid)
        self._accepted += np.bincount(workers[accepted], minlength=size)
        self._unpaid += np.bincount(workers[~accepted & ~is_fair], minlength=size)

    @property
    def is_spent(self) -> Bools:
        """Tell who works only for posters of whom something good is known."""
        return np.asarray(self._unpaid >= MAX_ON_CREDIT + self._accepted // SHARE)
