"""The side of an agent that does work: it bids, accepts, keeps its leases, and delivers."""

from typing import Final

from bazaar_node.market import grievances
from bazaar_node.market.bidding import has_to_ask, next_bid_ms
from bazaar_node.market.claiming import CLAIM_BUSY, CLAIM_ELSEWHERE
from bazaar_node.market.deferred import Deferred
from bazaar_node.market.events import (
    ClaimRefused,
    ClaimTask,
    FetchInput,
    InputReady,
    Learnt,
    LearnTask,
    LoadChanged,
    Offer,
    StartWork,
    StopWork,
    WorkDone,
    WorkFailed,
    WorkProgressed,
)
from bazaar_node.market.job import Job
from bazaar_node.market.ledger import Entry, Ledger
from bazaar_node.market.sealed_bids import seal_bid
from bazaar_node.market.shop import Shop
from bazaar_node.market.turn import Turn
from bazaar_protocol import limits
from bazaar_protocol.award import check_post
from bazaar_protocol.errors import MalformedRecord, NotFound, StaleEpoch
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import (
    Accept,
    Award,
    Bid,
    Decline,
    DeclineReason,
    Deliver,
    Heartbeat,
    Post,
    Verdict,
    Withdraw,
)
from bazaar_protocol.letters import Renewed, TaskResult
from bazaar_protocol.normal_form import to_normal
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import State, award_of, link_to

BUSY_RETRY_MS: Final = 5_000
CLAIM_PAUSE_MS: Final = 1_000
"""How soon to ask again for a task that another has."""
FAILED_PAUSE_MS: Final = 5_000
"""How soon to try again what we have failed at, if nobody else has done it by then."""


