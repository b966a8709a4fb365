"""The market of many: each part of the defence is needed, and one seed is one run."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.adversaries.adversary import Adversary, Bools, Crowd, Jobs, Ratings
from bazaar_simulations.adversaries.registry import ADVERSARIES, adversary
from bazaar_simulations.population.auction import NOBODY, award
from bazaar_simulations.population.defences import DEFENCES
from bazaar_simulations.population.eigentrust_check import Network, bad_downloads, of_share
from bazaar_simulations.population.figures import Figures
from bazaar_simulations.population.intervals import interval
from bazaar_simulations.population.market import run
from bazaar_simulations.population.setting import PARTS, PROPOSALS, Setting

SEEDS = range(2)


def mean(setting: Setting, figure: str) -> float:
    return float(np.mean([getattr(run(setting.with_seed(seed)), figure) for seed in SEEDS]))


def town(attack: str, *off: str, defence: str = "ours", share: float = 0.4) -> Setting:
    return Setting(attack, defence, share, off=frozenset(off), principals=50, rounds=50)


# What the defence holds back, and what gets through without a part of it. The attack of each pair
# is the one that the part is for.


def test_sybils_do_more_damage_without_the_walk_and_win_when_nobody_is_doubted() -> None:
    whole, no_walk = town("Sybil x10"), town("Sybil x10", "walk")
    assert mean(whole, "bad") < 0.15
    assert mean(no_walk, "damage") > 1.5 * mean(whole, "damage")
    assert mean(town("Sybil x10", "walk", "credibility"), "bad") > 0.6


def test_a_ring_gets_nowhere_and_does_damage_when_its_word_counts() -> None:
    assert mean(town("ring"), "bad") < 0.06
    doubted_by_nobody = town("ring", "walk", "credibility")
    assert mean(doubted_by_nobody, "damage") > 5 * mean(town("ring"), "damage")


def test_slander_does_nothing_and_starves_the_market_where_receipts_are_not_needed() -> None:
    assert mean(town("slanderer"), "goodput") > 0.92
    assert mean(town("slanderer", "receipts", "walk", "credibility"), "goodput") < 0.8


def test_newcomers_get_work_because_strangers_are_judged_by_how_strangers_did() -> None:
    assert mean(town("independent", share=0.2), "newcomers") > 0.7
    assert mean(town("independent", "priors", share=0.2), "newcomers") < 0.3


def test_who_never_signs_gets_little_for_nothing_while_credit_is_limited() -> None:
    whole, generous = town("never-signing poster"), town("never-signing poster", "credit")
    assert mean(whole, "for_nothing") < 0.15
    assert mean(generous, "for_nothing") > 1.5 * mean(whole, "for_nothing")


def test_sybils_do_more_damage_where_nobody_may_be_declined() -> None:
    whole, obliging = town("Sybil x10"), town("Sybil x10", "declining")
    assert mean(obliging, "damage") > 1.2 * mean(whole, "damage")


def test_probes_cost_what_they_may_and_find_newcomers() -> None:
    whole = town("ring")
    assert 0.01 < mean(whole, "probes") <= 0.042
    assert mean(town("ring", "probes"), "probes") == 0


@pytest.mark.parametrize("defence", DEFENCES)
def test_everybody_is_served_well_where_nobody_attacks(defence: str) -> None:
    figures = run(town("independent", defence=defence, share=0.0))
    assert figures.malicious == figures.failed_malicious == figures.damage == 0
    assert 0.01 < figures.bad < 0.1


def test_no_defence_is_none() -> None:
    assert mean(town("independent", defence="none"), "bad") > 0.35


@pytest.mark.parametrize("name", ADVERSARIES)
def test_every_adversary_has_its_day(name: str) -> None:
    assert adversary(name).name == name
    kind = ADVERSARIES[name]
    assert kind.source
    assert kind.observable
    assert kind.metric
    figures = asdict(run(Setting(name, principals=20, rounds=14, seed=3)))
    shares = {key: value for key, value in figures.items()
              if key not in {"messages", "damage", "newcomers", "kilobytes"}}  # fmt: skip
    assert all(0 <= value <= 1 for value in shares.values()), shares


@pytest.mark.parametrize("part", PARTS)
def test_every_part_can_be_taken_out(part: str) -> None:
    # Without receipts slander is heard, but by nobody who goes by the walk.
    others = {"walk"} if part == "receipts" else set[str]()
    attack = "Sybil x10" if part == "declining" else "slanderer"
    setting = Setting(attack, principals=30, rounds=30, off=frozenset(others))
    assert run(replace(setting, off=frozenset({part, *others}))) != run(setting)


@pytest.mark.parametrize("change", PROPOSALS)
def test_every_change_that_is_tried_changes_something(change: str) -> None:
    setting = Setting("ring + Sybil + slander", principals=30, rounds=40)
    changed = Setting(setting.attack, principals=30, rounds=40, tried=frozenset({change}))
    assert run(changed) != run(setting)


def test_an_adversary_of_ones_own_is_a_class_with_what_it_does() -> None:
    class Saboteur(Adversary):
        name = "saboteur"

        def delivers(self, jobs: Jobs) -> Bools:
            return jobs.none()

        def trades(self, crowd: Crowd) -> Ratings:
            return Ratings.nothing()

    assert run(town("ring", defence="none"), Saboteur()).bad > 0.35


def test_unknown_names_are_told() -> None:
    with pytest.raises(ConfigError, match="is not an adversary"):
        run(Setting("nobody"))
    with pytest.raises(ConfigError, match="is not a defence"):
        run(Setting(defence="prayer"))


def figures_elsewhere(seed: int, hash_seed: int) -> Figures:
    program = (
        "import json, dataclasses\n"
        "from bazaar_simulations.population.market import run\n"
        "from bazaar_simulations.population.setting import Setting\n"
        f"setting = Setting('spies', principals=30, rounds=20, seed={seed})\n"
        "print(json.dumps(dataclasses.asdict(run(setting))))"
    )
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    return Figures(**json.loads(answer))


def test_one_seed_is_one_run_in_any_process() -> None:
    first = figures_elsewhere(seed=7, hash_seed=1)
    assert first == figures_elsewhere(seed=7, hash_seed=2)
    assert first != figures_elsewhere(seed=8, hash_seed=1)


def test_whom_too_many_ask_for_takes_the_first_and_the_rest_ask_the_next() -> None:
    wishes = np.array([[0.9, 0.5], [0.9, 0.5], [0.9, -np.inf]])
    bidders = np.array([[4, 5], [4, 5], [4, 5]])
    free = np.array([0, 0, 0, 0, 1, 3])
    chosen = award(wishes, bidders, free, np.array([2, 0, 1]))
    assert chosen.tolist() == [5, 4, NOBODY]
    assert free.tolist() == [0, 0, 0, 0, 0, 2]


def test_nobody_ever_works_more_than_it_can() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        free = rng.integers(0, 3, 12)
        before = free.copy()
        wishes = np.where(rng.random((30, 6)) < 0.3, -np.inf, rng.random((30, 6)))
        bidders = rng.integers(0, 12, (30, 6))
        chosen = award(wishes, bidders, free, rng.permutation(30))
        taken = np.bincount(chosen[chosen != NOBODY], minlength=12)
        assert (before - taken == free).all()
        assert (free >= 0).all()
        for poster in np.flatnonzero(chosen == NOBODY):
            assert (free[bidders[poster][wishes[poster] > -np.inf]] == 0).all()


def test_an_interval_is_as_wide_as_student_says() -> None:
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / 3**0.5))
    assert interval([4.0]) == (4.0, None)


def test_eigentrust_comes_out_as_published() -> None:
    for threat in ("A", "B"):
        network = of_share(threat, 0.7)
        assert bad_downloads(network) < 0.3
        assert bad_downloads(replace(network, uses_trust=False)) > 0.7
    half = bad_downloads(Network("C", 50, 20, bad_files=0.5))
    assert half > 2 * bad_downloads(Network("C", 50, 20, bad_files=0.1))
    assert half > 2 * bad_downloads(Network("C", 50, 20, bad_files=1.0))
