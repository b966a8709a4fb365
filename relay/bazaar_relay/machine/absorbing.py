"""Learning what other processes of the same relay have decided.

They have checked it, decided it, and made it durable. So nothing here refuses, signs, wakes or
routes anything: it only follows. A task that was read from the store meanwhile may be told again
what it knows.
"""

from dataclasses import dataclass
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.errors import IllegalTransition, MalformedRecord, StaleEpoch
from bazaar_protocol.evidence_kinds import Intake, Omission, Proof, Stamp, Succession
from bazaar_protocol.kinds import (
    Accept,
    Advert,
    Award,
    Bid,
    Decline,
    Deliver,
    Heartbeat,
    Post,
    Withdraw,
)
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import Elapsed, Task, open_task, step
from bazaar_relay.machine.receipts import Receipts
from bazaar_relay.machine.state import RelayState
from bazaar_relay.machine.subscriptions import Subscriptions
from bazaar_relay.machine.timers import Timer
from bazaar_relay.machine.witness import Witness
from bazaar_relay.storage.index import Entry
from bazaar_relay.storage.matching import accused_by, task_of
from bazaar_relay.storage.sharing import News
from bazaar_relay.storage.store import Stored

_DURABLE: Final = 0
"""The group of what was durable before we heard of it."""
_LOOK_AGAIN_MS: Final = limits.MINUTE_MS
_OF_A_HOLDER: Final = (Accept, Heartbeat, Deliver)
"""What the poster is told of, unless it changed nothing."""


@dataclass(frozen=True, slots=True)
class Absorber:
    """Takes in what others have committed."""

    state: RelayState
    receipts: Receipts
    subscriptions: Subscriptions
    witness: Witness

    def take(self, news: News, now_ms: int) -> None:
        """Follow ``news``, whose cursors are beyond all that was heard or committed here."""
        self.state.sure_of = None  # somebody may have been convicted
        for entry in news.entries:
            stored = Stored(entry.cursor, entry.record.raw)
            if entry.route_of is not None:
                (agent,) = entry.audience
                self.state.router.told(entry.record.id, agent, now_ms)
                self.subscriptions.route(stored, entry.record, agent)
                continue
            self._follow(entry, now_ms)
            if entry.record.author != self.state.me:
                is_due = not isinstance(entry.record.body, Intake)
                self.receipts.add(entry.cursor, entry.record.id, is_due=is_due)
            self.subscriptions.publish(stored, entry.record, entry.audience)
        for _, letter in news.letters:
            self.state.mailboxes.forget(letter.to)
        self.receipts.cover(news.covered)

    def _follow(self, entry: Entry, now_ms: int) -> None:
        state, record = self.state, entry.record
        state.recent.add(record.id, _DURABLE, now_ms)
        state.admission.keep(state.caller(record.author), len(record.raw), now_ms)
        if record.seq:
            self._lengthen(record)
        match record.body:
            case Advert() as advert:
                self._advertise(record, advert, now_ms)
            case Post() as post:
                self._open(entry, post, now_ms)
            case Proof() | Omission() | Succession():
                self._accuse(record)
            case Stamp():
                if state.gate.is_for_us(record):
                    state.gate.let_in(record)
            case _:
                task_id = task_of(record)
                if task_id is not None:
                    self._move(entry, task_id, now_ms)

    def _lengthen(self, record: Record) -> None:
        state = self.state
        if record.author == state.me:
            if record.seq > state.own_head.seq:
                state.own_head = Head.of(record)
            return
        head = state.heads.get(record.author)
        if head is None or record.seq > head.seq:
            state.heads.put(record.author, Head.of(record))

    def _advertise(self, record: Record, advert: Advert, now_ms: int) -> None:
        state = self.state
        if advert.version > state.adverts.version(record.author):
            state.adverts.put(record, advert)
            state.timers.set(Timer("advert", record.author), now_ms + advert.expires_in_ms)

    def _accuse(self, record: Record) -> None:
        accused = accused_by(record)
        assert accused is not None
        known = self.state.standings.get(accused)
        if known is not None:
            self.state.standings.put(accused, known.after(record))
        self.state.adverts.remove(accused)

    def _open(self, entry: Entry, post: Post, now_ms: int) -> None:
        state, record = self.state, entry.record
        if state.tasks.get(record.id) is not None or state.router.record(record.id) is not None:
            return
        # One that a peer has had for long came late; of ours nobody had any before.
        came_ms = now_ms if post.sequencer == state.me else min(record.time_ms, now_ms)
        if came_ms + post.expires_in_ms <= now_ms:
            return
        try:
            task = open_task(record, came_ms)
        except MalformedRecord:
            return  # of a version that takes other posts than this one
        state.router.hold(record, post, task.expires_ms, offered=entry.audience)
        for agent in entry.audience:
            state.adverts.was_sent_a_post(agent)
        state.follow_task(None, task, now_ms)
        state.router.resume(task, now_ms)

    def _move(self, entry: Entry, task_id: RecordId, now_ms: int) -> None:
        """Follow a record about a task."""
        state, record = self.state, entry.record
        if isinstance(record.body, Bid | Decline):
            key = (task_id, record.author)
            state.said.put(key, (state.said.get(key) or 0) + 1)
        task = state.tasks.get(task_id)
        if task is None:
            self._forget_promise(record, task_id, now_ms)
            return
        if isinstance(record.body, _OF_A_HOLDER) and not entry.audience:
            # It came too late, or too soon, for who decided: whatever our clock says of it.
            self.witness.heard(task, record.author, now_ms)
            return
        try:
            later = _step(task, record, now_ms)
        except StaleEpoch as stale:
            if stale.have < task.epoch:
                later = task
            else:  # only our clock has ended it
                self._forget_promise(record, task_id, now_ms)
                state.tasks.pop(task_id)
                return
        except IllegalTransition:
            # Who decided knew something that we do not, or it is the record that does not fit. The
            # store knows, and is asked when it matters.
            self._forget_promise(record, task_id, now_ms)
            state.tasks.pop(task_id)
            return
        if later is task:
            self.witness.heard(task, record.author, now_ms)
        else:
            state.follow_task(task, later, now_ms)
        if isinstance(record.body, Bid):
            state.router.wait_longer(task_id, record.author, now_ms)

    def _forget_promise(self, record: Record, task_id: RecordId, now_ms: int) -> None:
        """Take note of a task that is not in memory and that we may have to look after."""
        state = self.state
        if isinstance(record.body, Award | Accept | Decline | Withdraw):
            state.promises.settle(task_id)
        timer = Timer("task", task_id)
        is_ours = record.author == state.me or isinstance(record.body, Accept)
        if is_ours and not state.timers.has(timer):
            state.timers.set(timer, now_ms + _LOOK_AGAIN_MS)


def _step(task: Task, record: Record, now_ms: int) -> Task:
    # Without letting time pass first: our clock says less about it than that it was taken.
    try:
        return step(task, record, now_ms)
    except IllegalTransition:
        return step(step(task, Elapsed(), now_ms), record, now_ms)
