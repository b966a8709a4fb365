"""An adversary of your own: run it against the market's defence, and see what it achieves.

    bazaar simulate run ./examples/my_adversary.py:Sleeper --share 0.2 --seeds 3
    python examples/my_adversary.py

It works well while it is watched, which it believes to be the first twenty jobs of each of its
two identities, and praises itself meanwhile. `bazaar_simulations.adversaries.adversary` says what
else an adversary may do differently from the honest.
"""

from bazaar_simulations.adversaries.adversary import (
    Adversary,
    Bools,
    Crowd,
    Jobs,
    Ratings,
    members,
    praise,
)
from bazaar_simulations.population.market import run
from bazaar_simulations.population.setting import Setting


class Sleeper(Adversary):
    """Twenty jobs well, and then none."""

    name = "sleeper"
    source = "this file"
    observable = "the turn of its record"
    metric = "bad outcomes"
    identities = 2

    def delivers(self, jobs: Jobs) -> Bools:
        return jobs.tried() & (jobs.done < 20)

    def trades(self, crowd: Crowd) -> Ratings:
        return praise(crowd, members(crowd), each=2)


if __name__ == "__main__":
    for defence in ("none", "average", "ours"):
        figures = run(Setting(defence=defence, share=0.2), Sleeper())
        print(f"{defence:>8}: {figures.bad:6.1%} bad outcomes, {figures.goodput:6.1%} done well")