class Worker:
    """Works for others, within its slots."""

    def __init__(self, ledger: Ledger, shop: Shop, slots: int) -> None:
        self._ledger = ledger
        self._shop = shop
        self._slots = slots
        self.addresses: tuple[str, ...] = ()
        """Where results can be fetched, for the records that say so."""
        self.jobs: dict[RecordId, Job] = {}
        self._deferred = Deferred()

    @property
    def slots_free(self) -> int:
        """How many more tasks we would accept now."""
        return max(self._slots - len(self.jobs), 0)

    def consider(self, turn: Turn, post: Record) -> None:
        """Answer a post that a relay offered to us: bid, claim, or decline with a reason.

        Raises:
            MalformedRecord: The post contradicts itself.

        """
        body = post.body
        assert isinstance(body, Post)
        check_post(body, post.author)
        if body.mode == "direct":
            self._ledger.begin(turn, post, "worker")
            return  # its award follows, and is what we answer
        offer = self._shop.offer_for(body)
        self._ledger.credit.forgive(turn.now_ms)
        reason = self._objection(body, post.author, offer)
        if offer is None or reason is not None:
            if reason == "busy":
                self._ledger.begin(turn, post, "worker")  # else a restart would forget it
                self._defer(post)
            self._decline(turn, post.id, 0, reason or "out_of_scope")
            return
        entry = self._ledger.begin(turn, post, "worker")
        if not has_to_ask(entry.task, turn.pen.agent):
            return
        if body.sequencer != post.author:
            turn.act(ClaimTask(post.id, AgentId(body.sequencer)))
        else:
            self._bid(turn, entry, offer)

    def claim_refused(self, turn: Turn, event: ClaimRefused) -> None:
        """Come back later to a task that another has, unless it is over."""
        entry = self._ledger.get(event.task)
        if entry is None:
            return
        offer = self._shop.offer_for(entry.task.terms) if event.code == CLAIM_ELSEWHERE else None
        if offer is not None:
            self._bid(turn, entry, offer)
        elif event.code == CLAIM_BUSY:
            self._deferred.add(entry.task.post)
        elif not event.is_final:
            self._come_back(turn, entry, CLAIM_PAUSE_MS)

    def take(self, turn: Turn, entry: Entry, record: Record) -> None:
        """Deal with a record about a task that we bid for or work on."""
        if not self.observe(turn, entry, record):
            return
        task = entry.task
        if isinstance(record.body, Award) and record.body.worker == turn.pen.agent:
            self._answer_award(turn, entry, record, record.body)
        elif isinstance(record.body, Verdict):
            self._protest(turn, entry)
            self._reconsider(turn)  # there may be more credit now
        elif task.epoch > 0 and self._is_to_ask_again(turn, entry):
            # Our attempt is over, and the task on offer again; we may be the one who can do it.
            self.consider(turn, task.post)

    def hear_reveal(self, turn: Turn, entry: Entry, record: Record) -> None:
        """Read what the poster knew before: it may show that our result was rejected unjustly."""
        self._ledger.remark(turn, entry, record)
        self._protest(turn, entry, record)

    def observe(self, turn: Turn, entry: Entry, record: Record | None) -> bool:
        """Let the fold take a record, or the passing of time; stop an attempt that it ends."""
        changed = self._ledger.observe(turn, entry, record)
        task = entry.task
        job = self.jobs.get(task.id)
        if job is not None and (task.state is not State.RUNNING or task.epoch != job.epoch):
            self._lose(turn, job, task.why or "it was awarded to another")
        return changed

    def learn(self, turn: Turn, record: Record, body: Award) -> None:
        """Ask for a task that we do not know and whose award names us."""
        if body.worker == turn.pen.agent:
            turn.act(LearnTask(RecordId(body.task), record))

    def take_learnt(self, turn: Turn, event: Learnt) -> None:
        """Take part in a task whose award came before its post."""
        if self._ledger.is_past(event.post.id):
            return
        if isinstance(event.award.body, Award) and event.award.body.task == event.post.id:
            entry = self._ledger.begin(turn, event.post, "worker")
            if entry.role == "worker":
                self.take(turn, entry, event.award)

    def start(self, turn: Turn, event: InputReady) -> None:
        """Begin, now that the input is here."""
        job = self.jobs.get(event.task)
        if job is None or job.epoch != event.epoch:
            return
        turn.act(StartWork(event.task, event.epoch, job.entry.task.post, job.offer))

    def progress(self, turn: Turn, event: WorkProgressed) -> None:
        """Take note of progress; the next heartbeat reports it."""
        job = self._job(event.task, event.epoch)
        if event.percent is not None:
            job.percent = min(max(event.percent, 0), 100)
        job.note = to_normal(event.note, limits.NAME_CHARS_MAX)
        turn.note(event.task, "progress", f"{job.percent}% {job.note}", epoch=job.epoch)

    def deliver(self, turn: Turn, event: WorkDone) -> None:
        """Hand in a result.

        Raises:
            NotFound: We hold no such task.
            StaleEpoch: The lease was lost.

        """
        job = self._job(event.task, event.epoch)
        task = job.entry.task
        if turn.now_ms >= job.lease_ends_ms():  # the next tick lets it go
            raise StaleEpoch(have=event.epoch, need=event.epoch + 1)
        assert task.award is not None
        expected = task.terms.acceptance.expected
        if expected and event.hash != expected:  # what is signed now would be proof against us
            reason = "the result has not the hash that the post expects"
            self.fail(turn, WorkFailed(event.task, event.epoch, reason))
            return
        if event.data is not None:  # before the record, so that it is there when that arrives
            turn.mail(task.poster, TaskResult(task.id, job.epoch, event.data))
        body = Deliver(
            task=task.id,
            award=link_to(task.award),
            epoch=job.epoch,
            hash=event.hash,
            size=event.size,
            media_type=to_normal(event.media_type, limits.NAME_CHARS_MAX),
            addresses=self.addresses,
        )
        self._ledger.observe(turn, job.entry, turn.say(body))
        self._free(turn, job)

    def fail(self, turn: Turn, event: WorkFailed) -> None:
        """Leave an attempt that came to nothing, and try again later if nobody else does it.

        Raises:
            NotFound: We hold no such task.
            StaleEpoch: The lease was lost anyway.

        """
        entry = self._job(event.task, event.epoch).entry
        self.give_up(turn, event.task, event.epoch, event.reason)
        self._come_back(turn, entry, FAILED_PAUSE_MS)

    def give_up(self, turn: Turn, task: RecordId, epoch: int, reason: str) -> None:
        """Leave an attempt in good order.

        Raises:
            NotFound: We hold no such task.
            StaleEpoch: The lease was lost anyway.

        """
        job = self._job(task, epoch)
        held = job.entry.task
        assert held.award is not None
        reason = to_normal(reason, limits.TEXT_CHARS_MAX)
        body = Withdraw(task, link_to(held.award), job.epoch, reason)
        turn.act(StopWork(task, job.epoch))
        self._ledger.observe(turn, job.entry, turn.say(body))
        self._free(turn, job)

    def let_go(self, turn: Turn, entry: Entry, epoch: int) -> None:
        """Stop an attempt whose accept came too late; what has replaced our award is to follow."""
        job = self.jobs.get(entry.task.id)
        if job is not None and job.epoch == epoch:
            self._lose(turn, job, "the accept came too late")

    def renew(self, turn: Turn, sender: AgentId, letter: Renewed) -> None:
        """Extend the lease, from when we sent the heartbeat that was answered."""
        job = self.jobs.get(RecordId(letter.task))
        if job is None or job.epoch != letter.epoch:
            return
        if sender != job.entry.task.terms.sequencer:
            return
        beat = job.beats.pop(RecordId(letter.heartbeat), None)
        if beat is None:
            return
        self._ledger.observe(turn, job.entry, beat, at_ms=beat.time_ms)
        for late in [id_ for id_, other in job.beats.items() if other.time_ms < beat.time_ms]:
            del job.beats[late]

    def tick(self, turn: Turn) -> None:
        """Send the heartbeats that are due, and stop where a lease has run out."""
        for job in list(self.jobs.values()):
            if turn.now_ms >= job.lease_ends_ms():
                self._lose(turn, job, "the sequencer did not renew it in time")
            elif turn.now_ms >= job.beat_ms:
                self._beat(turn, job)
        due_ms = self._deferred.due_ms(self._ledger.credit.slack)
        if due_ms is not None and turn.now_ms >= due_ms:
            self._reconsider(turn)

    def wake_ms(self) -> int | None:
        """Return when ``tick`` has something to do, if nothing happens before."""
        moments = [min(job.beat_ms, job.lease_ends_ms()) for job in self.jobs.values()]
        slack = self._ledger.credit.slack
        due_ms = self._deferred.due_ms(slack) if self.slots_free > 0 else None
        return min(moments if due_ms is None else [*moments, due_ms], default=None)

    def resume(self, turn: Turn) -> None:
        """After a start: take up attempts whose leases may still run, and posts not answered."""
        for entry in self._ledger.live("worker"):
            task = entry.task
            if task.terms.mode != "direct" and has_to_ask(task, turn.pen.agent):
                self._deferred.add(task.post)
            if task.state is State.AWARDED and task.award is not None:
                if task.worker == turn.pen.agent:
                    self._answer_award(turn, entry, task.award, award_of(task.award))
            elif task.state is State.RUNNING:
                offer = self._shop.offer_for(task.terms)
                if offer is None or task.worker != turn.pen.agent:
                    continue
                job = Job(entry, task.epoch, offer, beat_ms=turn.now_ms)
                if turn.now_ms < job.lease_ends_ms():
                    self.jobs[task.id] = job
                    turn.act(FetchInput(task.id, task.epoch, task.post))
                else:
                    turn.note(task.id, "lease_lost", "while we were away", epoch=task.epoch)

    def _answer_award(self, turn: Turn, entry: Entry, record: Record, body: Award) -> None:
        task = entry.task
        offer = self._shop.offer_for(task.terms)
        reason = self._objection(task.terms, task.poster, offer)
        if reason is None and offer is not None:
            bid = self._ledger.opened.get(RecordId(body.bid))
            reason = self._shop.objection_to_award(task, body, offer, bid)
        if reason is not None or offer is None:
            self._decline(turn, task.id, body.epoch, reason or "out_of_scope")
            if reason == "busy":
                self._defer(task.post)
            return
        answer = Accept(
            task=task.id,
            award=link_to(record),
            epoch=body.epoch,
            terms=body.terms,
            capability_version=offer.version,
            fingerprint=offer.fingerprint,
        )
        accept = turn.say(answer)
        if not self._ledger.observe(turn, entry, accept):
            return
        job = Job(entry, body.epoch, offer, beat_ms=turn.now_ms)
        job.beat_ms += job.beat_every_ms()
        self.jobs[task.id] = job
        self._deferred.forget(task.id)
        turn.act(FetchInput(task.id, body.epoch, task.post), LoadChanged())

    def _is_to_ask_again(self, turn: Turn, entry: Entry) -> bool:
        is_pausing = self._deferred.is_pausing(entry.task.id, turn.now_ms)
        return has_to_ask(entry.task, turn.pen.agent) and not is_pausing

    def _come_back(self, turn: Turn, entry: Entry, pause_ms: int) -> None:
        if has_to_ask(entry.task, turn.pen.agent):
            self._deferred.add_later(entry.task.post, turn.now_ms, pause_ms)

    def _bid(self, turn: Turn, entry: Entry, offer: Offer) -> None:
        task = entry.task
        terms = self._shop.bid_for(task.terms, offer)
        body = Bid(task.id, terms, b"", b"")
        if task.terms.sealed:
            try:
                body = seal_bid(turn.pen, AgentId(task.terms.sequencer), task.id, terms)
            except MalformedRecord:  # a key that signs, and cannot be encrypted to
                self._decline(turn, task.id, 0, "policy")
                return
        # Whatever our clock has done since the last bid.
        record = turn.say(body, not_before_ms=next_bid_ms(task, turn.pen.agent))
        self._ledger.bid(turn, entry, record, terms)

    def _decline(self, turn: Turn, task: RecordId, epoch: int, reason: DeclineReason) -> None:
        retry = BUSY_RETRY_MS if reason == "busy" else 0
        record = turn.say(Decline(task, epoch, reason, retry))
        entry = self._ledger.get(task)
        if entry is not None and epoch > 0:
            self._ledger.observe(turn, entry, record)

    def _protest(self, turn: Turn, entry: Entry, revealed: Record | None = None) -> None:
        reason = grievances.injustice(entry.task, turn.pen.agent, revealed)
        if reason and not entry.is_disputed:
            entry.is_disputed = True
            grievances.dispute(turn, entry.task, reason)

    def _objection(self, post: Post, poster: AgentId, offer: Offer | None) -> DeclineReason | None:
        reason = self._shop.objection(post, poster, offer)
        return "busy" if reason is None and self.slots_free == 0 else reason

    def _beat(self, turn: Turn, job: Job) -> None:
        task = job.entry.task
        assert task.award is not None
        job.beat_ms = turn.now_ms + job.beat_every_ms()
        body = Heartbeat(task.id, task.award.id, job.epoch, job.percent, job.note)
        record = turn.say(body)
        job.beats[record.id] = record

    def _lose(self, turn: Turn, job: Job, why: str) -> None:
        task = job.entry.task
        turn.note(task.id, "lease_lost", why, epoch=job.epoch)
        turn.act(StopWork(task.id, job.epoch))
        self._ledger.credit.release(task.id)
        self._free(turn, job)

    def _free(self, turn: Turn, job: Job) -> None:
        self.jobs.pop(job.entry.task.id, None)
        turn.act(LoadChanged())
        self._reconsider(turn)

    def _reconsider(self, turn: Turn) -> None:
        slack = self._ledger.credit.slack
        post = self._deferred.pop(turn.now_ms, slack) if self.slots_free > 0 else None
        if post is not None:
            self.consider(turn, post)

    def _defer(self, post: Record) -> None:
        """Come back to a post when there is a slot for it, or credit for its poster."""
        self._deferred.add(post, self._ledger.credit.slack if self.slots_free else None)

    def _job(self, task: RecordId, epoch: int) -> Job:
        job = self.jobs.get(task)
        if job is not None and job.epoch == epoch:
            return job
        entry = self._ledger.get(task)
        if entry is None or entry.role != "worker":
            raise NotFound(f"we do not work on {task.hex()[:12]}")
        # Whatever state it is in, this attempt is not ours any more.
        raise StaleEpoch(have=epoch, need=max(entry.task.epoch, epoch + 1))
