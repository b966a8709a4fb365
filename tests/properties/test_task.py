"""Any sequence of true and false records: each steps, or raises and nothing has changed."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.strategies import ADA, BO, CY, DEE, make_post
from tests.trades import Scribe

from bazaar_protocol import kinds
from bazaar_protocol.errors import IllegalTransition, StaleEpoch
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Post
from bazaar_protocol.records import Record
from bazaar_protocol.task import (
    ABANDONED_AFTER_MS,
    LIVE,
    TERMINAL,
    AwardDue,
    BreachDue,
    Elapsed,
    State,
    Task,
    TaskEvent,
    award_of,
    due,
    open_task,
    step,
    wake_ms,
)

agents = st.sampled_from([ADA, BO, CY, DEE])
epochs = st.sampled_from([-1, 0, 0, 0, 0, 1])

MOVES: dict[State, set[State]] = {
    State.OPEN: {State.AWARDED, State.EXPIRED, State.CANCELLED},
    State.AWARDED: {
        State.RUNNING, State.OPEN, State.AWARDED, State.FAILED, State.CANCELLED, State.EXPIRED,
    },
    State.RUNNING: {
        State.DELIVERED, State.OPEN, State.AWARDED, State.FAILED, State.CANCELLED, State.EXPIRED,
    },
    State.DELIVERED: {
        State.ACCEPTED, State.REJECTED, State.LAPSED, State.OPEN, State.AWARDED, State.FAILED,
        State.EXPIRED,
    },
    State.LAPSED: {State.ACCEPTED, State.REJECTED},
    **{state: set() for state in TERMINAL - {State.LAPSED}},
}  # fmt: skip
OVER = {State.OPEN, State.EXPIRED, State.CANCELLED, State.FAILED}
Make = Callable[..., Record]


def may_say(task: Task, record: Record) -> bool:
    """Tell by a table of its own whose word counts."""
    holder = award_of(task.award).worker if task.award else None
    match record.kind:
        case "award" | "breach":
            return record.author == task.terms.sequencer
        case "accept" | "heartbeat" | "deliver" | "decline":
            return record.author == holder
        case "verdict":
            return record.author == task.poster
        case "withdraw":
            return record.author in {holder, task.poster}
        case "bid":
            return record.author != task.poster
        case _:
            return False


class Life(RuleBasedStateMachine):
    """One task, and everybody who has something to say about it."""

    @initialize(
        mode=st.sampled_from(["auction", "direct", "claim"]),
        attempts_max=st.integers(1, 3),
        bidders_max=st.integers(1, 3),
    )
    def begin(self, mode: str, attempts_max: int, bidders_max: int) -> None:
        self.scribe = Scribe()
        post: Post = make_post(
            mode=mode,
            worker=BO.agent if mode == "direct" else None,
            sequencer=DEE.agent if mode == "claim" else ADA.agent,
            bidders_max=bidders_max,
            lease=kinds.Lease(2_000, 30_000, 6_000, attempts_max),
        )
        self.sequencer = DEE if mode == "claim" else ADA
        self.now_ms = 10_000
        self.task = open_task(self.scribe.say(ADA, post), self.now_ms)
        self.taken: list[Record] = []

    def offer(self, event: TaskEvent) -> None:
        """Offer an event, and check what must hold whatever it is."""
        before, text = self.task, repr(self.task)
        try:
            self.task = step(before, event, self.now_ms)
        except (IllegalTransition, StaleEpoch) as error:
            assert isinstance(event, Record)
            if isinstance(error, IllegalTransition):
                assert not self.is_stale(before, event)
            return
        finally:
            assert repr(before) == text
        if isinstance(event, Record):
            assert not self.is_stale(before, event) or self.task is before
            self.taken.append(event)
        if self.task is before:
            return
        assert isinstance(event, Elapsed) or may_say(before, event)
        if self.task.state != before.state:
            assert self.task.state in MOVES[before.state]
        is_award = isinstance(event, Record) and event.kind == "award"
        assert (self.task.epoch > before.epoch) == is_award
        assert self.task.epoch >= before.epoch

    def is_stale(self, task: Task, record: Record) -> bool:
        """Whether the record is about an attempt that is over; a known one is only a replay."""
        epoch: int = getattr(record.body, "epoch", 0)
        leaves = getattr(record.body, "award", None)
        if epoch == 0 or record in self.taken or (record.kind == "withdraw" and leaves is None):
            return False
        if record.kind == "award":
            return epoch <= task.epoch
        return epoch < task.epoch or (epoch == task.epoch and task.state in OVER)

    def sealed(self, make: Make, keys: Keypair, off: int) -> Record:
        epoch = max(self.task.epoch + off, 1)
        return make(self.task, keys, epoch=epoch)

    @rule(keys=agents, price=st.integers(0, 120), eta_ms=st.integers(0, 5_000))
    def bid(self, keys: Keypair, price: int, eta_ms: int) -> None:
        self.offer(self.scribe.bid(self.task, keys, price, eta_ms))

    @rule(by=agents, worker=agents, off=epochs)
    def award(self, by: Keypair, worker: Keypair, off: int) -> None:
        epoch = max(self.task.epoch + 1 + off, 1)
        self.offer(self.scribe.award(self.task, worker, by=by, epoch=epoch))

    @rule(worker=st.sampled_from([BO, CY]), data=st.data())
    def rightly_award(self, worker: Keypair, data: st.DataObject) -> None:
        """What ``due`` asks for is what the fold takes."""
        todo = due(self.task, self.now_ms)
        if not isinstance(todo, AwardDue):
            return
        if todo.worker is not None:
            worker = BO
        elif todo.bids:
            author = data.draw(st.sampled_from(todo.bids)).record.author
            worker = next(keys for keys in (BO, CY, DEE) if keys.agent == author)
        self.offer(self.scribe.award(self.task, worker, by=self.sequencer))
        assert self.task.state is State.AWARDED

    @rule(keys=agents, off=epochs, kind=st.sampled_from(["accept", "heartbeat", "deliver"]))
    def work(self, keys: Keypair, off: int, kind: str) -> None:
        self.offer(self.sealed(getattr(self.scribe, kind), keys, off))

    @rule(kind=st.sampled_from(["accept", "heartbeat", "deliver", "withdraw", "decline"]))
    def rightly_work(self, kind: str) -> None:
        worker = self.task.worker
        if worker is not None:
            keys = next(keys for keys in (BO, CY, DEE) if keys.agent == worker)
            self.offer(getattr(self.scribe, kind)(self.task, keys))

    @rule(keys=agents, off=epochs, kind=st.sampled_from(["verdict", "withdraw", "decline"]))
    def answer(self, keys: Keypair, off: int, kind: str) -> None:
        self.offer(self.sealed(getattr(self.scribe, kind), keys, off))

    @rule(accepted=st.booleans())
    def rightly_judge(self, accepted: bool) -> None:
        self.offer(self.scribe.verdict(self.task, ADA, accepted=accepted))

    @rule(keys=agents, off=epochs)
    def breach(self, keys: Keypair, off: int) -> None:
        self.offer(self.sealed(self.scribe.breach, keys, off))

    @rule()
    def rightly_breach(self) -> None:
        if isinstance(todo := due(self.task, self.now_ms), BreachDue):
            self.offer(self.scribe.breach(self.task, self.sequencer, deadline=todo.deadline))
            assert self.task.state in {State.OPEN, State.FAILED, State.EXPIRED}

    @rule(kind=st.sampled_from(["accept", "deliver", "verdict", "breach", "withdraw"]))
    def link_to_nothing(self, kind: str) -> None:
        """The right agent and epoch, with a link that has one wrong item."""
        keys = {"verdict": ADA, "breach": self.sequencer}.get(kind, BO)
        record: Record = getattr(self.scribe, kind)(self.task, keys)
        field = {"verdict": "deliver", "breach": "accept"}.get(kind, "award")
        right = getattr(record.body, field)
        if right is None:
            return
        before = self.task
        for change in ({"seq": right.seq + 1}, {"id": b"\x09" * 32}, {"author": CY.agent}):
            link = msgspec.structs.replace(right, **change)
            if link != right:
                self.offer(getattr(self.scribe, kind)(self.task, keys, **{field: link}))
        assert self.task == before

    @rule(ms=st.sampled_from([0, 1, 500, 1_000, 2_000, 6_000, 30_000]))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.offer(Elapsed())

    @rule()
    def abandon(self) -> None:
        self.now_ms += ABANDONED_AFTER_MS + 60_000
        self.offer(Elapsed())

    @invariant()
    def what_was_taken_does_nothing_twice(self) -> None:
        for record in getattr(self, "taken", ()):
            before = self.task
            with contextlib.suppress(IllegalTransition, StaleEpoch):
                assert step(before, record, self.now_ms) is before

    @invariant()
    def one_worker_holds_it_or_none(self) -> None:
        if not hasattr(self, "task"):
            return
        task = self.task
        assert (task.worker is not None) == (
            task.state in LIVE | {State.ACCEPTED, State.REJECTED, State.LAPSED}
        )
        assert task.attempts <= task.terms.lease.attempts_max
        assert len(task.bids) <= task.terms.bidders_max
        assert len({bid.record.author for bid in task.bids}) == len(task.bids)

    @invariant()
    def time_alone_ends_it(self) -> None:
        if not hasattr(self, "task"):
            return
        task, now_ms, looks = self.task, self.now_ms, 0
        while (next_ms := wake_ms(task, now_ms)) is not None:
            now_ms, looks = max(now_ms, next_ms), looks + 1
            task = step(task, Elapsed(), now_ms)
            assert looks < 10
        assert task.state in TERMINAL
        assert due(task, now_ms) is None
        later: Any = step(task, Elapsed(), now_ms + 10**12)
        assert later is task


Life.TestCase.settings = settings(settings.default, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase
