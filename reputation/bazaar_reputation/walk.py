"""A random walk from ego over who has done good work for whom: its end says whom ego trusts.

The walk stops at each step with probability 1/4; where an agent has nobody to go on to, it is
lost. Whatever a set of identities does among itself, the walk ends there no more often than it
gets there, over the edges that others gave it.

Computed by forward push (Andersen, Chung & Lang 2006), which looks at the neighbourhood only: what
it returns is never more than the true share. It is the same to the last digit wherever it runs:
first come, first served, and the neighbours are in the order of their ids.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

RESTART: Final = 0.25
EPSILON: Final = 1e-4

Row: TypeAlias = Sequence[tuple[int, float]]
"""Where the walk goes on to, each with its probability."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the walk ends."""

    shares: dict[int, float]
    """How likely it ends at an agent; at least that."""
    unsettled: dict[int, float]
    """How likely it was on its way at an agent when the computation stopped."""


def push(
    start: int,
    row: Callable[[int], Row],
    breadth: Callable[[int], int],
    *,
    epsilon: float = EPSILON,
) -> Ends:
    """Follow the walk from ``start``.

    Args:
        start: Ego.
        row: Where it goes on to from an agent.
        breadth: How many neighbours an agent has, or a little more.
        epsilon: What per neighbour is too little to follow.

    """
    shares: dict[int, float] = {}
    waiting = {start: 1.0}
    queue = deque((start,))
    queued = {start}
    while queue:
        agent = queue.popleft()
        queued.remove(agent)
        share = waiting.pop(agent)
        shares[agent] = shares.get(agent, 0.0) + RESTART * share
        share *= 1.0 - RESTART
        for neighbour, probability in row(agent):
            there = waiting.get(neighbour, 0.0) + share * probability
            waiting[neighbour] = there
            if there > epsilon and neighbour not in queued and there > epsilon * breadth(neighbour):
                queue.append(neighbour)
                queued.add(neighbour)
    # What was too broad to follow further ends there by this share, whatever comes after.
    for agent, share in waiting.items():
        if share > epsilon:
            shares[agent] = shares.get(agent, 0.0) + RESTART * share
    return Ends(shares, waiting)
