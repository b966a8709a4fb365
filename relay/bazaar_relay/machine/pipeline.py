"""The way of everything that is written: known or verified, decided in order, committed in groups.

What is decided while one commit is under way is the next group, so there is no timer: an idle relay
commits a lone record at once, a busy one takes all that has come in meanwhile.
"""

from collections import deque

from bazaar_protocol import frames, limits
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.frames import FromRelay
from bazaar_protocol.identity import AgentId
from bazaar_protocol.peering_frames import Forward
from bazaar_protocol.records import RecordId, record_id
from bazaar_relay.machine.deciding import ACCEPTED, DUPLICATE, Decider, refusal_of
from bazaar_relay.machine.events import (
    Commit,
    CommitFailed,
    ConnectionId,
    Effect,
    Forwarded,
    Pulled,
    Read,
    ReadDone,
    ReadFailed,
    Reply,
    Verified,
    Verify,
    WorkId,
)
from bazaar_relay.machine.foreseeing import foresee, leave_task_unknown
from bazaar_relay.machine.group import Answer, Group
from bazaar_relay.machine.sequencing import ClaimRefused, Sequencer
from bazaar_relay.machine.state import Missing, RelayState
from bazaar_relay.machine.timers import Timer
from bazaar_relay.machine.witness import Witness
from bazaar_relay.machine.works import (
    Claiming,
    LookingAt,
    Mailing,
    Publishing,
    Work,
    answer_or_error,
    storage_error,
)
from bazaar_relay.storage.store import NewLetter


