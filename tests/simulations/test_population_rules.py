"""The population's rules are the product's: who is asked, who is paid, what a bid is worth."""

from dataclasses import replace

import numpy as np
import pytest
from tests.market import Market
from tests.told_opinions import ToldOpinions, known

from bazaar_node.market.credit import SHARE
from bazaar_node.market.events import Outgoing
from bazaar_node.market.invitations import INVITED_MAX, TOP, guests as products_guests
from bazaar_node.market.opinions import Standing
from bazaar_node.market.policy import MAX_ON_CREDIT, Candidate, MaxOnCredit
from bazaar_protocol.award import EXPECTED_VALUE, SCALE, Offer, choose
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import BidTerms
from bazaar_protocol.records import RecordId, unseal
from bazaar_simulations.adversaries.adversary import Bools, Crowd, Floats, Jobs
from bazaar_simulations.adversaries.registry import adversary
from bazaar_simulations.population import asking, rules
from bazaar_simulations.population.awarding import Auctions, Tasks
from bazaar_simulations.population.credit import Credit
from bazaar_simulations.population.defences import View, defence
from bazaar_simulations.population.market import run
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.town import Town, settle

CAPABILITY = "table.extract"


def identities(count: int) -> list[AgentId]:
    return [AgentId(number.to_bytes(32)) for number in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_those_are_asked_who_may_be_asked_by_the_product(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permutation(np.linspace(0.2, 0.9, 40))[None, :]
    is_known, is_vouched = rng.random((2, 1, 40)) < 0.5
    view = View(scores, 0.4, is_known, is_vouched, is_known, ~is_known)
    good, vouched = asking.welcome(view, np.array([0]))
    first = asking.best_of(good, scores)
    ids = identities(40)
    told = ToldOpinions(
        {ids[n]: known(int(scores[0, n] * SCALE)) for n in np.flatnonzero(is_known[0])},
        answered_for=[ids[n] for n in np.flatnonzero(vouched[0])],
    )
    standing_high = [one for one in told.best(TOP, "") if told.workers[one].points > 4_000]
    assert {ids[n] for n in np.flatnonzero(first[0])} == set(standing_high)
    for may_be in (first, good, good & (rng.random(good.shape) < 0.1)):
        picked, is_guest = asking.guests(rng, may_be, vouched)
        invited = picked[is_guest]
        count = min(int((may_be | vouched).sum()), INVITED_MAX)
        assert len(set(invited)) == len(invited) == count
        asked = [ids[n] for n in np.flatnonzero(~may_be[0] & ~vouched[0])]
        true = products_guests(told, "", bytes, asked=asked, among=1_024)
        assert len(true) == count
        # As many of the good as there are come first, then strangers who are vouched for.
        assert may_be[0, invited].sum() == sum(one in told.workers for one in true)


def test_credit_is_used_up_when_the_product_says_so() -> None:
    credit, rng = Credit(2, 6), np.random.default_rng(1)
    unpaid, accepted, fair = dict.fromkeys(range(6), 0), 0, set[int]()
    for _ in range(400):
        poster, is_good = int(rng.integers(0, 6)), bool(rng.random() < 0.5) and poster_is_fair(rng)
        credit.note(np.array([poster]), np.array([1]), np.array([is_good]))
        if is_good:
            accepted, unpaid[poster] = accepted + 1, 0
            fair.add(poster)
        elif poster not in fair:
            unpaid[poster] += 1
        refused = credit.refuses(np.array([0, 1]), np.zeros((2, 6), bool))
        assert not refused[0].any()
        for one in range(6):
            candidate = Candidate(
                AgentId(bytes(32)), Standing(), is_fair=one in fair,
                on_credit=sum(unpaid.values()), earned=accepted // SHARE,
            )  # fmt: skip
            assert refused[1, one] == (MaxOnCredit().objection(candidate) is not None)


def poster_is_fair(rng: np.random.Generator) -> bool:
    return bool(rng.random() < 0.03)


def test_credit_is_for_those_of_whom_nothing_good_is_heard_and_outlives_a_name() -> None:
    credit = Credit(1, 3)
    credit.note(np.full(MAX_ON_CREDIT, 1), np.zeros(MAX_ON_CREDIT, int), np.zeros(4, bool))
    heard = np.array([[False, False, True]])
    assert credit.refuses(np.array([0]), heard).tolist() == [[True, True, False]]
    credit.forget(np.array([1]))
    assert credit.refuses(np.array([0]), heard).tolist() == [[True, True, False]]


def auctions(setting: Setting) -> tuple[Auctions, Town]:
    rng = np.random.default_rng(3)
    town = settle(setting, adversary("ring"), rng)
    return Auctions(setting, defence(setting, town), town, rng), town


def tasks_of(town: Town, view: View, receipts: int) -> Tasks:
    posters = town.egos
    everyone = np.full(len(posters), receipts)
    return Tasks(posters, np.full(len(posters), 9.0), everyone, view, view.declines)


def seen(town: Town, is_known: Bools | None = None, scores: Floats | None = None) -> View:
    """Return the view of posters who know nobody, but for what is said."""
    nobody = np.zeros((len(town.egos), town.size), bool)
    low = np.full(nobody.shape, 0.2) if scores is None else scores
    known_ones = nobody if is_known is None else is_known
    return View(low, 0.4, known_ones, nobody, ~nobody, nobody)


def test_strangers_get_work_from_the_new_and_nothing_from_the_seasoned() -> None:
    held, town = auctions(Setting(principals=20, bidders=4))
    free = np.full(town.size, 3)
    awarded = held.hold(tasks_of(town, seen(town), receipts=0), free.copy())
    assert (awarded.chosen >= 0).all()
    assert (awarded.bidders <= 4).all(), "nobody had to be asked again"
    one = np.zeros((len(town.egos), town.size), bool)
    one[:, 0] = True
    friends = seen(town, is_known=one, scores=np.where(one, 0.9, 0.2))
    awarded = held.hold(tasks_of(town, friends, receipts=0), free.copy())
    assert (awarded.chosen == 0).sum() == 3, "as many as the only good one can do"
    assert (awarded.chosen >= 0).all()
    assert (awarded.bidders <= 5).all(), "nor did anybody wait for a better one"
    turned = held.hold(tasks_of(town, friends, receipts=10), free.copy())
    assert set(turned.chosen) == {-1, 0}
    assert (turned.bidders > 4).any()


def test_nobody_is_asked_twice_or_by_itself() -> None:
    held, town = auctions(Setting(principals=60, bidders=6))
    everybody = np.ones((len(town.egos), town.size), bool)
    high = seen(town, is_known=everybody, scores=np.full(everybody.shape, 0.9))
    busy = np.zeros(town.size, np.int64)
    awarded = held.hold(tasks_of(town, high, receipts=10), busy)
    assert (awarded.chosen == -1).all()
    bids = awarded.bids
    for row, poster in enumerate(town.egos):
        named = bids.bidders[row][bids.is_bid[row]]
        assert poster not in named
        assert len(named) > 3 * INVITED_MAX
        assert len(set(named[-INVITED_MAX:])) == INVITED_MAX


def test_a_bid_is_worth_what_the_protocol_says() -> None:
    setting = Setting(principals=20, price_spread=0.2)
    held, town = auctions(setting)
    rng = np.random.default_rng(5)
    ceiling = 10_000
    for _ in range(50):
        bidders = rng.choice(town.size, 6, replace=False)
        scores = rng.random(6)
        offers = [
            Offer(
                RecordId(int(one).to_bytes(32)), AgentId(int(one).to_bytes(32)),
                BidTerms(round(float(town.prices[one]) * ceiling), 1, 1, 1),
                round(float(scores[place]) * SCALE),
            )
            for place, one in enumerate(bidders)
        ]  # fmt: skip
        best = choose(EXPECTED_VALUE, ceiling, offers)
        assert best is not None
        values = held._expected(scores[None, :], bidders[None, :])
        assert int.from_bytes(best.worker) == bidders[values[0].argmax()]


def test_prices_that_differ_change_something_and_the_malicious_are_the_cheapest() -> None:
    _, town = auctions(Setting(principals=40, price_spread=0.2))
    honest, others = town.prices[: town.honest], town.prices[town.honest :]
    assert others == pytest.approx(0.4)
    assert 0.4 <= honest.min() < 0.5 < 0.7 < honest.max() <= 0.8
    small = Setting("ring", principals=30, rounds=20)
    assert run(replace(small, price_spread=0.2)) != run(small)


def test_bytes_are_those_of_a_trade() -> None:
    market = Market()
    market.add("ada")
    for number in range(rules.OFFERS_MAX + 2):
        market.add(f"worker {number}", capability=CAPABILITY, price=40)
    task = market.post("ada", capability=CAPABILITY, price_max=100, bid_window_ms=1_000)
    market.wait(1.1)
    winner = next(name for name, one in market.traders.items()
                  if one.keys.agent == market.task("ada", task).worker)  # fmt: skip
    market.finish(winner, task)
    market.judge("ada", task)
    sizes = {
        unseal(change.raw).kind: len(change.raw)
        for trader in market.traders.values()
        for change in trader.changes
        if isinstance(change, Outgoing) and change.to is None
    }
    offers = rules.BYTES_PER_OFFER * rules.OFFERS_MAX
    per_job = sum(sizes[kind] for kind in ("post", "award", "accept", "deliver", "verdict"))
    assert rules.BYTES_PER_JOB + offers == pytest.approx(per_job, rel=0.03)
    assert sizes["post"] + sizes["bid"] == pytest.approx(rules.BYTES_PER_BID, rel=0.03)


def crowd(size: int) -> Crowd:
    met = np.zeros((size, size), bool)
    return Crowd(size, size, 0, np.arange(0), met, 0, 9, np.random.default_rng(1))


def test_who_hoards_leases_takes_more_than_it_can_do() -> None:
    hog = adversary("lease hog")
    assert hog.traits(2).takes.tolist() == [5, 5]
    workers, ones = np.array([0, 1, 0, 0, 0, 1, 0]), np.ones(7)
    jobs = Jobs(crowd(2), workers, workers, ones, workers, ones, is_probe=False)
    assert hog.delivers(jobs).tolist() == [True, True, True, True, False, True, False]
    small = Setting("lease hog", principals=40, rounds=40)
    assert run(small).failed_malicious > 0.01


def test_what_passes_for_good_does_so_nowhere_but_where_nobody_knows_the_answer() -> None:
    traits, rng = adversary("false completion").traits(1), np.random.default_rng(2)
    bad, members = np.zeros(1_000, bool), np.zeros(1_000, np.int64)
    assert rules.passes(bad, members, traits, rng, is_probe=False).mean() == pytest.approx(0.5, 0.1)
    assert not rules.passes(bad, members, traits, rng, is_probe=True).any()
