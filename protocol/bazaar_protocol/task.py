"""The life of a task: a pure fold over its records, and over time where nobody need speak.

    open -> awarded -> running -> delivered -> accepted | rejected | lapsed
    open -> expired | cancelled
    awarded, running -> open (epoch + 1) | failed | expired | cancelled
    awarded, running, delivered -> awarded (epoch + 1)

Whoever holds the records runs the same fold: the sequencer that drives the task, the relay that
refuses stale writes, an auditor years later. ``step`` either returns the task after an event or
raises and leaves it as it was. ``due`` says what the sequencer has to sign next.

A running lease ends by a record alone (``breach`` or ``withdraw``), never by a clock: a deadline
that passed makes a breach due, and until it is signed a late result still counts. An award that
nobody accepts ends likewise by the next award, and until that is signed a late accept counts. The
epoch is a fencing token (Kleppmann 2016): at most one is live, and a record that carries an older
one changes nothing (leases: Gray & Cheriton 1989).

What the sequencer signs is in the order of its log, and it may not have had what we have when it
signed. So its next award or its breach ends an attempt here too that went on without its knowledge,
and all folds come to the same end in whatever order they hear.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from bazaar_protocol.award import check_award, check_bid, check_post
from bazaar_protocol.due import (
    AwardDue,
    BreachDue,
    Due,
    abandoned_ms,
    due,
    is_to_be_had,
    wake_ms,
)
from bazaar_protocol.errors import IllegalTransition, MalformedRecord, StaleEpoch
from bazaar_protocol.kinds import (
    Accept,
    Award,
    Bid,
    Breach,
    Decline,
    Deliver,
    Heartbeat,
    Post,
    Verdict,
    Withdraw,
)
from bazaar_protocol.records import Record
from bazaar_protocol.task_state import (
    ABANDONED_AFTER_MS,
    LIVE,
    TERMINAL,
    SeenBid,
    State,
    Task,
    award_of,
    link_to,
)

__all__ = [
    "ABANDONED_AFTER_MS",
    "LIVE",
    "TERMINAL",
    "AwardDue",
    "BreachDue",
    "Due",
    "Elapsed",
    "SeenBid",
    "State",
    "Task",
    "TaskEvent",
    "award_of",
    "due",
    "is_to_be_had",
    "link_to",
    "open_task",
    "step",
    "wake_ms",
]


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Time has passed; nobody said anything."""


TaskEvent: TypeAlias = Record | Elapsed


def open_task(post: Record, now_ms: int) -> Task:
    """Begin the fold with the post itself.

    Raises:
        MalformedRecord: It is no post, or contradicts itself.

    """
    if not isinstance(post.body, Post):
        raise MalformedRecord(f"a task begins with a post, not with a {post.kind}")
    check_post(post.body, post.author)
    return Task(post, post.body, State.OPEN, now_ms)


def step(task: Task, event: TaskEvent, now_ms: int) -> Task:
    """Return the task after ``event``; the same object when the event changes nothing.

    A record is judged by the state alone: fold ``Elapsed`` first when ``wake_ms`` has passed.

    Raises:
        StaleEpoch: The record belongs to an attempt that is over.
        IllegalTransition: The state does not allow it, or its author may not say it.

    """
    if isinstance(event, Elapsed):
        return _elapse(task, now_ms)
    body = event.body
    if getattr(body, "task", None) != task.id:
        raise IllegalTransition(task.state, event.kind, "it is about another task")
    handler = _HANDLERS.get(type(body))
    if handler is None:
        raise IllegalTransition(task.state, event.kind)
    return handler(task, event, body, now_ms)


def _elapse(task: Task, now_ms: int) -> Task:
    if task.state is State.OPEN and now_ms >= task.expires_ms:
        return replace(task, state=State.EXPIRED, why="nobody took it in time")
    if task.deadline_ms is None or now_ms < task.deadline_ms:
        return task
    if task.state is State.AWARDED and now_ms >= task.expires_ms:
        return replace(task, state=State.EXPIRED, deadline_ms=None, why="nobody accepted in time")
    if task.state is State.DELIVERED:
        return replace(task, state=State.LAPSED, deadline_ms=None, why="no verdict in time")
    if task.state is State.RUNNING:
        assert task.close_ms is not None
        if now_ms >= abandoned_ms(task.close_ms, task.deadline_ms):
            return _fail(task, "its sequencer fell silent")
    return task