class Pipeline:
    """Works in the order in which they came, the group they fill, and the commit under way."""

    def __init__(self, state: RelayState) -> None:
        self.effects: list[Effect] = []
        """What is to be done; whoever calls takes them."""
        self._state = state
        self._sequencer = Sequencer(state)
        self.witness = Witness(state)
        """What speaks for workers' silence; its timers are the caller's to watch."""
        self._decider = Decider(state, self._sequencer, self.witness)
        self._works: deque[Work] = deque()
        self._by_id: dict[WorkId, Work] = {}
        self._running: Group | None = None
        self._count = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting or under way."""
        return not self._works and self._running is None and not self._state.group.writes

    def begin_log(self, now_ms: int) -> None:
        """Sign the first entry of the relay's log."""
        self._sequencer.begin_log(now_ms)

    def publish(
        self, connection: ConnectionId, peer: AgentId, publish: frames.Publish, now_ms: int
    ) -> None:
        """Take records, of which those that are durable already need no look."""
        statuses = [self._known_status(raw) for raw in publish.records]
        unclear = tuple(place for place, status in enumerate(statuses) if not status)
        if not unclear:
            answer = frames.Published(publish.request, tuple(statuses))
            self.effects.append(Reply(connection, answer))
            return
        raws = tuple(publish.records[place] for place in unclear)
        number, request = self._next_id(), publish.request
        work = Publishing(number, connection, request, statuses, unclear, peer, raws)
        self._add(work)
        self._begin(work, now_ms)

    def _pull(self, pulled: Pulled, now_ms: int) -> None:
        """Take what a peer has: verified by its chain already, or to be verified."""
        state, records = self._state, pulled.records
        statuses = [""] * len(records) or [self._known_status(raw) for raw in pulled.raws]
        unclear = tuple(place for place, status in enumerate(statuses) if not status)
        if not unclear:
            self.effects.append(Reply(pulled.connection, frames.Published(0, tuple(statuses))))
            return
        raws = () if records else tuple(pulled.raws[place] for place in unclear)
        work = Publishing(
            self._next_id(), pulled.connection, 0, statuses, unclear, pulled.peer, raws,
            outcomes=records, is_ready=bool(records), is_pulled=True, is_old=pulled.is_old,
        )  # fmt: skip
        self._add(work)
        for record in records:
            leave_task_unknown(state, work.answered, record)
        if raws:
            self._begin(work, now_ms)

    def claim(self, connection: ConnectionId, worker: AgentId, claim: frames.Claim) -> None:
        """Take a claim."""
        task = RecordId(claim.task)
        self._add(Claiming(self._next_id(), connection, claim.request, worker, task))

    def mail(self, connection: ConnectionId, peer: AgentId, mail: frames.Mail) -> None:
        """Take a letter."""
        to = AgentId(mail.to)
        self._add(Mailing(self._next_id(), connection, mail.request, peer, to, mail.sealed))

    def forward(self, connection: ConnectionId, peer: AgentId, letter: Forward) -> None:
        """Take a letter that was mailed to a peer."""
        sender, to = AgentId(letter.sender or peer), AgentId(letter.to)
        self._add(
            Mailing(
                self._next_id(), connection, letter.request, sender, to, letter.sealed,
                is_forwarded=True,
            )
        )  # fmt: skip

    def collect(self, connection: ConnectionId, peer: AgentId, collect: frames.Collect) -> None:
        """Forget letters that their addressee has."""
        answer = answer_or_error(connection, collect.request, frames.Collected(collect.request))
        state = self._state
        state.group.collected += [(peer, number) for number in collect.numbers]
        state.mailboxes.forget(peer)  # how many are left is for the store to say
        if collect.numbers:
            state.group.answers.append(answer)
        else:
            self.effects.append(Reply(connection, answer.kept))

    def look_at(self, task: RecordId) -> None:
        """Do what time has made due for a task."""
        self._add(LookingAt(self._next_id(), task))

    def take(
        self,
        event: Verified | ReadDone | ReadFailed | CommitFailed | Pulled | Forwarded,
        now_ms: int,
    ) -> None:
        """Take the outcome of an effect, or what the shell has done with a peer."""
        match event:
            case Pulled():
                self._pull(event, now_ms)
            case Forwarded(to=to, number=number):
                self._state.group.collected.append((to, number))
                self._state.mailboxes.forget(to)
            case Verified():
                self._verified(event)
            case ReadDone():
                self._read_done(event, now_ms)
            case ReadFailed():
                self._read_failed(event, now_ms)
            case CommitFailed(reason=reason):
                self._commit_failed(reason)

    def _begin(self, work: Publishing, now_ms: int) -> None:
        """Have records verified, or as many of them as a stranger may hand in."""
        gate = self._state.gate
        if not gate.is_open and not work.is_pulled:
            try:
                is_stranger = self._state.is_stranger(work.peer, now_ms)
            except Missing as missing:
                self._read(work, missing.read(work.id))
                return
            if is_stranger:
                work.look_only_at(self._free_places(work, now_ms), gate.refusal(now_ms))
            else:
                gate.difficulty.count(others=len(work.raws), now_ms=now_ms)
        if work.raws:
            self.effects.append(Verify(work.id, work.raws))
            work.raws = ()
        else:
            work.is_ready = True

    def _free_places(self, work: Publishing, now_ms: int) -> tuple[int, ...]:
        """Return which records of a stranger are looked at: a few, or else a good stamp."""
        gate = self._state.gate
        gate.difficulty.count(strangers=len(work.raws), now_ms=now_ms)
        if gate.is_worth_a_look(work.raws[0], work.peer, now_ms):
            return (0,)
        free = min(len(work.raws), gate.count_free(work.peer, now_ms))
        gate.spend_free(work.peer, free, now_ms)
        return tuple(range(free))

    def _verified(self, event: Verified) -> None:
        work = self._by_id[event.work]
        assert isinstance(work, Publishing)
        assert len(event.outcomes) == len(work.open)
        work.outcomes = event.outcomes
        work.is_ready = True

    def _read_done(self, event: ReadDone, now_ms: int) -> None:
        work = self._by_id[event.work]
        assert work.reading is not None
        self._state.learn(work.reading, event, work.answered, now_ms)
        work.reading = None
        if isinstance(work, Publishing) and work.raws:
            self._begin(work, now_ms)
        else:
            work.is_ready = True

    def _read_failed(self, event: ReadFailed, now_ms: int) -> None:
        work = self._by_id[event.work]
        work.reading = None
        work.is_ready = True
        match work:
            case Publishing():
                work.give_up(event.reason)
                return
            case LookingAt():
                self._state.timers.set(Timer("task", work.task), now_ms + limits.WAKE_MS)
            case Claiming() | Mailing():
                error = storage_error(work.request, event.reason)
                self.effects.append(Reply(work.connection, error))
        self._works.popleft()  # only the first in line reads
        del self._by_id[event.work]

    def committed(self) -> Group:
        """Answer for the commit that was under way and return what it made durable."""
        group = self._running
        assert group is not None
        self._running = None
        unkept = self._state.unkept_entries
        for new in group.records:
            if new.record.seq:
                unkept.pop((new.record.author, new.record.seq), None)
        for answer in group.answers:
            self.effects.append(Reply(answer.connection, answer.kept))
        return group

    def _commit_failed(self, reason: str) -> None:
        """Take back the commit that was under way, and all that was built on it since."""
        assert self._running is not None
        failed = (self._running, self._state.group)
        self._running = None
        for group in reversed(failed):
            self._state.take_back(group)
        self._state.group = Group(self._state.group.number + 1)
        for group in failed:
            for answer in group.answers:
                self.effects.append(Reply(answer.connection, answer.failed(reason)))
        if self._works and isinstance(first := self._works[0], Publishing):
            first.begin_again()

    def pump(self, now_ms: int) -> None:
        """Decide what can be decided, and begin the next commit if none is under way."""
        self._decide_waiting(now_ms)
        self._begin_commit()

    def _decide_waiting(self, now_ms: int) -> None:
        while self._works and self._works[0].is_ready:
            work = self._works[0]
            try:
                self._do(work, now_ms)
            except Missing as missing:
                self._read(work, missing.read(work.id))
                break
            if work.reading is not None:
                break
            self._works.popleft()
            del self._by_id[work.id]

    def _begin_commit(self) -> None:
        if self._running is None and self._state.group.writes:
            self._running = self._state.group
            self._state.group = Group(self._running.number + 1)
            self.effects.append(Commit(self._running.batch()))

    def _do(self, work: Work, now_ms: int) -> None:
        match work:
            case Publishing():
                self._decide(work, now_ms)
            case Claiming():
                self._grant(work, now_ms)
            case Mailing():
                self._mail(work, now_ms)
            case LookingAt(task=task_id):
                task = self._state.task(task_id, work.answered)
                if task is not None:
                    self._sequencer.look_at(task, now_ms)

    def _decide(self, work: Publishing, now_ms: int) -> None:
        state = self._state
        if work.position == 0:
            read = foresee(state, work.outcomes, work.answered, work=work.id, now_ms=now_ms)
            if read:
                self._read(work, read)
                return
        while work.position < len(work.open):
            outcome = work.outcomes[work.position]
            if isinstance(outcome, RemoteError):
                status = refusal_of(outcome)
            else:
                status = self._decider.decide(outcome, work, now_ms)
                if work.is_pulled:
                    state.origins.note(outcome.id, work.peer)
                if status == ACCEPTED or status.startswith("fork:"):
                    work.group = state.group.number
                else:
                    work.group = max(work.group, state.recent.group(outcome.id) or 0)
            work.statuses[work.open[work.position]] = status
            work.position += 1
        self._answer_after(work.group, work.answer())

    def _grant(self, work: Claiming, now_ms: int) -> None:
        shunned = self._state.standing(work.worker).reason_to_shun
        if shunned:
            code, _, reason = shunned.partition(": ")
            self.effects.append(Reply(work.connection, frames.Error(work.request, code, reason)))
            return
        if self._turns_away(work, work.worker, now_ms):
            return
        try:
            award = self._sequencer.claim(work.task, work.worker, work.answered, now_ms)
        except ClaimRefused as refused:
            error = frames.Error(work.request, refused.code, refused.reason)
            self.effects.append(Reply(work.connection, error))
            return
        self._answer_request(
            work, frames.Claimed(work.request, award.raw), self._state.recent.group(award.id) or 0
        )

    def _mail(self, work: Mailing, now_ms: int) -> None:
        if not work.is_forwarded and self._turns_away(work, work.sender, now_ms):
            return
        mailboxes = self._state.mailboxes
        reason = ""
        if mailboxes.is_known(work.to):
            reason = mailboxes.refusal(work.to, work.sender)
            if reason and not work.has_asked:
                mailboxes.forget(work.to)  # some may have expired meanwhile
        if not mailboxes.is_known(work.to):
            work.has_asked = True
            self._read(work, Read(work.id, letters=(work.to,)))
            return
        if reason:
            error = frames.Error(work.request, "rate-limited", reason)
            self.effects.append(Reply(work.connection, error))
            return
        expires_ms = now_ms + limits.LETTER_LIFETIME_MS
        self._state.add_letter(NewLetter(work.to, work.sealed, expires_ms, work.sender))
        self._answer_request(work, frames.Mailed(work.request), self._state.group.number)

    def _turns_away(self, work: Claiming | Mailing, agent: AgentId, now_ms: int) -> bool:
        """Ask a stranger for work instead of doing its; nothing of this is free."""
        if not self._state.is_stranger(agent, now_ms):
            return False
        self._state.gate.difficulty.count(strangers=1, now_ms=now_ms)
        code, _, reason = self._state.gate.refusal(now_ms).partition(": ")
        self.effects.append(Reply(work.connection, frames.Error(work.request, code, reason)))
        return True

    def _answer_request(self, work: Claiming | Mailing, kept: FromRelay, group: int) -> None:
        self._answer_after(group, answer_or_error(work.connection, work.request, kept))

    def _answer_after(self, group: int, answer: Answer) -> None:
        """Answer once ``group`` is durable."""
        # A group of nothing would never be committed.
        if group == self._state.group.number and self._state.group.writes:
            self._state.group.answers.append(answer)
        elif self._running is not None and group == self._running.number:
            self._running.answers.append(answer)
        else:
            self.effects.append(Reply(answer.connection, answer.kept))

    def _known_status(self, raw: bytes) -> str:
        try:
            group = self._state.recent.group(record_id(raw))
        except RemoteError as error:
            return refusal_of(error)
        oldest_open = self._state.group if self._running is None else self._running
        return DUPLICATE if group is not None and group < oldest_open.number else ""

    def _read(self, work: Work, read: Read) -> None:
        work.reading = read
        work.is_ready = False
        self.effects.append(read)

    def _add(self, work: Work) -> None:
        self._works.append(work)
        self._by_id[work.id] = work

    def _next_id(self) -> WorkId:
        self._count += 1
        return WorkId(self._count)
