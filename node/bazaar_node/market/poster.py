"""The side of an agent that wants work done: it posts, awards, watches leases, and judges."""

from collections.abc import Sequence
from typing import Final

from bazaar_node.market.concluding import conclude, note_delivery
from bazaar_node.market.events import (
    Cancelled,
    FetchResult,
    Judge,
    Judged,
    Opened,
    ResultArrived,
    SendInput,
    TaskChanged,
)
from bazaar_node.market.invitations import EVERYBODY, TOP, guests
from bazaar_node.market.ledger import Entry, Ledger
from bazaar_node.market.probing import Prober
from bazaar_node.market.sealed_bids import open_bid
from bazaar_node.market.successions import Successions
from bazaar_node.market.trust import Trust
from bazaar_node.market.turn import Turn
from bazaar_node.market.valuation import (
    LOOK_AGAIN_MS,
    SOLICITATIONS,
    NobodyYet,
    OpenBid,
    Valuation,
    extension,
)
from bazaar_protocol import award, limits
from bazaar_protocol.errors import (
    BadSignature,
    IllegalTransition,
    MalformedRecord,
    NotFound,
    Refused,
    StaleEpoch,
)
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import (
    Accept,
    Bid,
    BidTerms,
    Breach,
    Decline,
    Deliver,
    Heartbeat,
    Post,
    Verdict,
    Withdraw,
)
from bazaar_protocol.letters import Invitation, Renewed
from bazaar_protocol.normal_form import to_normal
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import (
    AwardDue,
    BreachDue,
    SeenBid,
    State,
    Task,
    award_of,
    due,
    link_to,
    step,
)

ENDED: Final = "the identity of the worker was ended by its recovery key"


