"""A market with limited capacity: in every round each honest agent has one task to give away.

Tasks are offered to bidders drawn at random, and to some that the poster knows. It awards to whom
it thinks most of, or to nobody; now and then it probes a stranger. What came of it is signed and
read by everybody. The rules are those of ``bazaar_node.market``; where prices are all alike, the
expected value of a bid follows from the score alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from bazaar_node.market.probes import BUDGET, RATE
from bazaar_simulations.adversaries.adversary import Adversary, Bools, Crowd, Floats, Ints, Jobs
from bazaar_simulations.population.auction import NOBODY, award
from bazaar_simulations.population.awarding import Auctions, Awards, Tasks, look
from bazaar_simulations.population.credit import Credit
from bazaar_simulations.population.defences import Defence, Outcomes, defence
from bazaar_simulations.population.figures import Counts, Figures, Ledger
from bazaar_simulations.population.mixture import attacker_of
from bazaar_simulations.population.rules import (
    ASKED_BY_HOSTILE,
    BYTES_PER_BID,
    BYTES_PER_JOB,
    BYTES_PER_OFFER,
    MESSAGES_PER_JOB,
    OFFERS_MAX,
    SPREAD,
    hostile_posters,
    judged,
    passes,
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
        self._auctions = Auctions(setting, self._defence, self._town, rng)
        self._credit = Credit(honest, size)
        self._number = 0

    def round(self, number: int) -> None:
        """Let one round pass."""
        self._number = number
        if number == self._setting.rounds // 2:
            self._town.welcome()
        egos = self._town.egos
        view = self._defence.view(egos)
        refuses = view.declines
        if self._defence.needs_credit:
            refuses = refuses | self._credit.refuses(egos, view.is_fair)
        free = np.full(self._town.size, self._setting.capacity)
        free[self._town.honest :] *= self._town.traits.takes
        values = self._rng.lognormal(0.0, SPREAD, len(egos))
        tasks = Tasks(egos, values, self._books.receipts[egos], view, refuses)
        awards = self._auctions.hold(tasks, free)
        self._settle_tasks(tasks, awards)
        if self._defence.probes:
            self._probe(tasks, awards, free)
        if self._town.malicious_principals:
            self._attack(tasks, free)
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

    # Working.

    def _settle_tasks(self, tasks: Tasks, awards: Awards) -> None:
        is_served = awards.chosen != NOBODY
        posters, workers = tasks.posters[is_served], awards.chosen[is_served]
        worth = tasks.values[is_served]
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
        bids = int(awards.bidders.sum())
        counts.messages += 2 * bids + MESSAGES_PER_JOB * len(workers)
        offers = np.minimum(awards.bidders[is_served], OFFERS_MAX)
        counts.bytes += BYTES_PER_BID * bids + BYTES_PER_JOB * len(workers)
        counts.bytes += BYTES_PER_OFFER * int(offers.sum())

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
        who, seen = (posters, workers), good.copy()
        seen[bad_ones] = passes(good[bad_ones], members, town.traits, self._rng, is_probe=is_probe)
        self._defence.rate(signed(who, seen, town.honest, town.traits, is_probe=is_probe))
        self._credit.note(posters, workers, seen)
        return np.asarray(good)

    def _probe(self, tasks: Tasks, awards: Awards, free: Ints) -> None:
        """Give strangers tasks whose answers are known, as far as there is money for it."""
        egos, view, chosen = tasks.posters, tasks.view, awards.chosen
        bidders, prices = awards.bids.bidders, self._town.prices
        left = self._books.value[egos] * BUDGET / _THOUSAND - self._books.spent[egos]
        is_tried = (chosen != NOBODY) & (self._rng.random(len(egos)) < RATE / _THOUSAND)
        rows = np.flatnonzero(is_tried & (left > 0))
        if not len(rows):
            return
        bidders = bidders[rows]
        is_stranger = awards.bids.is_bid[rows] & ~look(view.is_known, rows, bidders)
        is_stranger &= bidders != chosen[rows][:, None]
        is_stranger &= prices[bidders] * tasks.values[rows, None] <= left[rows, None]
        wishes = self._rng.random(is_stranger.shape)
        wishes += look(view.is_vouched, rows, bidders)
        wishes = np.where(is_stranger, wishes, -np.inf)
        probed = award(wishes, bidders, free, self._rng.permutation(len(rows)))
        rows, probed = rows[probed != NOBODY], probed[probed != NOBODY]
        self._work(egos[rows], probed, tasks.values[rows], is_probe=True)
        cost = prices[probed] * tasks.values[rows]
        self._books.spent[egos[rows]] += cost
        counts = self._counts
        counts.probes += len(rows)
        counts.probe_cost += float(cost.sum())
        counts.messages += MESSAGES_PER_JOB * len(rows)
        counts.bytes += (BYTES_PER_JOB + BYTES_PER_OFFER) * len(rows)

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

    def _attack(self, tasks: Tasks, free: Ints) -> None:
        crowd = self._crowd()
        trades = self._adversary.trades(crowd)
        ones = np.ones(len(trades.raters))
        self._defence.rate(Outcomes(trades.raters, trades.subjects, ones, ones))
        claims = self._adversary.claims(crowd)
        self._defence.hear(claims.raters, claims.subjects, np.where(claims.good, 1.0, -1.0))
        if self._town.traits.posts.any():
            self._post_hostile(crowd, tasks, free)

    def _post_hostile(self, crowd: Crowd, tasks: Tasks, free: Ints) -> None:
        """Let each malicious principal give away a task, under any of its identities."""
        egos = tasks.posters
        posters = hostile_posters(self._town.traits, self._rng)
        asked = self._rng.integers(0, len(egos), (len(posters), ASKED_BY_HOSTILE))
        is_willing = ~tasks.refuses[asked, (posters + crowd.first)[:, None]]
        wishes = np.where(is_willing, self._rng.random(asked.shape), -np.inf)
        turn = self._rng.permutation(len(posters))
        workers = award(wishes, egos[asked], free, turn)
        posters, workers = posters[workers != NOBODY], workers[workers != NOBODY]
        good = self._rng.random(len(workers)) < self._town.quality[workers]
        verdicts = self._adversary.verdicts(crowd, posters, workers, good)
        np.add.at(self._done, workers, 1)
        self._defence.rate(judged(posters + crowd.first, workers, good, verdicts))
        self._credit.note(posters + crowd.first, workers, verdicts > 0)
        self._counts.for_nothing += int((good & (verdicts <= 0)).sum())
        self._counts.honest_jobs += int(good.sum())

    def _rename(self) -> None:
        """Give those a new name who have used theirs up."""
        limit = self._town.traits.jobs_per_identity
        is_old = (limit > 0) & (self._done[self._town.honest :] >= limit)
        renamed = np.flatnonzero(is_old) + self._town.honest
        if len(renamed):
            self._defence.forget(renamed)
            self._credit.forget(renamed)
            self._done[renamed] = 0
            self._bad_met[renamed - self._town.honest] = False
