"""Who gets which task, for all posters of a round at once."""

import numpy as np

from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints

NOBODY: int = -1


def award(wishes: Floats, bidders: Ints, free: Ints, turn: Ints) -> Ints:
    """Return who gets the task of each poster, ``NOBODY`` where no wish can be met.

    Each poster asks the bidder that it would like best. Whom too many ask for takes those whose
    turn is first; the others ask for the next best.

    Args:
        wishes: By poster and bid, how much the poster likes it; minus infinity for not at all.
        bidders: By poster and bid, whose bid it is.
        free: By identity, how many jobs more it can do; reduced by those that are awarded.
        turn: In which order the posters come.

    """
    chosen = np.full(len(wishes), NOBODY)
    waiting = np.arange(len(wishes))
    while len(waiting):
        wished = np.where(free[bidders[waiting]] > 0, wishes[waiting], -np.inf)
        best = wished.argmax(axis=1)
        has_one = wished[np.arange(len(waiting)), best] > -np.inf
        waiting, best = waiting[has_one], best[has_one]
        asked = bidders[waiting, best]
        is_taken = _rank(asked, turn[waiting]) < free[asked]
        chosen[waiting[is_taken]] = asked[is_taken]
        np.subtract.at(free, asked[is_taken], 1)
        waiting = waiting[~is_taken]
    return chosen


def _rank(asked: Ints, turn: Ints) -> Ints:
    """Return how many with an earlier turn ask for the same one."""
    order = np.lexsort((turn, asked))
    ordered = asked[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(np.append(starts, len(ordered)))
    ranks = np.empty(len(asked), np.int64)
    ranks[order] = np.arange(len(asked)) - np.repeat(starts, sizes)
    return ranks


def draw_bidders(
    rng: np.random.Generator, egos: Ints, here: Ints, count: int
) -> tuple[Ints, Bools]:
    """Return ``count`` bidders for each poster, and which of these bids count.

    Nobody bids for its own task, or twice.
    """
    drawn = np.sort(here[rng.integers(0, len(here), (len(egos), count))], axis=1)
    is_new = np.ones(drawn.shape, bool)
    is_new[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    return drawn, is_new & (drawn != egos[:, None])
