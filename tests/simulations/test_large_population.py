"""The large population scores as the product does, and comes to what the small one comes to."""

import os
import subprocess
import sys
from dataclasses import asdict
from typing import get_args

import numpy as np
import pytest
from tests.scoring import Rating, agent, book_of
from tests.simulations.rated_towns import SEEDS, SIZE, random_town, scorers_of

from bazaar_protocol.errors import ConfigError
from bazaar_reputation.findings import Role
from bazaar_simulations.adversaries.adversary import Ints
from bazaar_simulations.adversaries.registry import ADVERSARIES
from bazaar_simulations.population import market as small
from bazaar_simulations.population.defences import Outcomes
from bazaar_simulations.population.evidence import Evidence
from bazaar_simulations.population.large import sight
from bazaar_simulations.population.large.hearing import are_among, hear, vouched_for
from bazaar_simulations.population.large.market import run
from bazaar_simulations.population.large.opinions import EMPTY, NOT_THERE, Opinions
from bazaar_simulations.population.large.sight import Watching
from bazaar_simulations.population.large.talk import Talk
from bazaar_simulations.population.large.town import Vouches
from bazaar_simulations.population.large.walks import Walks
from bazaar_simulations.population.setting import Setting

EXACT = Watching(watched=10_000, walks_every=1, reviews_every=1, deaf_below=0.0)


def ones(*numbers: int) -> Ints:
    return np.array(numbers, np.int64)


def talk_of(ratings: list[Rating], honest: int) -> Talk:
    talk = Talk(honest, SIZE)
    for one in ratings:
        assert one.rater is not None
        for jobs in (one.good, -one.bad):
            talk._say(one.role, ones(one.rater), ones(one.subject), np.array([jobs]))
    talk.pass_round()
    return talk


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_those_of_the_product(seed: int) -> None:
    ratings, vouches = random_town(seed)
    talk, egos = talk_of(ratings, honest=9), np.arange(SIZE)
    answers = Vouches(SIZE, *np.nonzero(vouches))
    voices = Walks(talk, SEEDS, epsilon=1e-9).voices(egos)
    vouched = vouched_for(voices, answers, SIZE)
    book = book_of(ratings, [(int(one), int(other)) for one, other in np.argwhere(vouches)])
    scorers = scorers_of(book)
    known = zip(voices.owners, voices.agents, voices.weights, strict=True)
    weights = {(int(ego), int(other)): weight for ego, other, weight in known}
    for role in get_args(Role):
        heard = hear(talk, voices, answers, role)
        for ego, scorer in enumerate(scorers):
            for subject in set(range(SIZE)) - {ego}:
                true = scorer.score(agent(subject), role)
                good, bad = heard.of(np.array([ego]), np.array([subject]))
                assert good[0] == pytest.approx(true.good, abs=1e-4)
                assert bad[0] == pytest.approx(true.bad, abs=1e-4)
                is_vouched = are_among(vouched, np.array([ego * SIZE + subject]))[0]
                assert is_vouched == (true.admission == "vouched")
                weight = weights.get((ego, subject), 0.0)
                assert weight == pytest.approx(scorer.weight(agent(subject)), abs=1e-4)


def test_opinions_fade_as_those_of_the_small_population() -> None:
    rng = np.random.default_rng(5)
    exact, rows = Evidence(20), Opinions(20, 20)
    for _ in range(30):
        raters, subjects = rng.integers(0, 20, (2, 40))
        raters, subjects = raters[raters != subjects], subjects[raters != subjects]
        jobs = rng.choice([1.0, -1.0, -0.3], len(raters))
        exact.say("worker", raters, subjects, jobs)
        exact.write(raters, 3)
        rows.say(raters, subjects, jobs)
        rows.write(raters, 3)
        exact.pass_round()
        rows.pass_round()
    everybody = np.tile(np.arange(20), (20, 1))
    places = rows.places(np.arange(20), everybody)
    lines, columns = np.nonzero(places != NOT_THERE)
    good, bad = rows.at(lines, places[lines, columns])
    assert exact.good["worker"].sum() == pytest.approx(good.sum(), rel=1e-5)
    assert good == pytest.approx(exact.good["worker"][lines, columns], rel=1e-4)
    assert bad == pytest.approx(exact.bad["worker"][lines, columns], rel=1e-4)


