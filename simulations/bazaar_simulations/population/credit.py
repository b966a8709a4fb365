"""What the honest do for posters that never paid: ``bazaar_node.market.credit`` in arrays."""

import numpy as np

from bazaar_node.market.credit import SHARE
from bazaar_node.market.policy import MAX_ON_CREDIT
from bazaar_simulations.adversaries.adversary import Bools, Ints


class Credit:
    """By worker, of whom the first ``honest`` count: who accepted its results, and who did not.

    A round is a short time here: nothing is forgiven.
    """

    def __init__(self, honest: int, size: int) -> None:
        self._is_fair = np.zeros((honest, size), bool)
        self._unpaid = np.zeros((honest, size), np.int64)
        self._gone = np.zeros(honest, np.int64)
        """Results that those hold who have other names now."""
        self._accepted = np.zeros(honest, np.int64)

    def note(self, posters: Ints, workers: Ints, accepted: Bools) -> None:
        """Take note of results that were accepted or came to nothing."""
        ours = workers < len(self._unpaid)
        posters, workers, accepted = posters[ours], workers[ours], accepted[ours]
        np.add.at(self._accepted, workers[accepted], 1)
        self._is_fair[workers[accepted], posters[accepted]] = True
        np.add.at(self._unpaid, (workers[~accepted], posters[~accepted]), 1)
        self._unpaid[self._is_fair] = 0

    def refuses(self, egos: Ints, is_fair: Bools) -> Bools:
        """Tell which posters get nothing from each of ``egos`` now.

        Args:
            egos: Workers.
            is_fair: By ego and poster, of whom good is known.

        """
        held = self._unpaid.sum(axis=1) + self._gone
        is_spent = held >= MAX_ON_CREDIT + self._accepted // SHARE
        return np.asarray(is_spent[egos, None] & ~self._is_fair[egos] & ~is_fair)

    def forget(self, agents: Ints) -> None:
        """Take note that these have new names."""
        self._gone += self._unpaid[:, agents].sum(axis=1)
        self._unpaid[:, agents] = 0
        self._is_fair[:, agents] = False
