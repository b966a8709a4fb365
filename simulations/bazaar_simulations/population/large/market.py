"""The market of ``bazaar_simulations.population.market`` with identities by the hundred thousand.

The rules are the same. The figures are those of the watched (``sight``): the tasks that they give
away, beside tens of thousands of others who do the same.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from bazaar_node.market.probes import BUDGET, RATE
from bazaar_protocol.errors import ConfigError
from bazaar_simulations.adversaries.adversary import Adversary, Bools, Crowd, Floats, Ints, Jobs
from bazaar_simulations.population.auction import NOBODY, award
from bazaar_simulations.population.defences import Outcomes
from bazaar_simulations.population.evidence import Role
from bazaar_simulations.population.figures import Counts, Figures, Ledger
from bazaar_simulations.population.large.awarding import Auctions, Awards, Tasks
from bazaar_simulations.population.large.sight import Sight, Watching
from bazaar_simulations.population.large.talk import Talk
from bazaar_simulations.population.large.town import settle
from bazaar_simulations.population.mixture import attacker_of
from bazaar_simulations.population.rules import (
    ASKED_BY_HOSTILE,
    BYTES_PER_BID,
    BYTES_PER_JOB,
    BYTES_PER_OFFER,
    MESSAGES_PER_JOB,
    OFFERS_MAX,
    PRICE,
    SPREAD,
    hostile_posters,
    judged,
    passes,
    signed,
)
from bazaar_simulations.population.setting import Setting

_THOUSAND: Final = 1_000
_REMEMBERS: Final = "retaliator"


def run(
    setting: Setting,
    adversary: Adversary | None = None,
    *,
    watching: Watching | None = None,
    on_round: Callable[[], None] = lambda: None,
) -> Figures:
    """Run the population through all rounds.

    Args:
        setting: What it is about.
        adversary: Who attacks, in place of the adversary that the setting names.
        watching: How much is done exactly.
        on_round: Called after each round.

    Raises:
        ConfigError: No attack has the name that the setting says, or it asks for what only a
            small population can do.

    """
    if setting.defence != "ours" or setting.off or setting.tried or setting.price_spread:
        raise ConfigError("with so many agents there is only our defence, as it is, and one price")
    if _REMEMBERS in {setting.attack, *(name for name, _ in setting.mix)}:
        raise ConfigError(f"a {_REMEMBERS} remembers everybody who complained: take fewer agents")
    attacker = adversary or attacker_of(setting)
    rng = np.random.default_rng([setting.seed, 7919])
    market = LargeMarket(setting, attacker, rng, watching or Watching())
    for number in range(setting.rounds):
        market.round(number)
        on_round()
    return market.figures()


class LargeMarket:
    """One run.

    Args:
        setting: What it is about.
        adversary: Who attacks.
        rng: All chance there is.
        watching: How much is done exactly.

    """

    def __init__(
        self, setting: Setting, adversary: Adversary, rng: np.random.Generator, watching: Watching
    ) -> None:
        self._setting = setting
        self._adversary = adversary
        self._rng = rng
        self._town = town = settle(setting, adversary, rng)
        roles: tuple[Role, ...] = ("worker",)
        if (town.traits.posts | town.traits.disputes).any():
            roles = ("worker", "poster")
        self._talk = Talk(town.honest, town.size, roles)
        self._sight = Sight(town, self._talk, watching, rng)
        self._auctions = Auctions(setting, town, self._sight, rng)
        self._is_watched = np.zeros(town.size, bool)
        self._is_watched[self._sight.watched] = True
        self._done = np.zeros(town.size, np.int64)
        self._receipts = np.zeros(town.honest, np.int64)
        self._value, self._spent = np.zeros((2, town.honest))
        self._ledger = Ledger()
        self._number = 0

    def round(self, number: int) -> None:
        """Let one round pass."""
        self._number = number
        town = self._town
        town.are_newcomers_here = number >= self._setting.rounds // 2
        self._sight.refresh(number)
        free = np.full(town.size, self._setting.capacity)
        free[town.honest :] *= town.traits.takes
        egos = town.egos
        values = self._rng.lognormal(0.0, SPREAD, len(egos))
        tasks = Tasks(egos, values, self._receipts[egos])
        awards = self._auctions.hold(tasks, free)
        self._settle_tasks(tasks, awards)
        self._probe(tasks, awards, free)
        if town.malicious_principals:
            self._attack(free)
        self._talk.pass_round()
        self._rename()

    def figures(self) -> Figures:
        """Return what it came to."""
        town = self._town
        seen = len(self._sight.watched) / town.honest
        return self._ledger.figures(town.newcomers / town.honest, town.malicious_principals * seen)

    @property
    def _counts(self) -> Counts:
        is_late = self._number >= self._setting.rounds // 2
        return self._ledger.second if is_late else self._ledger.first

    # Working.

    def _settle_tasks(self, tasks: Tasks, awards: Awards) -> None:
        chosen = awards.chosen
        is_served = chosen != NOBODY
        posters, workers = tasks.egos[is_served], chosen[is_served]
        worth = tasks.values[is_served]
        good = self._work(posters, workers, worth, is_probe=False)
        self._value[posters] += worth
        honest, counts = self._town.honest, self._counts
        counts.honest_jobs += int((good & (workers < honest)).sum())
        of_watched = self._is_watched[tasks.egos]
        counts.unserved += int((~is_served & of_watched).sum())
        asked = awards.asked[of_watched]
        counts.messages += 2 * int(asked.sum())
        counts.bytes += BYTES_PER_BID * int(asked.sum())
        counts.bytes += BYTES_PER_OFFER * int(np.minimum(asked, OFFERS_MAX).sum())
        seen = self._is_watched[posters]
        good, workers, worth = good[seen], workers[seen], worth[seen]
        is_malicious = workers >= honest
        counts.tasks += len(workers)
        counts.bad += int((~good).sum())
        counts.malicious += int(is_malicious.sum())
        counts.failed_malicious += int((is_malicious & ~good).sum())
        counts.value += float(worth.sum())
        counts.lost += float(worth[~good].sum())
        counts.to_honest += int((~is_malicious).sum())
        is_new = (workers >= honest - self._town.newcomers) & ~is_malicious
        counts.to_newcomers += int(is_new.sum())
        counts.messages += MESSAGES_PER_JOB * len(workers)
        counts.bytes += BYTES_PER_JOB * len(workers)

    def _work(self, posters: Ints, workers: Ints, values: Floats, *, is_probe: bool) -> Bools:
        """Let the work be done, and take note of what both sides sign."""
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
        self._done += np.bincount(workers, minlength=town.size)
        self._receipts += np.bincount(posters, minlength=town.honest)
        who, seen = (posters, workers), good.copy()
        seen[bad_ones] = passes(good[bad_ones], members, town.traits, self._rng, is_probe=is_probe)
        self._rate(signed(who, seen, town.honest, town.traits, is_probe=is_probe))
        return np.asarray(good)

    def _rate(self, outcomes: Outcomes) -> None:
        honest = self._town.honest
        is_ours = outcomes.posters < honest
        self._sight.meet("worker", outcomes.posters[is_ours], outcomes.workers[is_ours],
                         outcomes.jobs[is_ours])  # fmt: skip
        if "poster" in self._talk.roles:
            is_ours = outcomes.workers < honest
            workers, posters = outcomes.workers[is_ours], outcomes.posters[is_ours]
            self._sight.meet("poster", workers, posters, outcomes.poster_jobs[is_ours])
            self._sight.count(workers, posters, outcomes.jobs[is_ours] > 0)
        self._talk.rate(outcomes)

    def _probe(self, tasks: Tasks, awards: Awards, free: Ints) -> None:
        """Give strangers tasks whose answers are known, as far as there is money for it."""
        egos, chosen, cost = tasks.egos, awards.chosen, PRICE * tasks.values
        left = self._value[egos] * BUDGET / _THOUSAND - self._spent[egos]
        is_tried = (chosen != NOBODY) & (self._rng.random(len(egos)) < RATE / _THOUSAND)
        rows = np.flatnonzero(is_tried & (cost <= left))
        bids = awards.bids.some(rows)
        is_stranger = bids.is_bid & ~bids.look.is_known & (bids.bidders != chosen[rows][:, None])
        wishes = self._rng.random(is_stranger.shape) + bids.look.is_vouched
        wishes = np.where(is_stranger, wishes, -np.inf)
        probed = award(wishes, bids.bidders, free, self._rng.permutation(len(rows)))
        rows, probed = rows[probed != NOBODY], probed[probed != NOBODY]
        self._work(egos[rows], probed, tasks.values[rows], is_probe=True)
        self._spent[egos[rows]] += cost[rows]
        seen = rows[self._is_watched[egos[rows]]]
        counts = self._counts
        counts.probes += len(seen)
        counts.probe_cost += float(cost[seen].sum())
        counts.messages += MESSAGES_PER_JOB * len(seen)
        counts.bytes += (BYTES_PER_JOB + BYTES_PER_OFFER) * len(seen)

    # Attacking.

    def _crowd(self) -> Crowd:
        town = self._town
        members = town.size - town.honest
        return Crowd(
            size=members,
            principals=town.malicious_principals,
            first=town.honest,
            honest=town.egos,
            bad_met=np.zeros((members, 0), bool),  # nobody remembers who complained
            round=self._number,
            rounds=self._setting.rounds,
            rng=self._rng,
        )

    def _attack(self, free: Ints) -> None:
        crowd = self._crowd()
        trades = self._adversary.trades(crowd)
        ones = np.ones(len(trades.raters))
        self._talk.rate(Outcomes(trades.raters, trades.subjects, ones, ones))
        if self._town.traits.posts.any():
            self._post_hostile(crowd, free)

    def _post_hostile(self, crowd: Crowd, free: Ints) -> None:
        """Let each malicious principal give away a task, under any of its identities."""
        posters = hostile_posters(self._town.traits, self._rng)
        numbers = posters + crowd.first
        asked = self._rng.choice(crowd.honest, (len(posters), ASKED_BY_HOSTILE))
        is_willing = ~self._sight.declines(asked, numbers[:, None])
        wishes = np.where(is_willing, self._rng.random(asked.shape), -np.inf)
        workers = award(wishes, asked, free, self._rng.permutation(len(posters)))
        posters, workers = posters[workers != NOBODY], workers[workers != NOBODY]
        good = self._rng.random(len(workers)) < self._town.quality[workers]
        verdicts = self._adversary.verdicts(crowd, posters, workers, good)
        self._done += np.bincount(workers, minlength=self._town.size)
        self._rate(judged(posters + crowd.first, workers, good, verdicts))
        self._counts.for_nothing += int((good & (verdicts <= 0)).sum())
        self._counts.honest_jobs += int(good.sum())

    def _rename(self) -> None:
        """Give those a new name who have used theirs up."""
        town = self._town
        limit = town.traits.jobs_per_identity
        is_old = (limit > 0) & (self._done[town.honest :] >= limit)
        renamed = np.flatnonzero(is_old) + town.honest
        if len(renamed):
            self._talk.forget(renamed)
            is_renamed = np.zeros(town.size, bool)
            is_renamed[renamed] = True
            town.vouches.forget(is_renamed)
            self._done[renamed] = 0
