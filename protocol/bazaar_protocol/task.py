"""The life of a task: a pure fold over its records, and over time where nobody need speak.

    open -> awarded -> running -> delivered -> accepted | rejected | lapsed
    open -> expired | cancelled          awarded, running -> open (epoch + 1) | failed | cancelled

Whoever holds the records runs the same fold: the sequencer that drives the task, the relay that
refuses stale writes, an auditor years later. ``step`` either returns the task after an event or
raises and leaves it as it was. ``due`` says what the sequencer has to sign next.

A running lease ends by a record alone (``breach`` or ``withdraw``), never by a clock: a deadline
that passed makes a breach due, and until it is signed a late result still counts. The epoch is a
fencing token (Kleppmann 2016): at most one is live, and a record that carries an older one
changes nothing (leases: Gray & Cheriton 1989).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from bazaar_protocol import limits
from bazaar_protocol.award import check_post, terms_hash
from bazaar_protocol.errors import IllegalTransition, MalformedRecord, StaleEpoch
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import (
    Accept,
    Award,
    Bid,
    Breach,
    Decline,
    Deliver,
    Heartbeat,
    Link,
    Post,
    Verdict,
    Withdraw,
)
from bazaar_protocol.records import Record, RecordId


class State(StrEnum):
    """Where a task stands."""

    OPEN = "open"
    AWARDED = "awarded"
    RUNNING = "running"
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


TERMINAL: Final = frozenset(
    {
        State.ACCEPTED,
        State.REJECTED,
        State.LAPSED,
        State.EXPIRED,
        State.CANCELLED,
        State.FAILED,
    }
)
LIVE: Final = frozenset({State.AWARDED, State.RUNNING, State.DELIVERED})
"""The states in which some worker holds the task under its current epoch."""

ABANDONED_AFTER_MS: Final = limits.DAY_MS
"""A running task whose sequencer has been silent so long past every deadline has failed."""


@dataclass(frozen=True, slots=True)
class SeenBid:
    """A bid, and when it arrived here."""

    record: Record
    seen_ms: int


@dataclass(frozen=True, slots=True)
class Task:
    """What is known of a task. Times are the clock of whoever keeps it, never the authors'."""

    post: Record
    terms: Post
    state: State
    opened_ms: int
    epoch: int = 0
    attempts: int = 0
    """How many attempts were accepted."""
    award: Record | None = None
    accept: Record | None = None
    deliver: Record | None = None
    verdict: Record | None = None
    heartbeat: Record | None = None
    deadline_ms: int | None = None
    """When the current state times out, if it does."""
    close_ms: int | None = None
    """When the running attempt has to have delivered."""
    bids: tuple[SeenBid, ...] = ()
    spent: tuple[bytes, ...] = ()
    """Bids whose award came to nothing."""
    why: str = ""
    """Why it is not going on, for people."""

    @property
    def id(self) -> RecordId:
        """The task's id is that of its post."""
        return self.post.id

    @property
    def poster(self) -> AgentId:
        """Who posted it."""
        return self.post.author

    @property
    def worker(self) -> AgentId | None:
        """Who holds the current award."""
        if self.award is None or self.state not in LIVE | {State.ACCEPTED, State.REJECTED}:
            return None
        return AgentId(award_of(self.award).worker)

    @property
    def window_ends_ms(self) -> int:
        """When the sequencer of an auction stops waiting for more bids."""
        return self.opened_ms + self.terms.bid_window_ms

    @property
    def expires_ms(self) -> int:
        """When an open task is no longer worth a bid."""
        return self.opened_ms + self.terms.expires_in_ms


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Time has passed; nobody said anything."""


TaskEvent: TypeAlias = Record | Elapsed


@dataclass(frozen=True, slots=True)
class AwardDue:
    """The sequencer should award the task, to one of ``bids`` or to the worker named."""

    bids: tuple[SeenBid, ...]
    worker: AgentId | None


@dataclass(frozen=True, slots=True)
class BreachDue:
    """The sequencer should declare the running attempt over."""

    deadline: Literal["heartbeat", "start_to_close"]


Due: TypeAlias = AwardDue | BreachDue


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

    Raises:
        StaleEpoch: The record belongs to an attempt that is over.
        IllegalTransition: The state does not allow it, or its author may not say it.

    """
    if isinstance(event, Elapsed):
        return _elapse(task, now_ms)
    body = event.body
    if getattr(body, "task", None) != task.id:
        raise IllegalTransition(task.state, event.kind, "it is about another task")
    match body:
        case Bid():
            return _bid(task, event, now_ms)
        case Decline():
            return _decline(task, event, body)
        case Award():
            return _award(task, event, body, now_ms)
        case Accept():
            return _accept(task, event, body, now_ms)
        case Heartbeat():
            return _heartbeat(task, event, body, now_ms)
        case Deliver():
            return _deliver(task, event, body, now_ms)
        case Verdict():
            return _verdict(task, event, body)
        case Breach():
            return _breach(task, event, body)
        case Withdraw():
            return _withdraw(task, event, body)
        case _:
            raise IllegalTransition(task.state, event.kind)