def _bid(task: Task, record: Record, body: Bid, now_ms: int) -> Task:
    known = next((bid for bid in task.bids if bid.record.author == record.author), None)
    if known is not None and _order(record) <= _order(known.record):
        return task  # seen, or already replaced: a replay must not bring an old offer back
    if task.state not in {State.OPEN, State.AWARDED, State.RUNNING}:
        raise IllegalTransition(task.state, "bid")
    if task.terms.mode == "direct" or record.author == task.poster:
        raise IllegalTransition(task.state, "bid", "this agent cannot bid for it")
    try:
        check_bid(task.terms, body)
    except MalformedRecord as error:
        raise IllegalTransition(task.state, "bid", str(error)) from error
    # A worker's newer bid replaces its older one, so nobody fills the list alone.
    others = tuple(bid for bid in task.bids if bid is not known)
    if len(others) >= task.terms.bidders_max:
        others = _without_a_spent_one(task, others)
    return replace(task, bids=(*others, SeenBid(record, now_ms)))


def _without_a_spent_one(task: Task, bids: tuple[SeenBid, ...]) -> tuple[SeenBid, ...]:
    """Make room: bids that came to nothing must not keep out one that may come to something."""
    for place, bid in enumerate(bids):
        if bid.record.id in task.spent:
            return bids[:place] + bids[place + 1 :]
    raise IllegalTransition(task.state, "bid", f"it has {len(bids)} bids already")


def _order(record: Record) -> tuple[int, bytes]:
    return record.time_ms, record.id


def _decline(task: Task, record: Record, body: Decline, now_ms: int) -> Task:
    if body.epoch == 0:
        return task  # of the post: worth knowing, and it changes nothing
    _check_epoch(task, body.epoch, "decline")
    if task.state is not State.AWARDED or record.author != task.worker:
        raise IllegalTransition(task.state, "decline")
    return _give_back(task, f"declined: {body.reason}", now_ms)


def _award(task: Task, record: Record, body: Award, now_ms: int) -> Task:
    if task.award is not None and task.award.id == record.id:
        return task
    if body.epoch <= task.epoch:
        raise StaleEpoch(have=body.epoch, need=task.epoch + 1)
    if record.author != task.terms.sequencer:
        raise IllegalTransition(task.state, "award", "only its sequencer awards it")
    if task.state is not State.OPEN and task.state not in LIVE:
        raise IllegalTransition(task.state, "award")
    _check_award(task, body)
    replaced = award_of(task.award).bid if task.award and task.state in LIVE else b""
    # Its sequencer awards nothing that it knows to be under way: it had not heard of that attempt.
    unheard = task.state in {State.RUNNING, State.DELIVERED}
    return replace(
        task,
        state=State.AWARDED,
        epoch=body.epoch,
        attempts=task.attempts - unheard,
        award=record,
        accept=None,
        deliver=None,
        heartbeat=None,
        deadline_ms=now_ms + body.lease.schedule_to_start_ms,
        close_ms=None,
        spent=(*task.spent, replaced) if replaced else task.spent,
        why="",
    )


def _check_award(task: Task, body: Award) -> None:
    try:
        check_award(task.terms, task.poster, body)
    except MalformedRecord as error:
        raise IllegalTransition(task.state, "award", str(error)) from error
    if body.worker == task.poster:
        raise IllegalTransition(task.state, "award", "nobody works for themselves")
    # The sequencer may know bids that we do not; one that we know has to be the winner's own.
    for record in (bid.record for bid in task.bids if bid.record.id == body.bid):
        if record.author != body.worker:
            raise IllegalTransition(task.state, "award", "it names another worker's bid")
        assert isinstance(record.body, Bid)
        terms = record.body.terms
        if task.terms.mode == "auction" and terms is not None and terms.price != body.price:
            raise IllegalTransition(task.state, "award", "its price is not that of the bid")


def _accept(task: Task, record: Record, body: Accept, now_ms: int) -> Task:
    if task.accept is not None and task.accept.id == record.id:
        return task
    award = _check_attempt(task, record, body.epoch, {State.AWARDED})
    if task.award is None or body.award != link_to(task.award) or body.terms != award.terms:
        raise IllegalTransition(task.state, "accept", "it answers another award")
    return replace(
        task,
        state=State.RUNNING,
        attempts=task.attempts + 1,
        accept=record,
        deadline_ms=now_ms + award.lease.heartbeat_timeout_ms,
        close_ms=now_ms + award.lease.start_to_close_ms,
    )


def _heartbeat(task: Task, record: Record, body: Heartbeat, now_ms: int) -> Task:
    award = _check_attempt(task, record, body.epoch, {State.RUNNING})
    if task.award is None or body.award != task.award.id:
        raise IllegalTransition(task.state, "heartbeat", "it answers another award")
    if task.heartbeat is not None and record.time_ms <= task.heartbeat.time_ms:
        return task  # a replay must not keep a dead worker's lease alive
    return replace(task, heartbeat=record, deadline_ms=now_ms + award.lease.heartbeat_timeout_ms)


