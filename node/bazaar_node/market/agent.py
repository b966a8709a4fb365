"""An agent: the pure machine that decides what its node signs, and what it wants done.

``handle`` takes what happened and the time, and returns a ``Turn``: changes that have to become
durable together, then actions. It reads no clock, touches no socket and draws no random number
itself, so the daemon and a simulation run the very same code. If the changes could not be made
durable, throw the machine away and build it again from the store: nothing had left it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from bazaar_node.market.bidding import has_to_ask
from bazaar_node.market.events import (
    AgentEvent,
    Arrived,
    Asked,
    Cancelled,
    ClaimRefused,
    Contested,
    InputFound,
    InputReady,
    Judged,
    KeepData,
    LearnPost,
    Learnt,
    LetterArrived,
    Offer,
    Pledged,
    RefusedByRelay,
    ResultArrived,
    Resumed,
    Ticked,
    WorkDone,
    WorkFailed,
    WorkProgressed,
)
from bazaar_node.market.exposure import Exposure
from bazaar_node.market.grievances import dispute
from bazaar_node.market.invitations import Doorman
from bazaar_node.market.ledger import Entry, Ledger
from bazaar_node.market.opinions import About
from bazaar_node.market.poster import Poster
from bazaar_node.market.shop import Shop, capability_of
from bazaar_node.market.successions import Successions
from bazaar_node.market.trust import Trust
from bazaar_node.market.turn import Pen, Turn
from bazaar_node.market.valuation import Valuation
from bazaar_node.market.worker import Worker
from bazaar_protocol import limits
from bazaar_protocol.errors import BazaarError, IllegalTransition, NotFound, StaleEpoch
from bazaar_protocol.evidence_kinds import Dispute, Reveal, Silence, Vouch
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Accept, Advert, Award, BidTerms, Post
from bazaar_protocol.letters import Invitation, Renewed, TaskInput, TaskResult
from bazaar_protocol.log import HEIR_AGREES_AT
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import Task

SEEN_MAX: Final = 16_384
"""How many records are remembered by id, since several relays hand us the same ones."""


class Agent:
    """Everything one identity does in the market."""

    def __init__(
        self,
        pen: Pen,
        entries: Iterable[Entry] = (),
        *,
        opened: Mapping[RecordId, BidTerms] | None = None,
        past: Iterable[RecordId] = (),
        offers: Mapping[str, Offer] | None = None,
        slots: int = 1,
        price_min: int = 0,
        trust: Trust | None = None,
    ) -> None:
        self.pen = pen
        self.offers: dict[str, Offer] = dict(offers or {})
        self.slots = slots
        self.is_spoiled = False
        """Whether an error came after something was decided: what is in memory is ahead of what
        is durable then, and the machine has to be built again from the store."""
        self.trust = Trust() if trust is None else trust
        """What it goes by when it chooses whom to deal with."""
        self.successions = Successions()
        self._ledger = Ledger(entries, past, agent=pen.agent, credit=self.trust.credit)
        self.involves = self._ledger.involves
        """Tells whether a task in memory is one that we and some peer have to do with."""
        self._ledger.opened.update(opened or {})
        valuation = Valuation(self.trust, self._ledger.exposure)
        self._poster = Poster(self._ledger, valuation, self.trust, self.successions)
        self._worker = Worker(self._ledger, Shop(self.offers, price_min, valuation), slots)
        self._doorman = Doorman()
        self._seen: OrderedDict[RecordId, None] = OrderedDict()

    @property
    def hears_others(self) -> bool:
        """Whether what others say reaches us: while it does not, their silence means nothing."""
        return self._poster.hears_others

    @hears_others.setter
    def hears_others(self, hears: bool) -> None:
        self._poster.hears_others = hears

    @property
    def exposure(self) -> Exposure:
        """What others hold of ours."""
        return self._ledger.exposure

    @property
    def load(self) -> int:
        """How many slots are taken."""
        return len(self._worker.jobs)

    @property
    def slots_free(self) -> int:
        """How many more tasks we would accept now."""
        return self._worker.slots_free

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where our node can be dialed."""
        return self._worker.addresses

    @addresses.setter
    def addresses(self, addresses: tuple[str, ...]) -> None:
        self._worker.addresses = addresses

    @property
    def relays(self) -> tuple[AgentId, ...]:
        """The relays by which we can be reached."""
        return self._poster.relays

    @relays.setter
    def relays(self, relays: tuple[AgentId, ...]) -> None:
        self._poster.relays = relays

    def entry(self, task: RecordId) -> Entry | None:
        """Return a task in memory."""
        return self._ledger.get(task)

    def has_to_ask(self, task: RecordId) -> bool:
        """Tell whether a task that we would do may still come to us if we ask for it."""
        entry = self._ledger.get(task)
        return entry is not None and has_to_ask(entry.task, self.pen.agent)

    def works_for(self, agent: AgentId) -> list[RecordId]:
        """Return the tasks of ``agent`` that we do now."""
        return [id_ for id_, job in self._worker.jobs.items() if job.entry.task.poster == agent]

    def progress(self, task: RecordId) -> tuple[int, str]:
        """Return how far an attempt of ours is, as last reported."""
        job = self._worker.jobs.get(task)
        return (job.percent, job.note) if job is not None else (0, "")

    def handle(self, event: AgentEvent, now_ms: int) -> Turn:
        """Decide what to do about ``event``.

        Raises:
            RemoteError: What was asked for is not possible in the state the task is in.
            NotFound: It is about a task that is not ours.

        """
        turn = Turn(self.pen, now_ms)
        try:
            self._decide(turn, event)
        except BazaarError:
            self.is_spoiled |= bool(turn.changes)
            raise
        return turn

    def _decide(self, turn: Turn, event: AgentEvent) -> None:
        match event:
            case Ticked():
                self._tick(turn)
            case Resumed():
                self._poster.resume(turn)
                self._worker.resume(turn)
            case Asked() | ResultArrived() | Judged() | InputFound() | Cancelled():
                self._post(turn, event)
            case Contested(task, reason):
                self._contest(turn, task, reason)
            case Pledged(body):
                if isinstance(body, Vouch) and turn.pen.head.seq + 1 == HEIR_AGREES_AT:
                    # In this place it would be an heir's consent: take back what was never said.
                    turn.say(Vouch(body.agent, is_withdrawn=True))
                turn.say(body)
            case InputReady() | WorkProgressed() | WorkDone() | WorkFailed() | Learnt():
                self._work(turn, event)
            case ClaimRefused():
                self._worker.claim_refused(turn, event)
            case _:
                self._hear(turn, event)

    def wake_ms(self) -> int | None:
        """Return when ``Ticked`` is due if nothing happens before; None for never."""
        tasks = self._ledger.wake_ms() if self.hears_others else None
        moments = (tasks, self._worker.wake_ms())
        return min((moment for moment in moments if moment is not None), default=None)

    def advert(
        self, *, name: str, relays: tuple[str, ...], expires_in_ms: int, now_ms: int,
        offers: Mapping[str, Offer] | None = None,
    ) -> Record:  # fmt: skip
        """Sign what we offer now. The time is its version, so a later one always replaces it.

        Raises:
            MalformedRecord: The offers are too many or too large for an advert, or one is none.

        """
        shown = self.offers if offers is None else offers
        body = Advert(
            version=now_ms,
            name=name,
            capabilities=tuple(capability_of(offer) for offer in shown.values()),
            relays=relays,
            addresses=self.addresses,
            slots=self.slots,
            load=self.load,
            expires_in_ms=expires_in_ms,
        )
        return self.pen.sign(body, now_ms)

    def may_fetch(self, peer: AgentId, task: RecordId, wanted: bytes) -> bool:
        """Tell whether ``peer`` may have this input or result of a task from us."""
        entry = self._ledger.get(task)
        if entry is None or self.successions.has_ended(peer):
            return False
        held = entry.task
        if entry.role == "poster":
            return peer == held.worker and wanted == held.terms.input.hash
        judges = {held.poster, held.terms.acceptance.evaluator}
        delivered = getattr(held.deliver.body, "hash", None) if held.deliver else None
        return peer in judges and wanted == delivered

    def _tick(self, turn: Turn) -> None:
        for entry in self._ledger.pop_due(turn.now_ms) if self.hears_others else ():
            if entry.role == "poster":
                self._poster.advance(turn, entry)
            else:
                self._worker.observe(turn, entry, None)
            self._ledger.schedule(entry, turn.now_ms)
        self._worker.tick(turn)

    def _take(self, turn: Turn, record: Record) -> None:
        if record.author == self.pen.agent or not self._is_new(record.id):
            return  # our own words come back, or another relay was faster
        if self.successions.is_void(record):
            return
        self._take_new(turn, record)
        if record.id in turn.refused:  # it may have come too early, and another relay tells all
            self._seen.pop(record.id, None)

    def _take_new(self, turn: Turn, record: Record) -> None:
        if self._ledger.is_past(RecordId(getattr(record.body, "task", record.id))):
            return
        if isinstance(record.body, Post):
            self._worker.consider(turn, record)
            return
        task = getattr(record.body, "task", None)
        entry = self._ledger.get(task) if task is not None else None
        if isinstance(record.body, Dispute | Reveal | Silence):
            if entry is not None:
                self._hear_evidence(turn, entry, record)
        elif entry is not None and entry.role == "poster":
            self._poster.take(turn, entry, record)
        elif entry is not None:
            self._worker.take(turn, entry, record)
        elif isinstance(record.body, Award):
            self._worker.learn(turn, record, record.body)

    def _is_new(self, record: RecordId) -> bool:
        if record in self._seen:
            return False
        self._seen[record] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return True

    def _read(self, turn: Turn, sender: AgentId, letter: object) -> None:
        match letter:
            case Renewed():
                self._worker.renew(turn, sender, letter)
            case TaskInput(task, data):
                entry = self._ledger.get(RecordId(task))
                if entry is not None and _is_input(entry, sender, data):
                    turn.act(KeepData(RecordId(task), data))
            case Invitation(task):
                self._be_invited(turn, sender, RecordId(task))
            case TaskResult(task, epoch, data):
                entry = self._ledger.get(RecordId(task))
                if entry is not None and _may_be_result(entry, sender, epoch):
                    entry.results += 1
                    turn.act(KeepData(RecordId(task), data))
            case _:
                return

    def _hear(self, turn: Turn, event: Arrived | LetterArrived | RefusedByRelay) -> None:
        match event:
            case Arrived(record):
                self._take(turn, record)
            case LetterArrived(sender, letter):
                self._read(turn, sender, letter)
            case RefusedByRelay(record, status):
                self._note_refusal(turn, record, status)

    def _post(
        self, turn: Turn, event: Asked | ResultArrived | Judged | InputFound | Cancelled
    ) -> None:
        match event:
            case Asked(post, command):
                self._poster.post(turn, post, command)
            case ResultArrived():
                self._poster.judge_when_here(turn, event)
            case Judged():
                self._poster.judge(turn, event)
            case InputFound(task, worker, data):
                turn.mail(worker, TaskInput(task, data))
            case Cancelled(task, reason):
                self._cancel(turn, event, task, reason)

    def _work(
        self, turn: Turn, event: InputReady | WorkProgressed | WorkDone | WorkFailed | Learnt
    ) -> None:
        match event:
            case InputReady():
                self._worker.start(turn, event)
            case WorkProgressed():
                self._worker.progress(turn, event)
            case WorkDone():
                self._worker.deliver(turn, event)
            case WorkFailed():
                self._worker.fail(turn, event)
            case Learnt():
                self._worker.take_learnt(turn, event)

    def _hear_evidence(self, turn: Turn, entry: Entry, record: Record) -> None:
        """Take note of what is said of a task beside its fold, which it does not change."""
        match record.body:
            case Dispute(reason=reason) if record.author == entry.task.worker:
                self._ledger.remark(turn, entry, record, reason)
            case Reveal() if (record.author, entry.role) == (entry.task.poster, "worker"):
                self._worker.hear_reveal(turn, entry, record)
            case _:
                return

    def _be_invited(self, turn: Turn, poster: AgentId, task: RecordId) -> None:
        if self._ledger.get(task) is not None or self._ledger.is_past(task):
            return
        standing = self.trust.opinions.standing(About(poster, "poster"))
        if self._doorman.admits(poster, turn.now_ms, is_known=standing.is_known):
            turn.act(LearnPost(task, poster))

    def _contest(self, turn: Turn, task: Task, reason: str) -> None:
        entry = self._ledger.get(task.id)
        if entry is not None and entry.is_disputed:
            raise IllegalTransition(task.state, "dispute", "it is disputed already")
        dispute(turn, task, reason)
        if entry is not None:
            entry.is_disputed = True

    def _cancel(self, turn: Turn, event: Cancelled, task: RecordId, reason: str) -> None:
        entry = self._ledger.get(task)
        if entry is None:
            raise NotFound(f"no live task {task.hex()[:12]}")
        if entry.role == "poster":
            self._poster.cancel(turn, event)
        else:
            self._worker.give_up(turn, task, entry.task.epoch, reason)

    def _note_refusal(self, turn: Turn, record: Record, status: str) -> None:
        task = getattr(record.body, "task", record.id)
        entry = self._ledger.get(RecordId(task))
        if entry is None:
            return
        epoch = getattr(record.body, "epoch", 0)
        turn.note(
            entry.task.id, "refused", f"{record.kind}: {status}", epoch=epoch, record=record.id
        )
        if isinstance(record.body, Accept) and status.startswith(StaleEpoch.code):
            self._worker.let_go(turn, entry, epoch)


def _is_input(entry: Entry, sender: AgentId, data: bytes) -> bool:
    task = entry.task
    is_ours = entry.role == "worker" and sender == task.poster
    return is_ours and sha256(data).digest() == task.terms.input.hash


def _may_be_result(entry: Entry, sender: AgentId, epoch: int) -> bool:
    """Tell whether to keep a letter: the record that names its hash comes after it.

    So the worker could send anything, and any number of letters would fill our disk.
    """
    task = entry.task
    is_held = entry.role == "poster" and (sender, epoch) == (task.worker, task.epoch)
    return is_held and entry.results < limits.RESULTS_MAILED_PER_TASK_MAX
