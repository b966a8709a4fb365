"""Adversaries side by side: each does what it does alone, to the share it was given."""

import numpy as np
import pytest

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.adversaries.adversary import Crowd, Jobs
from bazaar_simulations.adversaries.colluders import Ring, Sybil
from bazaar_simulations.adversaries.posters import NeverSigning, Slanderer
from bazaar_simulations.adversaries.registry import ADVERSARIES
from bazaar_simulations.adversaries.workers import ClaimAndStall, Traitor, Whitewasher
from bazaar_simulations.population.market import run
from bazaar_simulations.population.mixture import mixed, mixture
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.sweep import sweep

SMALL = Setting(principals=30, rounds=20, seed=4)


def crowd(size: int, principals: int, honest: int = 6) -> Crowd:
    return Crowd(
        size=size,
        principals=principals,
        first=honest,
        honest=np.arange(honest),
        bad_met=np.zeros((size, honest + size), bool),
        round=9,
        rounds=10,
        rng=np.random.default_rng(1),
    )


@pytest.mark.parametrize("name", ADVERSARIES)
def test_a_mixture_of_one_is_that_one_to_the_digit(name: str) -> None:
    alone = Setting(name, share=0.3, principals=20, rounds=12, seed=2)
    assert run(mixed([(name, 0.3)], alone)) == run(alone)


def test_members_of_each_part_are_what_they_are_alone() -> None:
    traits = mixture([("Sybil x10", 0.2), (ClaimAndStall(), 0.1), (Whitewasher(), 0.1)]).traits(8)
    assert np.bincount(traits.owner).tolist() == [10, 10, 10, 10, 1, 1, 1, 1]
    assert np.flatnonzero(traits.breaks_leases).tolist() == [40, 41]
    assert np.flatnonzero(traits.jobs_per_identity).tolist() == [42, 43]


def test_each_part_does_its_own_work_and_praises_its_own() -> None:
    attackers = mixture([(Sybil(), 1), (NeverSigning(), 1), (Ring(), 1)])
    whole = crowd(size=24, principals=6)
    praised = attackers.trades(whole)
    firsts = {tuple(np.searchsorted([26, 28], (one, other), side="right"))
              for one, other in zip(praised.raters, praised.subjects, strict=True)}  # fmt: skip
    assert firsts == {(0, 0), (2, 2)}
    workers = np.arange(24)
    jobs = Jobs(whole, workers, np.zeros(24, int), np.ones(24), np.zeros(24, int), np.ones(24),
                is_probe=False)  # fmt: skip
    assert np.flatnonzero(attackers.delivers(jobs)).tolist() == [20, 21]


def test_each_part_judges_in_its_own_way() -> None:
    attackers = mixture([(Traitor(), 1), (Slanderer(), 1), (NeverSigning(), 1)])
    said = attackers.verdicts(crowd(3, 3), np.arange(3), np.zeros(3, int), np.ones(3, bool))
    assert said.tolist() == [1, -1, 0]


def test_all_parts_are_felt() -> None:
    both = run(mixed([("ring", 0.2), ("never-signing poster", 0.2)], SMALL))
    assert both.for_nothing > run(Setting("ring", share=0.4, principals=30, rounds=20)).for_nothing
    assert both.damage > 0


def test_a_mixture_can_be_run_elsewhere() -> None:
    setting = mixed([("ring", 0.2), ("slanderer", 0.1)], SMALL)
    assert setting.attack == "ring 20% + slanderer 10%"
    assert setting.share == pytest.approx(0.3)
    ((_, row),) = sweep([setting], [4]).items()
    assert row["bad"].mean == pytest.approx(run(setting).bad)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([], "a mixture has parts"),
        ([("ring", 0.0)], "above 0"),
        ([("nobody", 0.1)], "is not an adversary"),
        ([("ring", 0.5), ("spies", 0.45)], "at most 90% are malicious"),
    ],
)
def test_a_mixture_of_nothing_or_too_much_is_refused(
    parts: list[tuple[str, float]], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        mixed(parts)