def test_opinions_fade_for_as_long_as_one_likes() -> None:
    rows = Opinions(1, 4)
    for number in range(3_000):
        rows.say(ones(0), ones(1), np.array([1.0 if number else -1.0]))
        rows.write(ones(0), 2)
        rows.pass_round()
    good, bad = rows.at(ones(0), rows.places(ones(0), ones(1)[:, None])[0])
    assert good[0] == pytest.approx(1 / (1 - 0.98), rel=1e-3)
    assert bad[0] == pytest.approx(0.99**2_999, abs=1e-12)


def test_a_full_row_forgets_whom_it_met_first() -> None:
    rows = Opinions(2, 4)
    for subject in range(6):
        rows.say(ones(0, 1), ones(subject, 9), np.ones(2))
        rows.pass_round()
    assert sorted(rows.rows(ones(0)).subjects[0]) == [2, 3, 4, 5]
    assert rows.at(ones(1), rows.places(ones(1), ones(9)[:, None])[0])[0] == pytest.approx(6)


def test_who_has_a_new_name_is_nobody_yet() -> None:
    talk = Talk(2, 4)
    talk.rate(Outcomes(ones(0, 2), ones(2, 3), np.ones(2), np.ones(2)))
    talk.pass_round()
    assert (talk.rows("worker", ones(0, 2)).subjects != EMPTY).sum() == 2
    talk.forget(ones(2))
    assert (talk.rows("worker", ones(0, 2)).subjects == EMPTY).all()


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["ring", "never-signing poster"])
def test_with_everybody_watched_it_comes_to_what_the_small_one_comes_to(attack: str) -> None:
    """They draw chance in another order, so means over seeds are compared."""
    every = [Setting(attack, seed=seed, principals=60, rounds=60) for seed in range(4)]
    large = [asdict(run(one, watching=EXACT)) for one in every]
    exact = [asdict(small.run(one)) for one in every]
    near = {"bad": 0.02, "goodput": 0.03, "probes": 0.01, "messages": 2.0,
            "failed_malicious": 0.015, "damage": 0.8, "for_nothing": 0.05}  # fmt: skip
    for figure in near:
        means = [np.mean([one[figure] for one in runs]) for runs in (large, exact)]
        assert means[0] == pytest.approx(means[1], abs=near[figure]), figure


@pytest.mark.parametrize("attack", sorted(set(ADVERSARIES) - {"retaliator"}))
def test_every_adversary_attacks_a_large_town(attack: str) -> None:
    figures = asdict(run(Setting(attack, principals=300, rounds=8), watching=Watching(40)))
    shares = {name: value for name, value in figures.items()
              if name not in {"messages", "kilobytes", "damage", "newcomers"}}  # fmt: skip
    assert all(0 <= value <= 1 for value in shares.values()), shares
    assert figures["goodput"] > 0.05


def test_adversaries_attack_a_large_town_together() -> None:
    mix = (("Sybil x10", 0.1), ("slanderer", 0.2))
    figures = run(Setting(mix=mix, share=0.3, principals=400, rounds=20), watching=Watching(60))
    assert figures.damage > 0
    assert figures.for_nothing > 0


def test_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting("slanderer", principals=300, rounds=10)
    alone = run(setting, watching=Watching(40))
    monkeypatch.setattr(sight, "_ALONE_MOST", 50)
    assert run(setting, watching=Watching(40)) == alone


def test_what_needs_everybody_s_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="fewer agents"):
        run(Setting("retaliator"))
    with pytest.raises(ConfigError, match="only our defence"):
        run(Setting("ring", "beta"))


def test_one_seed_is_one_run_in_any_process() -> None:
    program = (
        "from bazaar_simulations.population.large.market import run\n"
        "from bazaar_simulations.population.setting import Setting\n"
        "print(run(Setting('spies', principals=300, rounds=15, seed=SEED)))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program.replace("SEED", str(seed))],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "OPENBLAS_NUM_THREADS": "1"},
            check=True, capture_output=True,
        ).stdout
        for seed, hash_seed in ((7, "1"), (7, "2"), (8, "1"))
    ]  # fmt: skip
    assert said[0] == said[1] != said[2]
