"""Auctions of all posters of a large town at once: who bids, who is asked, who gets the task.

The rules are those of ``bazaar_node.market``, as in the small population.
"""

from dataclasses import dataclass

import numpy as np

from bazaar_node.market.experience import SEASONED_FROM
from bazaar_node.market.invitations import INVITED_MAX, TOP
from bazaar_node.market.valuation import SOLICITATIONS
from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.auction import NOBODY, award, draw_bidders
from bazaar_simulations.population.defences import SCORE_LEAST
from bazaar_simulations.population.large.opinions import EMPTY
from bazaar_simulations.population.large.sight import BEST_KEPT, Look, Sight
from bazaar_simulations.population.large.town import LargeTown
from bazaar_simulations.population.rules import TIES, USUAL_VALUE
from bazaar_simulations.population.setting import Setting


@dataclass(frozen=True, slots=True)
class Tasks:
    """What is given away in one round."""

    egos: Ints
    values: Floats
    receipts: Ints
    """Of each poster, of work for it."""


@dataclass(frozen=True, slots=True)
class Bids:
    """By poster and place, who bids, whether the bid counts, and what the poster thinks of it."""

    bidders: Ints
    is_bid: Bools
    look: Look

    def some(self, rows: Ints | Bools) -> "Bids":
        """Return those of some posters."""
        scores, is_known, is_vouched = self.look
        look = Look(scores[rows], is_known[rows], is_vouched[rows])
        return Bids(self.bidders[rows], self.is_bid[rows], look)

    def joined(self, more: "Bids") -> "Bids":
        """Return these and more, of the same posters."""
        ours, theirs = self.look, more.look
        look = Look(
            np.concatenate((ours.scores, theirs.scores), axis=1),
            np.concatenate((ours.is_known, theirs.is_known), axis=1),
            np.concatenate((ours.is_vouched, theirs.is_vouched), axis=1),
        )
        bidders = np.concatenate((self.bidders, more.bidders), axis=1)
        return Bids(bidders, np.concatenate((self.is_bid, more.is_bid), axis=1), look)


@dataclass(frozen=True, slots=True)
class Awards:
    """Who got what."""

    chosen: Ints
    bids: Bids
    """Those that came before any extension."""
    asked: Ints
    """Of each task, how many heard of it."""


class Auctions:
    """The auctions of one round.

    Args:
        setting: What the run is about.
        town: Who there is.
        sight: What posters think.
        rng: All chance there is.

    """

    def __init__(
        self, setting: Setting, town: LargeTown, sight: Sight, rng: np.random.Generator
    ) -> None:
        self._setting = setting
        self._town = town
        self._sight = sight
        self._rng = rng

    def hold(self, tasks: Tasks, free: Ints) -> Awards:
        """Give tasks away; ``free``, what each can do, is reduced by that."""
        egos = tasks.egos
        guests = self._sight.guests(egos)
        open_ = self._are_here(guests) & (guests != EMPTY)
        turn = self._rng.permutation(len(egos))
        first = open_.copy()
        first[:, TOP:BEST_KEPT] = False
        bids, asked = self._gather(egos, guests, first, open_)
        wishes = self._wishes(tasks.receipts, bids, may_wait=open_.any(axis=1))
        chosen = award(wishes, bids.bidders, free, turn)
        left = np.flatnonzero(chosen == NOBODY)
        still = bids.some(left)
        for extension in range(1, SOLICITATIONS + 1):
            may_be = open_[left]
            more, answers = self._gather(egos[left], guests[left], may_be.copy(), may_be)
            open_[left] = may_be
            asked[left] += answers
            still = still.joined(more)
            waits = may_be.any(axis=1) & (extension < SOLICITATIONS)
            wishes = self._wishes(tasks.receipts[left], still, may_wait=waits)
            chosen[left] = award(wishes, still.bidders, free, turn[left])
            is_left = chosen[left] == NOBODY
            left, still = left[is_left], still.some(is_left)
        self._give_small_ones(tasks.values, (left, still), chosen, (free, turn))
        return Awards(chosen, bids, asked)

    def _gather(self, egos: Ints, guests: Ints, may_be: Bools, open_: Bools) -> tuple[Bids, Ints]:
        """Return bids of some that hear of a task, and of some that are asked; and how many.

        Args:
            egos: The posters.
            guests: By poster, whom it may ask.
            may_be: Which of these it may ask now.
            open_: Which of them have not been asked yet; those that are asked now are taken out.

        """
        drawn, is_drawn = draw_bidders(self._rng, egos, self._town.here, self._setting.bidders)
        wish = self._rng.random(guests.shape)
        wish[:, :BEST_KEPT] += 1.0  # strangers follow where those are too few
        wish[~may_be] = -1.0
        picked = np.argpartition(-wish, INVITED_MAX, axis=1)[:, :INVITED_MAX]
        is_picked = np.take_along_axis(wish, picked, axis=1) >= 0.0
        lines = np.repeat(np.arange(len(egos)), is_picked.sum(axis=1))
        open_[lines, picked[is_picked]] = False
        invited = np.where(is_picked, np.take_along_axis(guests, picked, axis=1), 0)
        bidders = np.concatenate((drawn, invited), axis=1)
        is_asked = np.concatenate((is_drawn, is_picked), axis=1)
        is_bid = is_asked & ~self._sight.declines(bidders, egos[:, None])
        return Bids(bidders, is_bid, self._sight.look(egos, bidders)), is_asked.sum(axis=1)

    def _are_here(self, agents: Ints) -> Bools:
        egos, honest = len(self._town.egos), self._town.honest
        return np.asarray((agents < egos) | (agents >= honest))

    def _wishes(self, receipts: Ints, bids: Bids, *, may_wait: Bools) -> Floats:
        """Return how much posters would like each bidder."""
        scores = bids.look.scores
        is_strict = (receipts >= SEASONED_FROM) | may_wait
        is_wanted = bids.is_bid & ((scores >= SCORE_LEAST) | ~is_strict[:, None])
        return np.where(is_wanted, scores + self._rng.random(scores.shape) * TIES, -np.inf)

    def _give_small_ones(
        self, values: Floats, rest: tuple[Ints, Bids], chosen: Ints, state: tuple[Ints, Ints]
    ) -> None:
        """Give small tasks that are left to strangers for whom somebody answers."""
        (left, bids), (free, turn) = rest, state
        is_small = values[left] <= USUAL_VALUE
        left, bids = left[is_small], bids.some(is_small)
        fits = bids.is_bid & bids.look.is_vouched & ~bids.look.is_known
        wishes = np.where(fits, bids.look.scores, -np.inf)
        chosen[left] = award(wishes, bids.bidders, free, turn[left])
