"""The life of a task by example: each mode, and each rule that somebody tries to break."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.strategies import ADA, BO, CY, DEE
from tests.trades import Scribe

from bazaar_protocol import fields, kinds
from bazaar_protocol.errors import IllegalTransition, MalformedRecord, StaleEpoch
from bazaar_protocol.identity import Keypair
from bazaar_protocol.records import Record
from bazaar_protocol.task import (
    ABANDONED_AFTER_MS,
    AwardDue,
    BreachDue,
    Elapsed,
    State,
    Task,
    due,
    open_task,
    step,
    wake_ms,
)

NOW = 100_000
Break = Callable[[Scribe, Task], Record]


def opened(scribe: Scribe, **changes: Any) -> Task:
    return open_task(scribe.post(**changes), NOW)


def awarded(scribe: Scribe, **changes: Any) -> Task:
    task = opened(scribe, **changes)
    task = step(task, scribe.bid(task, BO, 50), NOW + 10)
    task = step(task, scribe.bid(task, CY, 60), NOW + 20)
    return step(task, scribe.award(task), NOW + 1_000)


def running(scribe: Scribe, **changes: Any) -> Task:
    task = awarded(scribe, **changes)
    return step(task, scribe.accept(task), NOW + 1_100)


def delivered(scribe: Scribe, **changes: Any) -> Task:
    task = running(scribe, **changes)
    return step(task, scribe.deliver(task), NOW + 2_000)


def test_an_auction_from_post_to_verdict() -> None:
    scribe = Scribe()
    task = opened(scribe)
    assert (task.state, due(task, NOW), wake_ms(task, NOW)) == (State.OPEN, None, NOW + 1_000)
    task = step(task, scribe.bid(task, BO, 50), NOW + 10)
    assert due(task, NOW + 999) is None
    assert due(task, NOW + 1_000) == AwardDue(task.bids, None)
    task = step(task, scribe.award(task), NOW + 1_000)
    assert (task.state, task.worker, task.epoch) == (State.AWARDED, BO.agent, 1)
    assert wake_ms(task, NOW) == NOW + 3_000
    task = step(task, scribe.accept(task), NOW + 1_100)
    assert wake_ms(task, NOW + 1_100) == NOW + 7_100
    task = step(task, scribe.heartbeat(task), NOW + 5_000)
    assert wake_ms(task, NOW + 5_000) == NOW + 11_000
    task = step(task, scribe.deliver(task), NOW + 6_000)
    assert (task.state, wake_ms(task, NOW)) == (State.DELIVERED, NOW + 66_000)
    task = step(task, scribe.verdict(task), NOW + 7_000)
    assert (task.state, task.worker, wake_ms(task, NOW)) == (State.ACCEPTED, BO.agent, None)


def test_a_lost_lease_goes_to_the_next_bid_and_the_old_result_is_stale() -> None:
    scribe = Scribe()
    task = running(scribe)
    late = scribe.deliver(task)
    assert due(task, NOW + 7_100) == BreachDue("heartbeat")
    task = step(task, scribe.breach(task), NOW + 7_100)
    assert (task.state, task.worker) == (State.OPEN, None)
    assert [bid.record.author for bid in task.bids if bid.record.id not in task.spent] == [CY.agent]
    with pytest.raises(StaleEpoch) as caught:
        step(task, late, NOW + 7_200)
    assert (caught.value.have, caught.value.need) == (1, 2)
    task = step(task, scribe.award(task, CY), NOW + 7_300)
    with pytest.raises(StaleEpoch):
        step(task, late, NOW + 7_400)
    assert step(task, scribe.accept(task, CY), NOW + 7_500).attempts == 2


def test_too_many_attempts_end_in_failure_and_late_work_is_stale_there_too() -> None:
    scribe = Scribe()
    task = running(scribe, lease=kinds.Lease(2_000, 30_000, 6_000, 1))
    late = scribe.deliver(task)
    task = step(task, scribe.breach(task), NOW + 7_100)
    assert task.state is State.FAILED
    with pytest.raises(StaleEpoch):
        step(task, late, NOW + 7_200)


def test_a_cancelled_worker_learns_that_its_lease_is_over() -> None:
    scribe = Scribe()
    task = running(scribe)
    beat = scribe.heartbeat(task)
    task = step(task, scribe.withdraw(task, ADA), NOW + 2_000)
    assert task.state is State.CANCELLED
    with pytest.raises(StaleEpoch):
        step(task, beat, NOW + 2_100)


def test_an_award_that_nobody_accepts_in_time_is_good_until_the_next_one() -> None:
    scribe = Scribe()
    task = awarded(scribe)
    late = scribe.accept(task)
    assert (due(task, NOW + 2_999), wake_ms(task, NOW + 2_999)) == (None, NOW + 3_000)
    assert due(task, NOW + 3_000) == AwardDue(task.bids[1:], None)
    assert wake_ms(task, NOW + 3_000) == NOW + 60_000
    assert step(task, Elapsed(), NOW + 59_999) is task
    assert step(task, late, NOW + 59_999).state is State.RUNNING
    task = step(task, scribe.award(task, CY), NOW + 4_000)
    assert (task.epoch, task.attempts, due(task, NOW + 6_000)) == (2, 0, None)
    with pytest.raises(StaleEpoch):
        step(task, late, NOW + 6_001)
    # A new bid of who came too late is one that is not spent.
    task = step(task, scribe.bid(task, BO, 45), NOW + 6_002)
    assert due(task, NOW + 6_002) == AwardDue(task.bids[1:], None)


@pytest.mark.parametrize("state", [running, delivered])
def test_the_next_award_overrules_what_its_sequencer_had_not_heard(
    state: Callable[[Scribe], Task],
) -> None:
    scribe = Scribe()
    task = state(scribe)
    late = scribe.verdict(task)
    award = scribe.award(task, CY)
    later = step(task, award, NOW + 4_000)
    # As for its sequencer, which never saw the accept.
    assert (later.state, later.epoch, later.attempts) == (State.AWARDED, 2, 0)
    assert (later.worker, later.accept, later.deliver) == (CY.agent, None, None)
    assert later.spent == (task.bids[0].record.id,)
    with pytest.raises(StaleEpoch):
        step(later, late, NOW + 4_001)


def test_a_breach_overrules_a_result_that_its_sequencer_had_not_heard_of() -> None:
    scribe = Scribe()
    task = delivered(scribe)
    late = scribe.verdict(task)
    task = step(task, scribe.breach(task), NOW + 9_000)
    assert (task.state, task.attempts, task.worker) == (State.OPEN, 1, None)
    with pytest.raises(StaleEpoch):
        step(task, late, NOW + 9_001)
    result = delivered(scribe)
    accepted = step(result, scribe.verdict(result), NOW + 3_000)
    with pytest.raises(StaleEpoch):
        step(accepted, scribe.award(accepted, CY, epoch=1), NOW + 3_001)
    for say in (scribe.award(accepted, CY), scribe.breach(accepted)):
        with pytest.raises(IllegalTransition):
            step(accepted, say, NOW + 3_001)


def test_a_direct_task_is_awarded_once_however_late_its_worker_is() -> None:
    scribe = Scribe()
    task = opened(scribe, mode="direct", worker=BO.agent)
    task = step(task, scribe.award(task), NOW)
    assert due(task, NOW + 59_999) is None
    assert step(task, scribe.accept(task), NOW + 59_999).state is State.RUNNING


def test_spent_bids_make_room_and_others_do_not() -> None:
    scribe = Scribe()
    task = awarded(scribe, bidders_max=2)
    with pytest.raises(IllegalTransition):
        step(task, scribe.bid(task, DEE), NOW + 1_001)
    task = step(task, scribe.decline(task), NOW + 1_002)
    task = step(task, scribe.bid(task, DEE), NOW + 1_003)
    assert [bid.record.author for bid in task.bids] == [CY.agent, DEE.agent]


def test_a_task_that_comes_back_after_its_expiry_has_expired() -> None:
    scribe = Scribe()
    task = awarded(scribe)
    late = scribe.accept(task)
    task = step(task, Elapsed(), NOW + 60_000)
    assert (task.state, due(task, NOW + 60_000), wake_ms(task, NOW)) == (State.EXPIRED, None, None)
    with pytest.raises(StaleEpoch):
        step(task, late, NOW + 60_001)
    task = running(scribe)
    assert step(task, scribe.breach(task), NOW + 60_000).state is State.EXPIRED
    direct = opened(scribe, mode="direct", worker=BO.agent)
    assert due(direct, NOW + 59_999) == AwardDue((), BO.agent)
    assert due(direct, NOW + 60_000) is None


def test_a_running_task_ends_by_record_and_only_long_silence_fails_it() -> None:
    scribe = Scribe()
    task = running(scribe)
    assert due(task, NOW + 31_100) == BreachDue("start_to_close")
    assert step(task, Elapsed(), NOW + 31_100) is task
    assert step(task, scribe.deliver(task), NOW + 31_200).state is State.DELIVERED
    end = NOW + 31_100 + ABANDONED_AFTER_MS
    assert wake_ms(task, NOW + 31_100) == end
    assert step(task, Elapsed(), end).state is State.FAILED


def test_without_a_verdict_it_lapses_and_a_late_verdict_still_counts() -> None:
    scribe = Scribe()
    task = delivered(scribe)
    task = step(task, Elapsed(), NOW + 62_000)
    assert (task.state, task.worker) == (State.LAPSED, BO.agent)
    task = step(task, scribe.verdict(task, accepted=False, reason="wrong"), NOW + 90_000)
    assert (task.state, task.why) == (State.REJECTED, "wrong")


def test_a_direct_task_fails_when_its_worker_goes() -> None:
    scribe = Scribe()
    task = opened(scribe, mode="direct", worker=BO.agent)
    assert due(task, NOW) == AwardDue((), BO.agent)
    task = step(task, scribe.award(task), NOW)
    assert step(task, scribe.decline(task), NOW + 5).state is State.FAILED
    task = step(task, scribe.accept(task), NOW + 5)
    assert step(task, scribe.withdraw(task), NOW + 9).state is State.FAILED
    assert step(task, scribe.breach(task), NOW + 9).state is State.OPEN


def test_a_claim_is_awarded_by_the_relay_that_the_post_names() -> None:
    scribe = Scribe()
    task = opened(scribe, mode="claim", sequencer=DEE.agent)
    with pytest.raises(IllegalTransition):
        step(task, scribe.award(task, by=ADA), NOW)
    task = step(task, scribe.award(task, by=DEE), NOW)
    task = step(task, scribe.accept(task), NOW)
    with pytest.raises(IllegalTransition):
        step(task, scribe.breach(task, ADA), NOW)
    assert step(task, scribe.breach(task, DEE), NOW).state is State.OPEN


def test_a_heartbeat_counts_once_and_in_order() -> None:
    scribe = Scribe()
    task = running(scribe)
    first, second = scribe.heartbeat(task), scribe.heartbeat(task)
    task = step(task, second, NOW + 2_000)
    for old in (first, second):
        assert step(task, old, NOW + 6_000) is task
    assert task.deadline_ms == NOW + 8_000


def test_a_replayed_bid_does_not_bring_an_old_price_back() -> None:
    scribe = Scribe()
    task = opened(scribe, bidders_max=1)
    old, new = scribe.bid(task, BO, 90), scribe.bid(task, BO, 40)
    task = step(step(task, old, NOW), new, NOW)
    assert [bid.record for bid in task.bids] == [new]
    assert step(task, old, NOW) is task
    assert step(task, new, NOW) is task
    with pytest.raises(IllegalTransition):
        step(task, scribe.bid(task, CY), NOW)


def test_a_decline_of_the_post_changes_nothing() -> None:
    scribe = Scribe()
    task = opened(scribe)
    assert step(task, scribe.decline(task, CY, epoch=0), NOW) is task


def test_the_named_evaluator_judges_and_nobody_else() -> None:
    scribe = Scribe()
    acceptance = kinds.Acceptance("evaluator", b"", CY.agent, 60_000)
    task = delivered(scribe, acceptance=acceptance)
    for keys in (ADA, BO):
        with pytest.raises(IllegalTransition):
            step(task, scribe.verdict(task, keys), NOW)
    assert step(task, scribe.verdict(task, CY), NOW).state is State.ACCEPTED


def test_the_next_award_spends_the_bid_of_the_one_it_replaces() -> None:
    scribe = Scribe()
    task = awarded(scribe)
    task = step(task, scribe.award(task, CY), NOW + 4_000)
    assert (task.epoch, task.worker) == (2, CY.agent)
    assert task.spent == (task.bids[0].record.id,)


def test_a_task_begins_with_a_post() -> None:
    scribe = Scribe()
    task = opened(scribe)
    with pytest.raises(MalformedRecord):
        open_task(scribe.bid(task), NOW)
    with pytest.raises(IllegalTransition):
        step(task, scribe.post(), NOW)


def test_a_record_about_another_task_is_not_taken() -> None:
    scribe = Scribe()
    task, other = running(scribe), opened(scribe)
    for say in ("heartbeat", "deliver", "withdraw"):
        with pytest.raises(IllegalTransition):
            step(other, getattr(scribe, say)(task), NOW)


@pytest.mark.parametrize(
    ("state", "say", "field", "by"),
    [
        (awarded, "accept", "award", BO),
        (awarded, "withdraw", "award", BO),
        (running, "deliver", "award", BO),
        (running, "withdraw", "award", BO),
        (running, "breach", "accept", ADA),
        (delivered, "verdict", "deliver", ADA),
    ],
)
def test_links_name_the_whole_place(
    state: Callable[[Scribe], Task], say: str, field: str, by: Keypair
) -> None:
    scribe = Scribe()
    task = state(scribe)
    right: fields.Link = getattr(getattr(scribe, say)(task).body, field)
    for wrong in (
        fields.Link(right.author, right.seq + 1, right.id),
        fields.Link(DEE.agent, right.seq, right.id),
        fields.Link(right.author, right.seq, bytes(32)),
    ):
        with pytest.raises(IllegalTransition):
            step(task, getattr(scribe, say)(task, by, **{field: wrong}), NOW)
    later = step(task, getattr(scribe, say)(task, by, **{field: right}), NOW)
    assert later.state is not task.state


def test_an_accept_agrees_to_the_terms_of_the_award() -> None:
    scribe = Scribe()
    task = awarded(scribe)
    with pytest.raises(IllegalTransition):
        step(task, scribe.accept(task, terms=bytes(32)), NOW)


def impostor(state: Callable[[Scribe], Task], say: str) -> None:
    scribe = Scribe()
    task = state(scribe)
    with pytest.raises(IllegalTransition):
        step(task, getattr(scribe, say)(task, CY), NOW)


@pytest.mark.parametrize("say", ["accept", "decline", "withdraw"])
def test_another_does_not_answer_an_award(say: str) -> None:
    impostor(awarded, say)


@pytest.mark.parametrize("say", ["heartbeat", "deliver", "withdraw", "breach"])
def test_another_does_not_speak_for_a_running_task(say: str) -> None:
    impostor(running, say)


def test_a_result_is_not_judged_by_its_maker() -> None:
    def judge(keys: Keypair) -> State:
        scribe = Scribe()
        task = delivered(scribe)
        return step(task, scribe.verdict(task, keys), NOW).state

    assert judge(ADA) is State.ACCEPTED
    for keys in (BO, CY):
        with pytest.raises(IllegalTransition):
            judge(keys)
