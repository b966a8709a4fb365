"""A policy of your own: run it against the adversaries, beside the market's defence.

    bazaar simulate run ring --defence ./examples/my_policy.py:Grudge --seeds 3
    python examples/my_policy.py

This one believes everybody's praise and nobody's blame but its own, and never forgives.
"""

import numpy as np

from bazaar_simulations.adversaries.adversary import Floats, Ints
from bazaar_simulations.population.defences import Policy
from bazaar_simulations.population.evidence import Votes
from bazaar_simulations.population.market import run
from bazaar_simulations.population.setting import Setting


class Grudge(Policy):
    """Everybody's praise, and one's own blame."""

    def scores(self, votes: Votes, egos: Ints) -> Floats:
        praised = (votes.good.sum(axis=0) + 1.0) / (votes.good.sum(axis=0) + 2.0)
        return np.where(votes.bad[egos] > 0, 0.0, praised)


if __name__ == "__main__":
    for attack in ("ring", "traitor", "slanderer"):
        mine = run(Setting(attack, f"{__file__}:Grudge"))
        ours = run(Setting(attack))
        print(f"{attack:>9}: {mine.bad:6.1%} bad outcomes with a grudge, {ours.bad:6.1%} with ours")