def due(task: Task, now_ms: int) -> Due | None:
    """Say what the sequencer has to sign now, if anything."""
    match task.state:
        case State.OPEN:
            return _award_due(task, now_ms)
        case State.RUNNING:
            assert task.close_ms is not None
            assert task.deadline_ms is not None
            if now_ms >= task.close_ms:
                return BreachDue("start_to_close")
            return BreachDue("heartbeat") if now_ms >= task.deadline_ms else None
        case _:
            return None


def wake_ms(task: Task) -> int | None:
    """Say when to look at the task again if nothing is heard; None when it is over."""
    match task.state:
        case State.OPEN:
            if task.bids and task.terms.mode == "auction":
                return min(task.window_ends_ms, task.expires_ms)
            return task.expires_ms
        case State.RUNNING:
            assert task.close_ms is not None
            assert task.deadline_ms is not None
            return min(task.deadline_ms, task.close_ms)
        case State.AWARDED | State.DELIVERED:
            return task.deadline_ms
        case _:
            return None


def award_of(record: Record) -> Award:
    """Return the body of an award that the fold has taken."""
    assert isinstance(record.body, Award)
    return record.body


def link_to(record: Record) -> Link:
    """Name a logged record in another author's log."""
    return Link(record.author, record.seq, record.id)


def _award_due(task: Task, now_ms: int) -> AwardDue | None:
    if task.terms.mode == "direct":
        return AwardDue((), AgentId(task.terms.worker or b""))
    if task.terms.mode == "auction" and now_ms < task.window_ends_ms:
        return None
    bids = tuple(bid for bid in task.bids if bid.record.id not in task.spent)
    return AwardDue(bids, None) if bids else None


def _elapse(task: Task, now_ms: int) -> Task:
    if task.state is State.OPEN and now_ms >= task.expires_ms:
        return replace(task, state=State.EXPIRED, why="nobody took it in time")
    if task.deadline_ms is None or now_ms < task.deadline_ms:
        return task
    if task.state is State.AWARDED:
        return _reopen(task, "the award was not accepted in time")
    if task.state is State.DELIVERED:
        return replace(task, state=State.LAPSED, deadline_ms=None, why="no verdict in time")
    if task.state is State.RUNNING:
        assert task.close_ms is not None
        if now_ms >= max(task.close_ms, task.deadline_ms) + ABANDONED_AFTER_MS:
            return replace(task, state=State.FAILED, why="its sequencer fell silent")
    return task


def _bid(task: Task, record: Record, now_ms: int) -> Task:
    if any(bid.record.id == record.id for bid in task.bids):
        return task
    if task.state not in {State.OPEN, State.AWARDED, State.RUNNING}:
        raise IllegalTransition(task.state, "bid")
    if task.terms.mode == "direct" or record.author == task.poster:
        raise IllegalTransition(task.state, "bid", "this agent cannot bid for it")
    # A worker's newer bid replaces its older one, so nobody fills the list alone.
    others = tuple(bid for bid in task.bids if bid.record.author != record.author)
    if len(others) >= task.terms.bidders_max:
        raise IllegalTransition(task.state, "bid", f"it has {len(others)} bids already")
    return replace(task, bids=(*others, SeenBid(record, now_ms)))


def _decline(task: Task, record: Record, body: Decline) -> Task:
    if body.epoch == 0:
        return task  # of the post: worth knowing, and it changes nothing
    _check_epoch(task, body.epoch, "decline")
    if task.state is not State.AWARDED or record.author != task.worker:
        raise IllegalTransition(task.state, "decline")
    if task.terms.mode == "direct":
        return replace(
            task, state=State.FAILED, deadline_ms=None, why=f"declined: {body.reason}"
        )
    return _reopen(task, f"declined: {body.reason}")


