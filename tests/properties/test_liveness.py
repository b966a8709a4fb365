"""Whatever outages, crashes and failures there were: when they are over, every task is done."""

from typing import Any

from hypothesis import given, settings, strategies as st
from tests.relayed_market import RelayedMarket
from tests.routed_market import RoutedMarket

from bazaar_protocol.log import check_segment
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import State

CAPABILITY = "table.extract"
NAMES = ("ada", "bo", "cy")
ROUNDS_MAX = 60

names = st.sampled_from(NAMES)
workers = st.sampled_from(NAMES[1:])
steps = st.one_of(
    st.tuples(st.just("cut off"), names),
    st.tuples(st.just("cut off unnoticed"), names),
    st.tuples(st.just("crash"), names),
    st.tuples(st.just("come back"), names),
    st.tuples(st.just("end"), workers),
    st.tuples(st.just("fail"), workers),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.7, 2.5, 7.0])),
)


@settings(deadline=None)
@given(st.lists(steps, max_size=25), st.sampled_from([0, 500]))
def test_every_task_is_done_once_all_are_back(
    happened: list[tuple[str, str | float]], bid_window_ms: int
) -> None:
    market = RoutedMarket()
    market.add("ada")
    market.add("bo", capability=CAPABILITY, price=40)
    market.add("cy", capability=CAPABILITY, price=35, slots=2)
    mode: dict[str, Any] = (
        {"price": 50} if bid_window_ms == 0 else {"price_max": 50, "bid_window_ms": 500}
    )
    tasks = [
        market.post(
            "ada", capability=CAPABILITY, schedule_to_start_ms=2_000, heartbeat_timeout_ms=6_000,
            attempts_max=100, **mode,
        )
        for _ in range(3)
    ]  # fmt: skip
    check_all_are_done(market, tasks, happened)
    for trader in market.traders.values():
        check_segment([record.raw for record in trader.log])
    for task in tasks:
        check_history(market, task)


@settings(deadline=None)
@given(st.lists(st.one_of(steps, st.just(("crash", "relay"))), max_size=25))
def test_every_claim_that_a_relay_sequences_is_done_once_all_are_back(
    happened: list[tuple[str, str | float]],
) -> None:
    market = RelayedMarket()
    market.add("ada")
    market.add("bo", capability=CAPABILITY, price=40)
    market.add("cy", capability=CAPABILITY, price=35, slots=2)
    market.open()
    tasks = [
        market.post(
            "ada", capability=CAPABILITY, schedule_to_start_ms=2_000, heartbeat_timeout_ms=6_000,
            attempts_max=100, price=50, sequencer="relay",
        )
        for _ in range(3)
    ]  # fmt: skip
    check_all_are_done(market, tasks, happened)
    market.close()


def check_all_are_done(
    market: RoutedMarket, tasks: list[RecordId], happened: list[tuple[str, str | float]]
) -> None:
    """Let it all happen, then everybody be back; after a while every task has to be accepted."""
    for what, whom in happened:
        happen(market, what, whom)
    for name in NAMES:
        happen(market, "come back", name)
    for _ in range(ROUNDS_MAX):
        market.wait(1)
        for name in NAMES[1:]:
            market.end(name)
        market.judge_all()
    assert [market.task("ada", task).state for task in tasks] == [State.ACCEPTED] * len(tasks)


def happen(market: RoutedMarket, what: str, whom: str | float) -> None:
    if not isinstance(whom, str):
        market.wait(whom)
        return
    if whom == "relay":
        assert isinstance(market, RelayedMarket)
        market.crash_relay()
        return
    is_cut_off = market.traders[whom].is_cut_off
    match what:
        case "come back" if is_cut_off:
            market.come_back(whom)
        case "crash":
            market.crash(whom)
        case "cut off" | "cut off unnoticed" if not is_cut_off:
            market.cut_off(whom, unnoticed=what == "cut off unnoticed")
        case "end" | "fail":
            market.end(whom, fails=what == "fail")
        case _:
            pass


def check_history(market: RoutedMarket, task: RecordId) -> None:
    """One verdict, about a result of the last epoch, under one award for each epoch."""
    ours = [record for record in market.traders["ada"].log if is_about(record.body, task)]
    epochs = [record.body.epoch for record in ours if record.kind == "award"]  # type: ignore[union-attr]
    assert epochs == sorted(set(epochs))
    verdicts = [record.body.epoch for record in ours if record.kind == "verdict"]  # type: ignore[union-attr]
    assert verdicts == [max(epochs)]
    assert market.folds[task].state is State.ACCEPTED


def is_about(body: object, task: RecordId) -> bool:
    return getattr(body, "task", None) == task