def _deliver(task: Task, record: Record, body: Deliver, now_ms: int) -> Task:
    if task.deliver is not None and task.deliver.id == record.id:
        return task
    _check_attempt(task, record, body.epoch, {State.RUNNING})
    if task.award is None or body.award != link_to(task.award):
        raise IllegalTransition(task.state, "deliver", "it answers another award")
    return replace(
        task,
        state=State.DELIVERED,
        deliver=record,
        deadline_ms=now_ms + task.terms.acceptance.verdict_within_ms,
        close_ms=None,
    )


def _verdict(task: Task, record: Record, body: Verdict, _now_ms: int) -> Task:
    if task.verdict is not None and task.verdict.id == record.id:
        return task
    _check_epoch(task, body.epoch, "verdict")
    if task.state not in {State.DELIVERED, State.LAPSED}:
        raise IllegalTransition(task.state, "verdict")
    judge = task.terms.acceptance.evaluator or task.poster
    if record.author != judge:
        raise IllegalTransition(task.state, "verdict", "this agent does not judge it")
    if task.deliver is None or body.deliver != link_to(task.deliver):
        raise IllegalTransition(task.state, "verdict", "it judges another result")
    state = State.ACCEPTED if body.accepted else State.REJECTED
    return replace(task, state=state, verdict=record, deadline_ms=None, why=body.reason)


def _breach(task: Task, record: Record, body: Breach, now_ms: int) -> Task:
    _check_epoch(task, body.epoch, "breach")
    if record.author != task.terms.sequencer:
        raise IllegalTransition(task.state, "breach", "only its sequencer ends a lease")
    if task.state not in {State.RUNNING, State.DELIVERED} or task.accept is None:
        raise IllegalTransition(task.state, "breach")
    if body.accept != link_to(task.accept):
        raise IllegalTransition(task.state, "breach", "it ends another attempt")
    return _reopen(task, f"the {body.deadline} deadline passed", now_ms)


def _withdraw(task: Task, record: Record, body: Withdraw, now_ms: int) -> Task:
    if body.award is None:
        if record.author != task.poster:
            raise IllegalTransition(task.state, "withdraw", "only its poster takes it back")
        if task.state not in {State.OPEN, State.AWARDED, State.RUNNING}:
            raise IllegalTransition(task.state, "withdraw")
        return replace(
            task, state=State.CANCELLED, deadline_ms=None, close_ms=None, why=body.reason
        )
    _check_attempt(task, record, body.epoch, {State.AWARDED, State.RUNNING})
    if task.award is None or body.award != link_to(task.award):
        raise IllegalTransition(task.state, "withdraw", "it leaves another award")
    return _give_back(task, f"the worker withdrew: {body.reason}", now_ms)


def _check_attempt(task: Task, record: Record, epoch: int, states: set[State]) -> Award:
    _check_epoch(task, epoch, record.kind)
    if task.state not in states or task.award is None:
        raise IllegalTransition(task.state, record.kind)
    award = award_of(task.award)
    if record.author != award.worker:
        raise IllegalTransition(task.state, record.kind, "another agent holds it")
    return award


def _check_epoch(task: Task, epoch: int, kind: str) -> None:
    if epoch < task.epoch:
        raise StaleEpoch(have=epoch, need=task.epoch)
    if epoch > task.epoch:
        raise IllegalTransition(task.state, kind, f"epoch {epoch} has not been awarded")
    # Once the lease is lost the epoch is spent, even before the next award raises it.
    if task.state in _LEASE_IS_OVER:
        raise StaleEpoch(have=epoch, need=epoch + 1)


def _give_back(task: Task, why: str, now_ms: int) -> Task:
    """End an attempt by the worker's will: a direct task has nobody else to go to."""
    return _fail(task, why) if task.terms.mode == "direct" else _reopen(task, why, now_ms)


def _reopen(task: Task, why: str, now_ms: int) -> Task:
    """Give the task back, or give it up when too many attempts have failed or it is too late."""
    assert task.award is not None
    if task.attempts >= task.terms.lease.attempts_max:
        return _fail(task, why)
    bid = award_of(task.award).bid
    return replace(
        task,
        state=State.OPEN if now_ms < task.expires_ms else State.EXPIRED,
        spent=(*task.spent, bid) if bid else task.spent,
        deadline_ms=None,
        close_ms=None,
        why=why,
    )


def _fail(task: Task, why: str) -> Task:
    return replace(task, state=State.FAILED, deadline_ms=None, close_ms=None, why=why)


_LEASE_IS_OVER: Final = frozenset({State.OPEN, State.EXPIRED, State.CANCELLED, State.FAILED})
_HANDLERS: Final[dict[type, Callable[[Task, Record, Any, int], Task]]] = {
    Bid: _bid,
    Decline: _decline,
    Award: _award,
    Accept: _accept,
    Heartbeat: _heartbeat,
    Deliver: _deliver,
    Verdict: _verdict,
    Breach: _breach,
    Withdraw: _withdraw,
}
