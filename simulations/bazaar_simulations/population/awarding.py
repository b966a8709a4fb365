"""Auctions of all posters at once: who bids, who is asked, and who gets the task.

The rules are those of ``bazaar_node.market``: ``valuation`` says when the time for bids is extended
and who is turned down, ``invitations`` who is asked by name.
"""

from dataclasses import dataclass

import numpy as np

from bazaar_node.market.experience import SEASONED_FROM
from bazaar_node.market.valuation import SOLICITATIONS
from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population import asking, proposals
from bazaar_simulations.population.auction import NOBODY, award, draw_bidders
from bazaar_simulations.population.defences import Defence, View
from bazaar_simulations.population.rules import TIES, USUAL_VALUE
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.town import Town


@dataclass(slots=True)
class Bids:
    """By poster and place, who bids, and whether the bid counts."""

    bidders: Ints
    is_bid: Bools

    def joined(self, rows: Ints, more: "Bids") -> "Bids":
        """Return these and more, which some posters got."""
        shape = (len(self.bidders), more.bidders.shape[1])
        bidders, is_bid = np.zeros(shape, np.int64), np.zeros(shape, bool)
        bidders[rows], is_bid[rows] = more.bidders, more.is_bid
        return Bids(
            np.concatenate((self.bidders, bidders), axis=1),
            np.concatenate((self.is_bid, is_bid), axis=1),
        )


@dataclass(frozen=True, slots=True)
class Tasks:
    """What there is to be given away in a round."""

    posters: Ints
    values: Floats
    receipts: Ints
    """Of each poster, of work for it."""
    view: View
    refuses: Bools
    """By worker, who has a row as it is a poster too, and poster."""


@dataclass(frozen=True, slots=True)
class Awards:
    """Who got what."""

    chosen: Ints
    bids: Bids
    bidders: Ints
    """Of each task, how many were asked and answered."""


class Auctions:
    """The auctions of one round.

    Args:
        setting: What the run is about.
        defence: What posters go by.
        town: Who there is.
        rng: All chance there is.

    """

    def __init__(
        self, setting: Setting, defence: Defence, town: Town, rng: np.random.Generator
    ) -> None:
        self._setting = setting
        self._defence = defence
        self._town = town
        self._rng = rng

    def hold(self, tasks: Tasks, free: Ints) -> Awards:
        """Give tasks away; ``free``, what each can do, is reduced by that."""
        everybody = np.arange(len(tasks.posters))
        turn = self._rng.permutation(len(everybody))
        asked = np.zeros((len(everybody), self._town.size), bool)
        bids, count = self._gather(tasks, everybody, asked, is_first=True)
        wishes = self._wishes(tasks, everybody, bids, is_last=False)
        chosen = award(wishes, bids.bidders, free, turn)
        for extension in range(1, SOLICITATIONS + 1):
            left = np.flatnonzero(chosen == NOBODY)
            more, answers = self._gather(tasks, left, asked, is_first=False)
            count[left] += answers
            bids = bids.joined(left, more)
            here = Bids(bids.bidders[left], bids.is_bid[left])
            wishes = self._wishes(tasks, left, here, is_last=extension == SOLICITATIONS)
            chosen[left] = award(wishes, here.bidders, free, turn[left])
        self._give_small_ones(tasks, bids, chosen, (free, turn))
        return Awards(chosen, bids, count)

    def _gather(
        self, tasks: Tasks, rows: Ints, asked: Bools, *, is_first: bool
    ) -> tuple[Bids, Ints]:
        """Return bids of some that hear of a task, and of some that are asked; and how many."""
        town, view = self._town, tasks.view
        here, posters = np.flatnonzero(town.is_here), tasks.posters[rows]
        bidders, is_bid = draw_bidders(self._rng, posters, here, self._setting.bidders)
        if self._defence.invites:
            good, vouched = asking.welcome(view, rows)
            if is_first:
                good = asking.best_of(good, view.scores[rows])
            may_be = town.is_here & ~asked[rows]
            may_be[np.arange(len(rows)), posters] = False
            may_be[np.repeat(np.arange(len(rows)), is_bid.sum(axis=1)), bidders[is_bid]] = False
            guests, is_guest = asking.guests(self._rng, good & may_be, vouched & may_be)
            bidders = np.concatenate((bidders, guests), axis=1)
            is_bid = np.concatenate((is_bid, is_guest), axis=1)
        owners = np.repeat(rows, is_bid.sum(axis=1))
        asked[owners, bidders[is_bid]] = True
        bids = Bids(bidders, is_bid & self._works_for(tasks, rows, bidders))
        return bids, np.asarray(is_bid.sum(axis=1))

    def _works_for(self, tasks: Tasks, rows: Ints, bidders: Ints) -> Bools:
        """Tell which bidders do not decline: the malicious never do."""
        place = np.full(self._town.size, NOBODY)
        place[tasks.posters] = np.arange(len(tasks.posters))
        row = place[bidders]
        return np.asarray(~((row >= 0) & tasks.refuses[row, tasks.posters[rows, None]]))

    def _wishes(self, tasks: Tasks, rows: Ints, bids: Bids, *, is_last: bool) -> Floats:
        """Return how much some posters would like each bidder."""
        view, tried = tasks.view, self._setting.tried
        scores = look(view.scores, rows, bids.bidders)
        is_bid = bids.is_bid
        if self._defence.declines:
            is_seasoned = tasks.receipts[rows] >= proposals.seasoned_from(tried, SEASONED_FROM)
            is_low = scores < view.least
            is_stranger = ~look(view.is_known | view.is_vouched, rows, bids.bidders)
            if "strangers last" in tried and not is_last:
                is_seasoned[:] = True
            is_bid = is_bid & ~(is_low & is_seasoned[:, None])
            turned_down = proposals.turned_down(tried, tasks, rows, self._rng)
            is_bid &= ~(is_low & is_stranger & turned_down[:, None])
        wishes = self._expected(scores, bids.bidders)
        wishes += self._rng.random(scores.shape) * TIES
        if "vouched first" in tried:
            wishes += look(view.is_vouched, rows, bids.bidders) * TIES
        return np.where(is_bid, wishes, -np.inf)

    def _expected(self, scores: Floats, bidders: Ints) -> Floats:
        """Return what a bid is worth, of the ceiling; where prices differ, to those who count."""
        if not self._setting.price_spread or not self._defence.is_share:
            return scores.copy()
        return np.asarray(scores * (1.0 - self._town.prices[bidders]) - (1.0 - scores) / 2.0)

    def _give_small_ones(
        self, tasks: Tasks, bids: Bids, chosen: Ints, state: tuple[Ints, Ints]
    ) -> None:
        """Give small tasks that are left to strangers for whom somebody answers."""
        free, turn = state
        left = np.flatnonzero((chosen == NOBODY) & (tasks.values <= USUAL_VALUE))
        view, bidders = tasks.view, bids.bidders[left]
        is_small = bids.is_bid[left] & look(view.is_vouched & ~view.is_known, left, bidders)
        scores = self._expected(look(view.scores, left, bidders), bidders)
        wishes = np.where(is_small, scores, -np.inf)
        chosen[left] = award(wishes, bidders, free, turn[left])


def look(matrix: np.ndarray, rows: Ints, bidders: Ints) -> np.ndarray:
    """Return what the posters of some rows have in a matrix for each of their bidders."""
    return np.asarray(matrix[rows[:, None], bidders])