def _award(task: Task, record: Record, body: Award, now_ms: int) -> Task:
    if task.award is not None and task.award.id == record.id:
        return task
    if body.epoch <= task.epoch:
        raise StaleEpoch(have=body.epoch, need=task.epoch + 1)
    if record.author != task.terms.sequencer:
        raise IllegalTransition(task.state, "award", "only its sequencer awards it")
    if task.state not in {State.OPEN, State.AWARDED}:
        raise IllegalTransition(task.state, "award")
    if body.terms != terms_hash(task.id, body.bid, body.price, body.lease):
        raise IllegalTransition(task.state, "award", "its terms are not what it hashes")
    if body.price > task.terms.price or body.lease != task.terms.lease:
        raise IllegalTransition(task.state, "award", "it departs from the post")
    if body.worker == task.poster or task.terms.worker not in {None, body.worker}:
        raise IllegalTransition(task.state, "award", "this agent cannot have it")
    return replace(
        task,
        state=State.AWARDED,
        epoch=body.epoch,
        award=record,
        accept=None,
        heartbeat=None,
        deadline_ms=now_ms + body.lease.schedule_to_start_ms,
        close_ms=None,
        why="",
    )


def _accept(task: Task, record: Record, body: Accept, now_ms: int) -> Task:
    if task.accept is not None and task.accept.id == record.id:
        return task
    award = _check_attempt(task, record, body.epoch, {State.AWARDED})
    if task.award is None or body.award.id != task.award.id or body.terms != award.terms:
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
    return replace(
        task, heartbeat=record, deadline_ms=now_ms + award.lease.heartbeat_timeout_ms
    )


def _deliver(task: Task, record: Record, body: Deliver, now_ms: int) -> Task:
    if task.deliver is not None and task.deliver.id == record.id:
        return task
    _check_attempt(task, record, body.epoch, {State.RUNNING})
    if task.award is None or body.award.id != task.award.id:
        raise IllegalTransition(task.state, "deliver", "it answers another award")
    return replace(
        task,
        state=State.DELIVERED,
        deliver=record,
        deadline_ms=now_ms + task.terms.acceptance.verdict_within_ms,
        close_ms=None,
    )


def _verdict(task: Task, record: Record, body: Verdict) -> Task:
    if task.verdict is not None and task.verdict.id == record.id:
        return task
    _check_epoch(task, body.epoch, "verdict")
    if task.state not in {State.DELIVERED, State.LAPSED}:
        raise IllegalTransition(task.state, "verdict")
    judge = task.terms.acceptance.evaluator or task.poster
    if record.author != judge:
        raise IllegalTransition(task.state, "verdict", "this agent does not judge it")
    if task.deliver is None or body.deliver.id != task.deliver.id:
        raise IllegalTransition(task.state, "verdict", "it judges another result")
    state = State.ACCEPTED if body.accepted else State.REJECTED
    return replace(task, state=state, verdict=record, deadline_ms=None, why=body.reason)


def _breach(task: Task, record: Record, body: Breach) -> Task:
    _check_epoch(task, body.epoch, "breach")
    if record.author != task.terms.sequencer:
        raise IllegalTransition(task.state, "breach", "only its sequencer ends a lease")
    if task.state is not State.RUNNING or task.accept is None:
        raise IllegalTransition(task.state, "breach")
    if body.accept.id != task.accept.id:
        raise IllegalTransition(task.state, "breach", "it ends another attempt")
    return _reopen(task, f"the {body.deadline} deadline passed")


def _withdraw(task: Task, record: Record, body: Withdraw) -> Task:
    if body.award is None:
        if record.author != task.poster:
            raise IllegalTransition(task.state, "withdraw", "only its poster takes it back")
        if task.state not in {State.OPEN, State.AWARDED, State.RUNNING}:
            raise IllegalTransition(task.state, "withdraw")
        return replace(task, state=State.CANCELLED, deadline_ms=None, why=body.reason)
    _check_attempt(task, record, body.epoch, {State.AWARDED, State.RUNNING})
    return _reopen(task, f"the worker withdrew: {body.reason}")


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
    if task.state is State.OPEN:
        raise StaleEpoch(have=epoch, need=epoch + 1)


def _reopen(task: Task, why: str) -> Task:
    """Give the task back, or give it up when too many attempts have failed."""
    assert task.award is not None
    over = task.attempts >= task.terms.lease.attempts_max
    bid = award_of(task.award).bid
    return replace(
        task,
        state=State.FAILED if over else State.OPEN,
        spent=(*task.spent, bid) if bid else task.spent,
        deadline_ms=None,
        close_ms=None,
        why=why,
    )
