"""A market with limited capacity: in every round each honest agent has one task to give away.

Tasks are offered to bidders drawn at random, and to some that the poster knows. It awards to whom
it thinks most of, or to nobody; now and then it probes a stranger. What came of it is signed and
read by everybody. The rules are those of ``bazaar_node.market``; prices are all alike, so that
the expected value of a bid follows from the score alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from bazaar_node.market.experience import SEASONED_FROM
from bazaar_node.market.invitations import INVITED_MAX
from bazaar_node.market.probes import BUDGET, RATE
from bazaar_node.market.valuation import SOLICITATIONS
from bazaar_simulations.adversaries.adversary import Adversary, Bools, Crowd, Floats, Ints, Jobs
from bazaar_simulations.population.auction import NOBODY, award, draw_bidders
from bazaar_simulations.population.defences import Defence, Outcomes, View, defence
from bazaar_simulations.population.figures import Counts, Figures, Ledger
from bazaar_simulations.population.mixture import attacker_of
from bazaar_simulations.population.rules import (
    ASKED_BY_HOSTILE,
    MESSAGES_PER_JOB,
    PRICE,
    SPREAD,
    TIES,
    TOP,
    USUAL_VALUE,
    hostile_posters,
    judged,
    signed,
)
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.town import settle

_THOUSAND: Final = 1_000


def run(
    setting: Setting,
    adversary: Adversary | None = None,
    *,
    on_round: Callable[[], None] = lambda: None,
) -> Figures:
    """Run the population through all rounds.

    Args:
        setting: What it is about.
        adversary: Who attacks, in place of the adversary that the setting names.
        on_round: Called after each round.

    Raises:
        ConfigError: No attack or defence has a name that the setting says.

    """
    attacker = adversary or attacker_of(setting)
    market = Market(setting, attacker, np.random.default_rng([setting.seed, 7919]))
    for number in range(setting.rounds):
        market.round(number)
        on_round()
    return market.figures()


@dataclass(slots=True)
class _Books:
    """What posters remember, by their numbers."""

    receipts: Ints
    value: Floats
    spent: Floats


class Market:
    """One run.

    Args:
        setting: What it is about.
        adversary: Who attacks.
        rng: All chance there is.

    """

    def __init__(self, setting: Setting, adversary: Adversary, rng: np.random.Generator) -> None:
        self._setting = setting
        self._adversary = adversary
        self._rng = rng
        self._town = settle(setting, adversary, rng)
        self._defence: Defence = defence(setting, self._town)
        size, honest = self._town.size, self._town.honest
        self._done = np.zeros(size, np.int64)
        self._books = _Books(np.zeros(honest, np.int64), np.zeros(honest), np.zeros(honest))
        self._bad_met = np.zeros((size - honest, size), bool)
        self._ledger = Ledger()
        self._number = 0
        self._is_last_call = False

    def round(self, number: int) -> None:
        """Let one round pass."""
        self._number = number
        if number == self._setting.rounds // 2:
            self._town.welcome()
        egos = self._town.egos
        view = self._defence.view(egos)
        free = np.full(self._town.size, self._setting.capacity)
        values = self._rng.lognormal(0.0, SPREAD, len(egos))
        bidders, is_bid = self._bids(egos, view)
        chosen = self._choose(egos, view, (bidders, is_bid, values), free)
        self._settle_tasks(egos, chosen, values)
        if self._defence.probes:
            self._probe(egos, view, (bidders, is_bid, values, chosen), free)
        if self._town.malicious_principals:
            self._attack(egos, view, free)
        self._defence.pass_round()
        self._rename()

    def figures(self) -> Figures:
        """Return what it came to."""
        town = self._town
        return self._ledger.figures(town.newcomers / town.honest, town.malicious_principals)

    @property
    def _counts(self) -> Counts:
        is_late = self._number >= self._setting.rounds // 2
        return self._ledger.second if is_late else self._ledger.first

    # Awarding.

    def _bids(self, egos: Ints, view: View) -> tuple[Ints, Bools]:
        here = np.flatnonzero(self._town.is_here)
        bidders, is_bid = draw_bidders(self._rng, egos, here, self._setting.bidders)
        if self._defence.invites:
            top = np.argsort(-view.scores, axis=1, kind="stable")[:, :TOP]
            rows = np.arange(len(egos))[:, None]
            picked = self._rng.permuted(top, axis=1)[:, :INVITED_MAX]
            is_good = (view.scores[rows, picked] > view.least) & view.is_known[rows, picked]
            is_good &= self._town.is_here[picked] & (picked != egos[:, None])
            bidders = np.concatenate((bidders, picked), axis=1)
            is_bid = np.concatenate((is_bid, is_good), axis=1)
        self._counts.messages += 2 * int(is_bid.sum())
        return bidders, is_bid & self._works_for(egos, view, bidders)

    def _works_for(self, egos: Ints, view: View, bidders: Ints, rows: Ints | None = None) -> Bools:
        """Tell which bidders do not decline: the malicious never do."""
        place = np.full(self._town.size, NOBODY)
        place[egos] = np.arange(len(egos))
        row = place[bidders]
        posters = egos if rows is None else egos[rows]
        return np.asarray(~((row >= 0) & view.declines[row, posters[:, None]]))

    def _choose(
        self, egos: Ints, view: View, tasks: tuple[Ints, Bools, Floats], free: Ints
    ) -> Ints:
        bidders, is_bid, values = tasks
        turn = self._rng.permutation(len(egos))
        chosen = award(self._wishes(egos, view, (bidders, is_bid)), bidders, free, turn)
        for again in range(SOLICITATIONS):
            left = np.flatnonzero(chosen == NOBODY)
            more = self._more_bids(egos, view, left)
            self._is_last_call = again == SOLICITATIONS - 1
            wishes = self._wishes(egos, view, more, left)
            chosen[left] = award(wishes, more[0], free, turn[left])
        self._is_last_call = False
        left = np.flatnonzero(chosen == NOBODY)
        left = left[values[left] <= USUAL_VALUE]
        is_small = is_bid[left] & self._look(view.is_vouched & ~view.is_known, left, bidders[left])
        wishes = np.where(is_small, self._look(view.scores, left, bidders[left]), -np.inf)
        chosen[left] = award(wishes, bidders[left], free, turn[left])
        return chosen

    def _more_bids(self, egos: Ints, view: View, rows: Ints) -> tuple[Ints, Bools]:
        here = np.flatnonzero(self._town.is_here)
        more, is_more = draw_bidders(self._rng, egos[rows], here, self._setting.bidders)
        if "invite again" in self._setting.tried:
            scores = view.scores[rows] + 1e-9
            is_good = (scores > view.least) & view.is_known[rows] & self._town.is_here
            draw = np.where(is_good, self._rng.random(scores.shape), -1.0)
            picked = np.argsort(-draw, axis=1)[:, :INVITED_MAX]
            is_picked = np.take_along_axis(is_good, picked, axis=1)
            more = np.concatenate((more, picked), axis=1)
            is_more = np.concatenate((is_more, is_picked & (picked != egos[rows, None])), axis=1)
        self._counts.messages += 2 * int(is_more.sum())
        return more, is_more & self._works_for(egos, view, more, rows)

    def _wishes(
        self, egos: Ints, view: View, bids: tuple[Ints, Bools], rows: Ints | None = None
    ) -> Floats:
        """Return how much the posters, or some of them, would like each bidder."""
        bidders, is_bid = bids
        rows = np.arange(len(egos)) if rows is None else rows
        scores = self._look(view.scores, rows, bidders)
        if self._defence.declines:
            tried = self._setting.tried
            least = 3 if "seasoned by three" in tried else SEASONED_FROM
            is_seasoned = self._books.receipts[egos[rows]] >= least
            if "strangers last" in tried and not self._is_last_call:
                is_seasoned[:] = True
            if "known from the start" in tried:
                is_seasoned |= view.is_known[rows].sum(axis=1) >= SEASONED_FROM
            is_bid = is_bid & ((scores >= view.least) | ~is_seasoned[:, None])
        scores = scores + self._rng.random(scores.shape) * TIES
        if "vouched first" in self._setting.tried:
            scores += self._look(view.is_vouched, rows, bidders) * TIES
        return np.where(is_bid, scores, -np.inf)

    @staticmethod
    def _look(matrix: np.ndarray, rows: Ints, bidders: Ints) -> np.ndarray:
        return np.asarray(matrix[rows[:, None], bidders])

    # Working.

    def _settle_tasks(self, egos: Ints, chosen: Ints, values: Floats) -> None:
        is_served = chosen != NOBODY
        posters, workers, worth = egos[is_served], chosen[is_served], values[is_served]
        good = self._work(posters, workers, worth, is_probe=False)
        self._books.value[posters] += worth
        counts, honest = self._counts, self._town.honest
        is_malicious = workers >= honest
        counts.tasks += len(workers)
        counts.unserved += int((~is_served).sum())
        counts.bad += int((~good).sum())
        counts.malicious += int(is_malicious.sum())
        counts.failed_malicious += int((is_malicious & ~good).sum())
        counts.value += float(worth.sum())
        counts.lost += float(worth[~good].sum())
        counts.to_honest += int((~is_malicious).sum())
        is_new = (workers >= honest - self._town.newcomers) & ~is_malicious
        counts.to_newcomers += int(is_new.sum())
        counts.honest_jobs += int((good & ~is_malicious).sum())
        counts.messages += MESSAGES_PER_JOB * len(workers)

    def _work(self, posters: Ints, workers: Ints, values: Floats, *, is_probe: bool) -> Bools:
        """Let the work be done, and tell the defence what both sides sign."""
        town = self._town
        good = self._rng.random(len(workers)) < town.quality[workers]
        bad_ones = np.flatnonzero(workers >= town.honest)
        members = workers[bad_ones] - town.honest
        if len(bad_ones):
            jobs = Jobs(
                crowd=self._crowd(),
                workers=members,
                posters=posters[bad_ones],
                values=values[bad_ones],
                done=self._done[workers[bad_ones]],
                quality=town.quality[workers[bad_ones]],
                is_probe=is_probe,
            )
            good[bad_ones] = self._adversary.delivers(jobs)
            self._bad_met[members, posters[bad_ones]] |= ~good[bad_ones]
        np.add.at(self._done, workers, 1)
        np.add.at(self._books.receipts, posters, 1)
        who = posters, workers
        self._defence.rate(signed(who, good, town.honest, town.traits, is_probe=is_probe))
        return np.asarray(good)

    def _probe(
        self, egos: Ints, view: View, tasks: tuple[Ints, Bools, Floats, Ints], free: Ints
    ) -> None:
        """Give strangers tasks whose answers are known, as far as there is money for it."""
        bidders, is_bid, values, chosen = tasks
        cost = PRICE * values
        left = self._books.value[egos] * BUDGET / _THOUSAND - self._books.spent[egos]
        is_tried = (chosen != NOBODY) & (self._rng.random(len(egos)) < RATE / _THOUSAND)
        rows = np.flatnonzero(is_tried & (cost <= left))
        if not len(rows):
            return
        is_stranger = is_bid[rows] & ~self._look(view.is_known, rows, bidders[rows])
        is_stranger &= bidders[rows] != chosen[rows][:, None]
        wishes = self._rng.random(is_stranger.shape)
        wishes += self._look(view.is_vouched, rows, bidders[rows])
        wishes = np.where(is_stranger, wishes, -np.inf)
        probed = award(wishes, bidders[rows], free, self._rng.permutation(len(rows)))
        rows, probed = rows[probed != NOBODY], probed[probed != NOBODY]
        self._work(egos[rows], probed, values[rows], is_probe=True)
        self._books.spent[egos[rows]] += cost[rows]
        self._counts.probes += len(rows)
        self._counts.probe_cost += float(cost[rows].sum())
        self._counts.messages += MESSAGES_PER_JOB * len(rows)

    # Attacking.

    def _crowd(self) -> Crowd:
        town = self._town
        return Crowd(
            size=town.size - town.honest,
            principals=town.malicious_principals,
            first=town.honest,
            honest=town.egos,
            bad_met=self._bad_met,
            round=self._number,
            rounds=self._setting.rounds,
            rng=self._rng,
        )

    def _attack(self, egos: Ints, view: View, free: Ints) -> None:
        crowd = self._crowd()
        trades = self._adversary.trades(crowd)
        ones = np.ones(len(trades.raters))
        self._defence.rate(Outcomes(trades.raters, trades.subjects, ones, ones))
        claims = self._adversary.claims(crowd)
        self._defence.hear(claims.raters, claims.subjects, np.where(claims.good, 1.0, -1.0))
        if self._town.traits.posts.any():
            self._post_hostile(crowd, (egos, view), free)

    def _post_hostile(self, crowd: Crowd, sight: tuple[Ints, View], free: Ints) -> None:
        """Let each malicious principal give away a task, under any of its identities."""
        egos, view = sight
        posters = hostile_posters(self._town.traits, self._rng)
        asked = self._rng.integers(0, len(egos), (len(posters), ASKED_BY_HOSTILE))
        is_willing = ~view.declines[asked, (posters + crowd.first)[:, None]]
        wishes = np.where(is_willing, self._rng.random(asked.shape), -np.inf)
        turn = self._rng.permutation(len(posters))
        workers = award(wishes, egos[asked], free, turn)
        posters, workers = posters[workers != NOBODY], workers[workers != NOBODY]
        good = self._rng.random(len(workers)) < self._town.quality[workers]
        verdicts = self._adversary.verdicts(crowd, posters, workers, good)
        np.add.at(self._done, workers, 1)
        self._defence.rate(judged(posters + crowd.first, workers, good, verdicts))
        self._counts.for_nothing += int((good & (verdicts <= 0)).sum())
        self._counts.honest_jobs += int(good.sum())

    def _rename(self) -> None:
        """Give those a new name who have used theirs up."""
        limit = self._town.traits.jobs_per_identity
        is_old = (limit > 0) & (self._done[self._town.honest :] >= limit)
        renamed = np.flatnonzero(is_old) + self._town.honest
        if len(renamed):
            self._defence.forget(renamed)
            self._done[renamed] = 0
            self._bad_met[renamed - self._town.honest] = False
