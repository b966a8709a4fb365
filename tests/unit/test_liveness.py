"""No task waits while somebody would do it: whoever was down, late or unlucky comes back to it."""

from typing import Any

import pytest
from tests.routed_market import RoutedMarket

from bazaar_protocol.records import RecordId
from bazaar_protocol.task import State

CAPABILITY = "table.extract"
LEASE = {"schedule_to_start_ms": 2_000, "heartbeat_timeout_ms": 6_000}


@pytest.fixture
def market() -> RoutedMarket:
    market = RoutedMarket()
    market.add("ada")
    market.add("bo", capability=CAPABILITY, price=40)
    market.add("cy", capability=CAPABILITY, price=35)
    return market


def auction(market: RoutedMarket, **more: Any) -> RecordId:
    """Post a task that the relay offers to all, and let them bid."""
    given: dict[str, Any] = LEASE | {"price_max": 100, "bid_window_ms": 500} | more
    return market.post("ada", capability=CAPABILITY, **given)


def holder(market: RoutedMarket, task: RecordId) -> tuple[State, int, str]:
    seen = market.task("ada", task)
    names = [name for name, one in market.traders.items() if one.keys.agent == seen.worker]
    return seen.state, seen.epoch, "".join(names)


def check_all_agree(market: RoutedMarket, task: RecordId) -> None:
    """The relay, which hears things in an order of its own, comes to the same end."""
    ours, theirs = market.task("ada", task), market.folds[task]
    assert (ours.state, ours.epoch, ours.attempts) == (theirs.state, theirs.epoch, theirs.attempts)


def test_an_award_stays_good_for_a_worker_that_is_late(market: RoutedMarket) -> None:
    del market.traders["bo"]
    task = auction(market)
    market.cut_off("cy")
    market.wait(10)
    assert holder(market, task) == (State.AWARDED, 1, "cy")
    market.come_back("cy")
    assert holder(market, task) == (State.RUNNING, 1, "cy")


def test_a_direct_task_waits_for_its_worker_without_a_word(market: RoutedMarket) -> None:
    worker = market.traders["bo"].keys.agent.hex()
    market.cut_off("bo")
    given: dict[str, Any] = LEASE | {"worker": worker, "price": 50, "expires_in_ms": 60_000}
    task, lost = (market.post("ada", capability=CAPABILITY, **given) for _ in range(2))
    market.wait(30)
    assert [record.kind for record in market.traders["ada"].log].count("award") == 2
    market.come_back("bo")
    assert holder(market, task) == (State.RUNNING, 1, "bo")
    assert market.task("ada", lost).state is State.FAILED  # declined: it has one slot


def test_an_award_that_nobody_ever_accepts_ends_with_the_post(market: RoutedMarket) -> None:
    task = auction(market, expires_in_ms=60_000)
    market.cut_off("bo")
    market.cut_off("cy")
    market.wait(59)
    assert market.task("ada", task).state is State.AWARDED
    market.wait(2)
    assert market.task("ada", task).state is State.EXPIRED
    for name in ("bo", "cy"):
        market.come_back(name)
        market.wait(7)
        assert market.traders[name].agent.load == 0


def test_a_late_worker_is_told_who_has_its_task_and_bids_for_the_next_time(
    market: RoutedMarket,
) -> None:
    task = auction(market)
    market.cut_off("cy")
    market.wait(3)
    assert holder(market, task) == (State.RUNNING, 2, "bo")
    market.come_back("cy")
    assert ("lease_lost", "it was awarded to another") in market.traders["cy"].notes
    assert market.traders["cy"].agent.load == 0
    market.end("bo", fails=True)
    assert holder(market, task) == (State.RUNNING, 3, "cy")
    check_all_agree(market, task)


def test_a_bid_that_comes_while_an_award_waits_in_vain_is_awarded_at_once(
    market: RoutedMarket,
) -> None:
    bo = market.traders.pop("bo")
    task = auction(market)
    market.cut_off("cy")
    market.wait(5)
    assert holder(market, task) == (State.AWARDED, 1, "cy")
    market.traders["bo"] = bo
    post = market.task("ada", task).post
    market.arrive("bo", post)
    assert holder(market, task) == (State.RUNNING, 2, "bo")


@pytest.mark.parametrize("delivers", [False, True])
def test_the_next_award_overrules_an_attempt_of_which_the_sequencer_had_not_heard(
    market: RoutedMarket, *, delivers: bool
) -> None:
    task = auction(market)
    market.cut_off("cy")
    market.wait(1)
    market.cut_off("ada", unnoticed=True)
    market.come_back("cy")
    assert market.folds[task].state is State.RUNNING
    if delivers:
        market.end("cy")
    market.wait(3)
    assert holder(market, task) == (State.AWARDED, 2, "bo")
    market.come_back("ada")
    assert holder(market, task) == (State.RUNNING, 2, "bo")
    check_all_agree(market, task)
    assert market.traders["cy"].agent.load == 0
    market.end("bo", fails=True)
    assert holder(market, task) == (State.RUNNING, 3, "cy")
    market.end("cy")
    market.judge_all()
    assert [market.task(name, task).state for name in ("ada", "cy")] == [State.ACCEPTED] * 2
    check_all_agree(market, task)


def test_a_breach_overrules_a_result_that_came_too_late(market: RoutedMarket) -> None:
    del market.traders["bo"]
    task = auction(market)
    market.wait(1)
    market.cut_off("ada", unnoticed=True)
    market.end("cy")
    market.wait(7)
    assert market.task("ada", task).state is State.OPEN
    market.come_back("ada")
    assert holder(market, task) == (State.RUNNING, 2, "cy")
    check_all_agree(market, task)


def test_a_worker_that_fails_tries_again_until_no_attempt_is_left(market: RoutedMarket) -> None:
    del market.traders["bo"]
    task = auction(market, attempts_max=3)
    market.wait(1)
    for epoch in (1, 2, 3):
        assert holder(market, task) == (State.RUNNING, epoch, "cy")
        market.end("cy", fails=True)
        market.wait(4)
        assert market.task("ada", task).state is not State.RUNNING  # others would go first
        market.wait(20)
    assert market.task("ada", task).state is State.FAILED


def test_bids_that_came_to_nothing_make_room(market: RoutedMarket) -> None:
    market.traders["bo"].is_cut_off = True
    task = auction(market, bidders_max=1)
    market.wait(1)
    market.end("cy", fails=True)
    assert market.task("ada", task).state is State.OPEN
    market.come_back("bo")
    assert holder(market, task) == (State.RUNNING, 2, "bo")


def test_who_hears_nothing_takes_silence_for_nothing(market: RoutedMarket) -> None:
    task = auction(market)
    market.cut_off("cy")
    market.wait(1)
    market.cut_off("ada")
    market.wait(9)
    assert holder(market, task) == (State.AWARDED, 1, "cy")
    market.add("dee")  # has nothing to offer, and says so before the accept comes
    market.arrive("dee", market.task("ada", task).post)
    market.come_back("cy")
    market.come_back("ada")
    assert holder(market, task) == (State.RUNNING, 1, "cy")
