"""The pure agent: whole trades, without a socket, a clock or a disk."""

import pytest
from tests.market import Market

from bazaar_node.market.events import (
    Cancelled,
    Judge,
    Judged,
    RefusedByRelay,
    StartWork,
    StopWork,
    WorkFailed,
)
from bazaar_protocol.errors import StaleEpoch
from bazaar_protocol.log import check_segment
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import State

CAPABILITY = "table.extract"


@pytest.fixture
def market() -> Market:
    market = Market()
    market.add("ada")
    market.add("bo", capability=CAPABILITY, price=40)
    market.add("cy", capability=CAPABILITY, price=35)
    return market


def judge(market: Market, task: RecordId, *, accepted: bool = True) -> None:
    deliver = market.task("ada", task).deliver
    assert deliver is not None
    market.tell("ada", Judged(task, deliver.id, accepted, "looked at"))
    market.settle()


def check_logs(market: Market) -> None:
    for trader in market.traders.values():
        check_segment([record.raw for record in trader.log])


def test_an_auction_goes_to_the_best_bid_and_ends_accepted(market: Market) -> None:
    task = market.post("ada", capability=CAPABILITY, price_max=100, bid_window_ms=1000)
    assert market.task("ada", task).state is State.OPEN
    assert len(market.task("ada", task).bids) == 2
    market.wait(1.1)
    assert market.task("ada", task).worker == market.traders["cy"].keys.agent
    assert market.task("ada", task).state is State.RUNNING
    assert any(isinstance(action, StartWork) for action in market.traders["cy"].actions)
    market.finish("cy", task)
    assert any(isinstance(action, Judge) for action in market.traders["ada"].actions)
    judge(market, task)
    assert market.task("ada", task).state is State.ACCEPTED
    assert market.task("cy", task).state is State.ACCEPTED
    check_logs(market)


def test_bids_are_sealed_from_everyone_but_the_poster(market: Market) -> None:
    task = market.post("ada", capability=CAPABILITY, price_max=100)
    for bid in market.task("ada", task).bids:
        assert getattr(bid.record.body, "terms") is None  # noqa: B009
    assert {offer.price for offer in market.traders["ada"].agent._ledger.opened.values()} == {
        35,
        40,
    }


def test_a_claim_goes_to_the_first_and_the_second_is_left_alone(market: Market) -> None:
    task = market.post("ada", capability=CAPABILITY, price=50)
    assert market.task("ada", task).state is State.RUNNING
    assert market.task("ada", task).worker == market.traders["bo"].keys.agent
    assert not any(record.kind == "accept" for record in market.traders["cy"].log)


def test_a_direct_task_can_be_declined(market: Market) -> None:
    worker = market.traders["bo"].keys.agent.hex()
    task = market.post("ada", capability="cook.dinner", worker=worker, price=100)
    assert market.task("ada", task).state is State.FAILED
    assert "out_of_scope" in market.task("ada", task).why


def test_too_low_a_price_gets_no_bid_and_expires(market: Market) -> None:
    task = market.post("ada", capability=CAPABILITY, price_max=10, expires_in_ms=5000)
    assert market.task("ada", task).bids == ()
    market.wait(6)
    assert market.task("ada", task).state is State.EXPIRED


def test_a_busy_worker_bids_again_when_its_slot_is_free(market: Market) -> None:
    del market.traders["bo"]
    first = market.post("ada", capability=CAPABILITY, price=50)
    second = market.post("ada", capability=CAPABILITY, price=50)
    assert market.task("ada", first).state is State.RUNNING
    assert market.task("ada", second).state is State.OPEN
    market.finish("cy", first)
    assert market.task("ada", second).state is State.RUNNING


def test_a_worker_whose_first_choice_is_gone_looks_at_the_next(market: Market) -> None:
    del market.traders["bo"]
    held, gone, left = (market.post("ada", capability=CAPABILITY, price=50) for _ in range(3))
    market.tell("ada", Cancelled(gone, ""))
    market.settle()
    assert market.task("ada", left).state is State.OPEN
    market.finish("cy", held)
    market.wait(2)
    assert market.task("ada", left).state is State.RUNNING


def test_a_worker_comes_back_after_a_restart_to_what_it_was_too_busy_for(market: Market) -> None:
    del market.traders["bo"]
    held = market.post("ada", capability=CAPABILITY, price=50)
    waiting = market.post("ada", capability=CAPABILITY, price=50)
    market.restart("cy")
    market.finish("cy", held)
    assert market.task("ada", waiting).state is State.RUNNING


def test_heartbeats_keep_a_lease_and_silence_loses_it(market: Market) -> None:
    task = market.post(
        "ada", capability=CAPABILITY, price_max=100, heartbeat_timeout_ms=6000, bid_window_ms=500
    )
    market.wait(30)
    assert market.task("ada", task).state is State.RUNNING
    assert market.task("ada", task).epoch == 1
    cy = market.traders["cy"]
    cy.is_cut_off = True
    market.wait(10)
    assert market.task("ada", task).epoch == 2
    assert market.task("ada", task).worker == market.traders["bo"].keys.agent
    # The holder counted from when it sent, so it had stopped by itself.
    assert ("lease_lost", "the sequencer did not renew it in time") in cy.notes
    assert any(isinstance(action, StopWork) for action in cy.actions)
    with pytest.raises(StaleEpoch):
        market.finish("cy", task)
    assert not any(record.kind == "deliver" for record in cy.log)
    market.finish("bo", task)
    judge(market, task)
    assert market.task("ada", task).state is State.ACCEPTED
    check_logs(market)


def test_a_worker_that_fails_gives_way_to_the_next(market: Market) -> None:
    task = market.post("ada", capability=CAPABILITY, price_max=100, bid_window_ms=100)
    market.wait(0.2)
    market.tell("cy", WorkFailed(task, 1, "no such table"))
    market.settle()
    assert market.task("ada", task).epoch == 2
    assert market.task("ada", task).worker == market.traders["bo"].keys.agent


def test_a_worker_whose_accept_came_too_late_stops_at_once(market: Market) -> None:
    task = market.post("ada", capability=CAPABILITY, price=50)
    bo = market.traders["bo"]
    accept = next(record for record in bo.log if record.kind == "accept")
    market.tell("bo", RefusedByRelay(accept, "storage: the disk is full"))
    assert bo.agent.load == 1
    market.tell("bo", RefusedByRelay(accept, "stale: epoch 1 is over"))
    assert bo.agent.load == 0
    assert any(isinstance(action, StopWork) for action in bo.actions)
    assert ("lease_lost", "the accept came too late") in bo.notes
    with pytest.raises(StaleEpoch):
        market.finish("bo", task)


def test_a_task_fails_after_its_last_attempt(market: Market) -> None:
    task = market.post("ada", capability=CAPABILITY, price=50, attempts_max=2)
    for epoch in (1, 2):
        name = "bo" if market.task("ada", task).worker == market.traders["bo"].keys.agent else "cy"
        market.tell(name, WorkFailed(task, epoch, "broken"))
        market.settle()
    assert market.task("ada", task).state is State.FAILED


def test_a_rejected_result_ends_the_task(market: Market) -> None:
    task = market.post("ada", capability=CAPABILITY, price=50)
    market.finish("bo", task)
    judge(market, task, accepted=False)
    assert market.task("bo", task).state is State.REJECTED
