"""What becomes of one verified record: kept and passed on, kept in silence, or refused."""

from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.errors import (
    Contradiction,
    Equivocation,
    IllegalTransition,
    MalformedRecord,
    RemoteError,
    StaleEpoch,
)
from bazaar_protocol.evidence_kinds import Omission, Proof, Stamp, Succession
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Advert, Bid, Decline, Heartbeat, Post
from bazaar_protocol.log import Head, check_succession, detect_fork
from bazaar_protocol.records import Record, seal
from bazaar_protocol.task import State, Task, award_of, open_task, step
from bazaar_relay.machine.audience import audience_of
from bazaar_relay.machine.sequencing import Sequencer
from bazaar_relay.machine.standing import CLEAN
from bazaar_relay.machine.state import Answered, RelayState
from bazaar_relay.machine.tasks import fold_late
from bazaar_relay.machine.timers import Timer
from bazaar_relay.machine.witness import Witness
from bazaar_relay.machine.works import Publishing
from bazaar_relay.storage.matching import accused_by, task_of

ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
_STATUS_CHARS_MAX: Final = 512


class Decider:
    """Decides record by record, in the order of their arrival, and fills the group."""

    def __init__(self, state: RelayState, sequencer: Sequencer, witness: Witness) -> None:
        self._state = state
        self._sequencer = sequencer
        self._witness = witness

    def decide(self, record: Record, work: Publishing, now_ms: int) -> str:
        """Return the status of ``record``, which came with ``work``.

        If it is kept, it is in the group now.

        Raises:
            Missing: The store has to be asked first; nothing has changed.

        """
        state, answered = self._state, work.answered
        if record.id in state.recent:
            return DUPLICATE
        refusal = state.admission.refusal(record, now_ms)
        if refusal is not None:
            return refusal
        is_sure = state.sure_of == (record.author, now_ms)
        if is_sure and not work.is_pulled:
            return self._decide_known(record, answered, now_ms)
        if record.author == state.me:
            return self._decide_own(record)
        standing = CLEAN if is_sure else state.standing(record.author)
        refusal = standing.refusal(record)
        if refusal:
            return refusal
        if work.is_pulled:
            return self._decide_pulled(record, work, now_ms)
        if state.gate.is_freely_taken(record):
            return self._decide_known(record, answered, now_ms)
        if not state.is_stranger(record.author, now_ms):
            if standing is CLEAN:
                state.sure_of = (record.author, now_ms)
            return self._decide_known(record, answered, now_ms)
        return self._decide_strangers(record, work, now_ms)

    def _decide_own(self, record: Record) -> str:
        """Refuse what claims to be ours, but for a proof, which comes back as it goes round."""
        accused = accused_by(record)
        if accused is not None and record in self._state.standing(accused):
            return DUPLICATE
        return "blocked: this relay alone writes in its own name"

    def _decide_pulled(self, record: Record, work: Publishing, now_ms: int) -> str:
        """Decide on what a peer has: who signed it was let in and counted there."""
        if record.seq:
            return self._decide_entry(record, work.answered, now_ms)
        if work.is_old and isinstance(record.body, Post):
            return self._decide_old_post(record, record.body, work.answered, now_ms)
        return self._decide_loose(record, work.answered, now_ms)

    def _decide_strangers(self, record: Record, work: Publishing, now_ms: int) -> str:
        """Decide on a record by nobody we know: a stamp, or one of the few that are free."""
        gate, answered = self._state.gate, work.answered
        if gate.is_for_us(record) or record.author == work.peer:  # which has paid for it already
            return self._decide_known(record, answered, now_ms)
        if gate.count_free(record.author, now_ms):
            status = self._decide_known(record, answered, now_ms)
            gate.spend_free(record.author, int(status == ACCEPTED), now_ms)
        else:
            status = gate.refusal(now_ms)
        gate.difficulty.count(strangers=1, now_ms=now_ms)
        return status

    def _decide_known(self, record: Record, answered: Answered, now_ms: int) -> str:
        admission = self._state.admission
        if admission.policy.grows:
            self._state.head(record.author)  # asks the store, if need be
        decide = self._decide_entry if record.seq else self._decide_loose
        if not admission.policy.bytes_per_day:
            return decide(record, answered, now_ms)
        author = self._state.caller(record.author)
        refusal = admission.keeping_refusal(author, now_ms)
        if refusal:
            return refusal
        status = decide(record, answered, now_ms)
        if status == ACCEPTED:
            admission.keep(author, len(record.raw), now_ms)
        return status

    def _decide_entry(self, record: Record, answered: Answered, now_ms: int) -> str:
        head = self._state.head(record.author)
        if record.seq > head.seq + 1:
            return f"gap: have {head.seq}"
        if record.seq <= head.seq:
            return self._decide_past_entry(record, head, answered, now_ms)
        if record.prev != head.id:
            return f"fork: it continues another entry {head.seq} than the one known here"
        task_id = task_of(record)
        if task_id is None:
            self._keep(record, (), now_ms)
            self._state.remember_entry(record)
            return ACCEPTED
        task = self._state.task(task_id, answered)
        status = self._apply(record, task, now_ms)
        self._state.remember_entry(record)
        return status

    def _decide_past_entry(
        self, record: Record, head: Head, answered: Answered, now_ms: int
    ) -> str:
        if record.seq == head.seq and record.id == head.id:
            return DUPLICATE
        known = self._state.entry(record.author, record.seq, answered)
        if known is None:
            return f"gap: have {head.seq}, but not entry {record.seq} any more"
        try:
            detect_fork(known, record)
        except Equivocation as fork:
            self._prove(fork, record, now_ms)
            return f"fork: its author signed another entry {record.seq} before"
        except Contradiction as error:
            return refusal_of(error)
        return DUPLICATE

    def _prove(self, fork: Equivocation, record: Record, now_ms: int) -> None:
        standing = self._state.standing(record.author)
        body = Proof("equivocation", fork.proof)
        proof = seal(self._state.keys, body, time_ms=now_ms)
        convicted = standing.after(proof)
        if convicted is not standing:  # one proof is as good as a thousand
            self._state.hold_against(record.author, convicted)
            self._keep(proof, (), now_ms)

    def _decide_loose(self, record: Record, answered: Answered, now_ms: int) -> str:
        match record.body:
            case Advert() as advert:
                return self._decide_advert(record, advert, now_ms)
            case Post() as post:
                return self._decide_post(record, post, answered, now_ms)
            case Proof() | Omission() | Succession():
                return self._decide_evidence(record, answered, now_ms)
            case Stamp() if self._state.gate.is_for_us(record):
                return self._decide_stamp(record, now_ms)
            case _:
                pass  # about a task, or for whoever asks for its kind
        task_id = task_of(record)
        if task_id is None:
            self._keep(record, (), now_ms)
            return ACCEPTED
        task = self._state.task(task_id, answered)
        if task is None:
            return "expired: this relay does not have the post that it is about"
        if isinstance(record.body, Bid | Decline) and not self._state.may_say(record, task_id):
            return "blocked: its author has said enough about this task"
        return self._apply(record, task, now_ms)

    def _decide_stamp(self, record: Record, now_ms: int) -> str:
        refusal = self._state.gate.stamp_refusal(record, now_ms)
        if not refusal:
            self._keep(record, (), now_ms)
            self._state.let_in(record)
        return refusal or ACCEPTED

    def _decide_evidence(self, record: Record, answered: Answered, now_ms: int) -> str:
        """Keep the first proof against an agent, or the first succession of it, and no other."""
        state, accused = self._state, accused_by(record)
        assert accused is not None
        standing = state.standing(accused)
        if record in standing:
            return DUPLICATE
        worse = standing.after(record)
        if worse is standing:
            return "stale: another one says so already"
        if isinstance(record.body, Proof):
            state.head(accused)  # asks the store, if need be: its log is compared no more
        if isinstance(record.body, Succession):
            genesis = state.entry(accused, 1, answered)
            if genesis is None:
                return "expired: this relay does not have the log that it ends"
            try:
                check_succession(record, genesis)
            except RemoteError as error:
                return refusal_of(error)
        state.hold_against(accused, worse)
        self._keep(record, (), now_ms)
        return ACCEPTED

    def _decide_advert(self, record: Record, advert: Advert, now_ms: int) -> str:
        state, agent = self._state, record.author
        before, version = state.adverts.get(agent), state.adverts.version(agent)
        if advert.version <= version:
            return f"stale: version {version} is known"
        author = state.caller(agent, is_strange=state.is_strange(agent, now_ms))
        if before is None and len(state.adverts) >= state.admission.adverts(author):
            return "blocked: this relay holds as many adverts as it can"
        state.adverts.put(record, advert)
        state.timers.set(Timer("advert", agent), now_ms + advert.expires_in_ms)
        state.group.undo.append(lambda: state.adverts.put_back(agent, before, version))
        self._keep(record, (), now_ms)
        live = state.adverts.get(agent)
        for post in state.router.arrived(live, now_ms) if live is not None else ():
            state.offer(post.id, agent, now_ms)
        return ACCEPTED

    def _decide_post(self, record: Record, post: Post, answered: Answered, now_ms: int) -> str:
        state = self._state
        try:
            task = open_task(record, now_ms)
        except MalformedRecord as error:
            return refusal_of(error)
        if not state.recent.is_surely_new(record) and state.task(record.id, answered) is not None:
            return DUPLICATE  # of long ago: it must not begin again
        is_strange = state.is_strange(record.author, now_ms)
        author = state.caller(record.author, is_strange=is_strange)
        if state.router.count(record.author) >= state.admission.open_posts(author):
            # A node tries again what is rate-limited, and says nothing else until then: it could
            # not even close what it has open.
            return "blocked: its author has as many open posts as one may have"
        if len(state.router) >= state.admission.posts(author):
            return "blocked: this relay holds as many open posts as it can"
        audience = state.router.open(record, post, now_ms)
        state.group.undo.append(lambda: state.router.drop(record.id))
        self._keep(record, audience, now_ms)
        state.put_task(task, now_ms)
        return ACCEPTED

    def _decide_old_post(self, record: Record, post: Post, answered: Answered, now_ms: int) -> str:
        """Keep a post that a peer has had for some time, and offer it if it is still to be had.

        What became of it may be here already, since logs are pulled first.
        """
        state = self._state
        came_ms = min(record.time_ms, now_ms)
        if came_ms + post.expires_in_ms <= now_ms:
            self._keep(record, (), now_ms)
            return ACCEPTED
        if state.task(record.id, answered) is not None:
            return DUPLICATE
        task = fold_late(record, answered.early.get(record.id, ()), now_ms)
        if task is None:
            return "malformed: the post contradicts itself"
        posts_max = state.admission.open_posts(state.caller(record.author))
        is_full = state.router.count(record.author) >= posts_max
        if task.state is not State.OPEN or is_full or len(state.router) >= limits.POSTS_OPEN_MAX:
            self._keep(record, (), now_ms)
        else:
            audience = state.router.open(record, post, came_ms)
            state.group.undo.append(lambda: state.router.drop(record.id))
            self._keep(record, audience, now_ms)
        state.put_task(task, now_ms)
        return ACCEPTED

    def _apply(self, record: Record, task: Task | None, now_ms: int) -> str:
        """Keep a record about a task and move the task on, as far as the record does."""
        if task is not None and task.terms.sequencer == self._state.me:
            task = self._sequencer.elapse(task, now_ms)
        audience = audience_of(record, task, self._state.me)
        if task is None:
            self._keep(record, audience, now_ms)
            return ACCEPTED
        try:
            later = step(task, record, now_ms)
        except StaleEpoch as error:
            self._witness.heard(task, record.author, now_ms)
            # Without it its author's log would have a hole, or who is a witness would not know.
            if record.seq or self._state.turns.is_shared:
                self._keep(record, (), now_ms, is_silent=True)
            return refusal_of(error)
        except IllegalTransition:
            later = task  # its sequencer may know what we do not
        else:
            if isinstance(record.body, Heartbeat) and not _is_due(task, later, now_ms):
                self._witness.heard(task, record.author, now_ms)
                if self._state.turns.is_shared:  # the other processes have to hear of it
                    self._keep(record, (), now_ms, is_silent=True)
                return "stale: this lease was renewed a moment ago"
        self._keep(record, audience, now_ms)
        if later is not task:
            self._state.put_task(later, now_ms)
            self._witness.ended(record, task, now_ms)
        self._react(record, task, later, now_ms)
        return ACCEPTED

    def _react(self, record: Record, task: Task, later: Task, now_ms: int) -> None:
        if later.bids:
            self._sequencer.award_bidder(later, now_ms)
        match record.body:
            case Decline(epoch=0):
                chosen = self._state.router.declined(task.id, record.author, now_ms)
                self._state.offer(task.id, chosen, now_ms)
            case Bid():
                self._state.router.wait_longer(task.id, record.author, now_ms)
            case Heartbeat() if later is not task and task.terms.sequencer == self._state.me:
                self._sequencer.renew(later, record, now_ms)
            case _:
                return

    def _keep(
        self,
        record: Record,
        audience: tuple[AgentId, ...],
        now_ms: int,
        *,
        is_silent: bool = False,
    ) -> None:
        retention = self._state.admission.policy.retention
        until_ms = None if record.seq else retention.expires_ms(record, now_ms)
        self._state.group.keep(record, audience, until_ms, is_silent=is_silent)
        self._state.remember(record, now_ms)


def _is_due(before: Task, after: Task, now_ms: int) -> bool:
    """Tell whether a heartbeat renews a lease that was not renewed just now, or by a newer one."""
    if after is before:
        return False
    if before.heartbeat is None or before.deadline_ms is None or before.award is None:
        return True
    timeout_ms = award_of(before.award).lease.heartbeat_timeout_ms
    renewed_ms = before.deadline_ms - timeout_ms
    return now_ms - renewed_ms >= timeout_ms // limits.HEARTBEATS_PER_TIMEOUT_MAX


def refusal_of(error: RemoteError) -> str:
    """Return the status that says ``error``: its code, then its reason."""
    return f"{error.code}: {error}"[:_STATUS_CHARS_MAX]