class Poster:
    """Drives the tasks that this agent posted."""

    def __init__(
        self, ledger: Ledger, valuation: Valuation, trust: Trust, successions: Successions
    ) -> None:
        self._ledger = ledger
        self._successions = successions
        self._valuation = valuation
        self._trust = trust
        self._prober = Prober(ledger, valuation, trust)
        self.hears_others = True
        self.relays: tuple[AgentId, ...] = ()
        """The relays by which we can be reached, for the awards that say so."""

    def post(self, turn: Turn, body: Post, command: str) -> Entry:
        """Post a task; ``command`` is kept for when its result is judged.

        Raises:
            MalformedRecord: The post contradicts itself.
            Refused: It is for a worker whom the owner's policy refuses.

        """
        award.check_post(body, turn.pen.agent)
        if body.worker is not None and self._successions.has_ended(AgentId(body.worker)):
            raise Refused("ended", ENDED)
        if body.worker is not None:
            objection = self._valuation.objection_to_worker(AgentId(body.worker), body)
            if objection is not None:
                raise Refused("policy", objection.why)
        record = turn.say(body)
        entry = self._ledger.begin(turn, record, "poster", command)
        if body.mode == "auction":
            self._invite(turn, entry, TOP)
            self._ledger.look_again(entry, extension(entry.task, turn.now_ms)[1])
        self.advance(turn, entry)
        return entry

    def take(self, turn: Turn, entry: Entry, record: Record) -> None:
        """Deal with a record about a task of ours."""
        if isinstance(record.body, Bid) and not self._open(turn, entry, record):
            return
        before = entry.task
        changed = self._ledger.observe(turn, entry, record)
        self._forget_replaced(before, entry.task)
        match record.body:
            case Heartbeat() if entry.task.heartbeat is not None and self._is_sequencer(
                turn, entry
            ):
                if entry.task.heartbeat.id == record.id:
                    renewed = Renewed(before.id, entry.task.epoch, record.id)
                    turn.mail(record.author, renewed)
            case Accept() if changed:
                self._send_input(turn, entry)
            case Deliver() if changed:
                note_delivery(entry, before, turn.now_ms)
                self._receive(turn, entry, record)
                self._try_a_stranger(turn, entry)
            case Verdict(accepted=is_good) if changed:
                self._conclude(turn, entry, before, is_good=is_good)
            case Breach() if changed:
                self._conclude(turn, entry, before, is_good=False)
            case Decline(epoch=0, reason=reason) if before.state is State.OPEN:
                # It changes nothing, but its poster wants to know why nobody bids.
                turn.note(before.id, "decline", reason, agent=record.author, record=record.id)
                turn.act(TaskChanged(before.id))
            case _:
                pass
        self.advance(turn, entry)

    def advance(self, turn: Turn, entry: Entry) -> None:
        """Let time pass for a task, and sign what is due if we are its sequencer."""
        if self.hears_others:
            self._ledger.observe(turn, entry, None)
        if not self._is_sequencer(turn, entry):
            return
        self._ask_more_if_silent(turn, entry)
        while (todo := due(entry.task, turn.now_ms)) is not None:
            if entry.task.state is not State.OPEN and not self.hears_others:
                return  # what we take for silence may wait at a relay
            match todo:
                case AwardDue(bids, worker):
                    if not self._award(turn, entry, bids, worker):
                        return
                case BreachDue(deadline):
                    task = entry.task
                    assert task.accept is not None
                    body = Breach(task.id, link_to(task.accept), task.epoch, deadline)
                    if not self._ledger.observe(turn, entry, turn.say(body)):
                        return
                    self._conclude(turn, entry, task, is_good=False)

    def judge_when_here(self, turn: Turn, event: ResultArrived) -> None:
        """Have a result judged, now that it is here."""
        entry = self._ledger.get(event.task)
        if entry is None or entry.task.state is not State.DELIVERED:
            return
        deliver = entry.task.deliver
        if deliver is not None and _delivered(deliver).hash == event.hash:
            turn.act(Judge(event.task, entry.task.post, deliver))

    def judge(self, turn: Turn, event: Judged) -> None:
        """Sign the verdict.

        Raises:
            NotFound: We have no such task.
            IllegalTransition: It does not wait for a verdict of ours.

        """
        entry = self._find(event.task)
        task = entry.task
        if task.state is not State.DELIVERED or task.deliver is None:
            raise IllegalTransition(task.state, "verdict")
        if task.deliver.id != event.deliver:
            raise IllegalTransition(task.state, "verdict", "another result came meanwhile")
        if (task.terms.acceptance.evaluator or task.poster) != turn.pen.agent:
            raise IllegalTransition(task.state, "verdict", "its evaluator judges it")
        link = link_to(task.deliver)
        reason = to_normal(event.reason, limits.TEXT_CHARS_MAX)
        self._pronounce(turn, entry, Verdict(task.id, link, task.epoch, event.accepted, reason, ()))

    def cancel(self, turn: Turn, event: Cancelled) -> None:
        """Take a task back.

        Raises:
            NotFound: We have no such task.
            IllegalTransition: It is delivered already, or over.

        """
        entry = self._find(event.task)
        if entry.task.state not in {State.OPEN, State.AWARDED, State.RUNNING}:
            raise IllegalTransition(entry.task.state, "withdraw")
        reason = to_normal(event.reason, limits.TEXT_CHARS_MAX)
        body = Withdraw(event.task, None, entry.task.epoch, reason)
        self._ledger.observe(turn, entry, turn.say(body))

    def resume(self, turn: Turn) -> None:
        """After a start: ask again for what a crash may have interrupted."""
        for entry in self._ledger.live("poster"):
            task = entry.task
            if task.state is State.DELIVERED and task.deliver is not None:
                self._receive(turn, entry, task.deliver)
            if task.state is State.RUNNING:
                self._send_input(turn, entry)

    def _receive(self, turn: Turn, entry: Entry, deliver: Record) -> None:
        """Get a result to judge it; that of a probe is judged by its hash alone."""
        probe = self._prober.get(entry.task.id)
        if probe is None:
            turn.act(FetchResult(entry.task.id, deliver))
            return
        self._pronounce(turn, entry, self._prober.verdict(probe, deliver, entry.task.epoch))
        turn.say(self._prober.reveal(probe, deliver))

    def _try_a_stranger(self, turn: Turn, entry: Entry) -> None:
        """Now that the bids are known and the task is done, have a probe go out, now and then."""
        if self._is_sequencer(turn, entry):
            bids = self._open_bids(entry.task.bids, turn.now_ms)
            posted = self._prober.post_beside(turn, entry, bids)
            if posted is not None:
                self.advance(turn, posted)

    def _pronounce(self, turn: Turn, entry: Entry, verdict: Verdict) -> None:
        before = entry.task
        self._ledger.observe(turn, entry, turn.say(verdict))
        self._conclude(turn, entry, before, is_good=verdict.accepted)

    def _conclude(self, turn: Turn, entry: Entry, before: Task, *, is_good: bool) -> None:
        bid = award_of(before.award).bid if before.award is not None else b""
        conclude(
            turn, entry, before,
            experience=self._trust.experience,
            promised=self._promised(before, bid),
            is_good=is_good,
            is_probe=self._prober.get(before.id) is not None,
        )  # fmt: skip

    def _award(
        self, turn: Turn, entry: Entry, bids: tuple[SeenBid, ...], worker: AgentId | None
    ) -> bool:
        task = entry.task
        price, bid = task.terms.price, b""
        considered: Sequence[award.Offer] = ()
        if worker is None:
            open_bids = self._open_bids(bids, turn.now_ms)
            choice = self._valuation.choose(task, open_bids, turn.now_ms)
            if choice is None or isinstance(choice, NobodyYet):
                self._hold_back(turn, entry, choice)
                return False
            worker, bid, considered = choice.best.worker, choice.best.bid, choice.considered
            price = price if task.terms.mode == "claim" else choice.best.terms.price
        elif self._successions.has_ended(worker):
            self._hold_back(turn, entry, NobodyYet(ENDED, turn.now_ms + LOOK_AGAIN_MS))
            return False
        body = award.draft(
            task.post,
            worker,
            epoch=task.epoch + 1,
            price=price,
            bid=bid,
            relays=self.relays,
            considered=considered,
        )
        return self._ledger.observe(turn, entry, turn.say(body))

    def _hold_back(self, turn: Turn, entry: Entry, nobody: NobodyYet | None) -> None:
        """Award it to nobody for now, and tell the owner why."""
        if nobody is None:
            return
        self._ledger.look_again(entry, nobody.again_ms)
        self._extend(turn, entry, nobody.extension)
        if nobody.why != entry.held_back:
            entry.held_back = nobody.why
            turn.note(entry.task.id, "held_back", nobody.why)
            turn.act(TaskChanged(entry.task.id))

    def _ask_more_if_silent(self, turn: Turn, entry: Entry) -> None:
        if entry.task.state is not State.OPEN or entry.task.bids:
            return
        waited, again_ms = extension(entry.task, turn.now_ms)
        if waited <= SOLICITATIONS:
            self._ledger.look_again(entry, again_ms)
            self._extend(turn, entry, waited)

    def _extend(self, turn: Turn, entry: Entry, number: int) -> None:
        """Ask more for a bid if that extension of an auction has just begun."""
        if number > entry.extension and entry.task.terms.mode == "auction":
            entry.extension = number
            self._invite(turn, entry, EVERYBODY)

    def _invite(self, turn: Turn, entry: Entry, among: int) -> None:
        """Ask some of so many of the best for a bid who have not made one."""
        task = entry.task
        asked = entry.invited | {bid.record.author for bid in task.bids}
        for guest in guests(
            self._trust.opinions, task.terms.capability, turn.pen.entropy, asked=asked, among=among
        ):
            entry.invited.add(guest)
            turn.mail(guest, Invitation(task.id))

    def _open_bids(self, bids: tuple[SeenBid, ...], now_ms: int) -> list[OpenBid]:
        found: list[OpenBid] = []
        for bid in bids:
            if self._successions.has_ended(bid.record.author):
                continue  # it came before we heard that; its owner does not use the key any more
            terms = self._terms(bid.record)
            if terms is not None and now_ms <= bid.seen_ms + terms.valid_for_ms:
                found.append(OpenBid(bid.record.id, bid.record.author, terms))
        return found

    def _promised(self, task: Task, bid: bytes) -> BidTerms | None:
        records = (seen.record for seen in task.bids if seen.record.id == bid)
        record = next(records, None)
        return None if record is None else self._terms(record)

    def _terms(self, record: Record) -> BidTerms | None:
        assert isinstance(record.body, Bid)
        return record.body.terms or self._ledger.opened.get(record.id)

    def _open(self, turn: Turn, entry: Entry, record: Record) -> bool:
        """Open a sealed bid that the task takes; tell whether its terms fit to the record."""
        assert isinstance(record.body, Bid)
        if record.body.terms is not None or not _takes(entry.task, record, turn.now_ms):
            return True
        try:
            letter = open_bid(turn.pen.keys, record)
        except (MalformedRecord, BadSignature) as error:
            self._ledger.refuse(turn, entry, record, error)
            return False
        self._ledger.opened[record.id] = letter.terms
        turn.changes.append(Opened(record.id, letter.salt, letter.terms))
        return True

    def _forget_replaced(self, before: Task, after: Task) -> None:
        """Forget the terms of bids that a newer one replaced: there may be any number."""
        if before.bids is not after.bids:
            left = {bid.record.id for bid in after.bids}
            for bid in before.bids:
                if bid.record.id not in left:
                    self._ledger.opened.pop(bid.record.id, None)

    def _send_input(self, turn: Turn, entry: Entry) -> None:
        task, given = entry.task, entry.task.terms.input
        if given.data is None and given.size <= limits.MAILED_BYTES_MAX and task.worker:
            turn.act(SendInput(task.id, task.worker, given.hash))

    def _find(self, task: RecordId) -> Entry:
        entry = self._ledger.get(task)
        if entry is None or entry.role != "poster":
            raise NotFound(f"no task {task.hex()[:12]} of ours")
        return entry

    def _is_sequencer(self, turn: Turn, entry: Entry) -> bool:
        return entry.task.terms.sequencer == turn.pen.agent


def _takes(task: Task, record: Record, now_ms: int) -> bool:
    try:
        return step(task, record, now_ms) is not task
    except (StaleEpoch, IllegalTransition):
        return False


def _delivered(record: Record) -> Deliver:
    assert isinstance(record.body, Deliver)
    return record.body
