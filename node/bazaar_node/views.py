"""What the owner sees of tasks, offers and agents: built from the fold and the history."""

from collections.abc import Iterator, Mapping, Sequence

from bazaar_node.market.events import Offer
from bazaar_node.market.ledger import Entry
from bazaar_node.network.relay_client import RelayClient
from bazaar_node.service import BidView, Found, OfferView, RelayView, TaskEvent, TaskView
from bazaar_node.storage.history import Row
from bazaar_protocol.identity import AgentId, to_did
from bazaar_protocol.kinds import (
    Accept,
    Advert,
    Award,
    Bid,
    BidTerms,
    Breach,
    Capability,
    Decline,
    Deliver,
    Heartbeat,
    Verdict,
    Withdraw,
)
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import State
from bazaar_protocol.untrusted import clean

NOTE_CHARS_MAX = 512
NAME_CHARS_MAX = 128


def task_view(entry: Entry, *, awaits_approval: bool, has_result: bool, progress: int) -> TaskView:
    """Show a task as it stands."""
    task = entry.task
    deliver = task.deliver.body if task.deliver is not None else None
    award = task.award.body if task.award is not None else None
    result = deliver if isinstance(deliver, Deliver) else None
    return TaskView(
        id=task.id.hex(),
        role=entry.role,
        untrusted_title=clean(task.terms.title, NOTE_CHARS_MAX),
        capability=_capability(task.terms.capability, task.terms.capability_version),
        mode=task.terms.mode,
        state=task.state,
        epoch=task.epoch,
        attempts=task.attempts,
        poster=to_did(task.poster),
        worker=None if task.worker is None else to_did(task.worker),
        price=award.price if isinstance(award, Award) else None,
        why=clean(task.why, NOTE_CHARS_MAX),
        awaits_approval=awaits_approval and task.state is State.DELIVERED,
        has_result=has_result,
        result_sha256=result.hash.hex() if result else "",
        result_size=result.size if result else 0,
        result_media_type=clean(result.media_type, NAME_CHARS_MAX) if result else "",
        progress=progress,
        created_ms=task.opened_ms,
        deadline_ms=task.deadline_ms,
    )


def bid_views(rows: Sequence[Row], opened: Mapping[RecordId, BidTerms]) -> tuple[BidView, ...]:
    """Show the bids of a task, in the order in which they came."""
    return tuple(_bids(rows, opened))


def event_views(rows: Sequence[Row]) -> tuple[TaskEvent, ...]:
    """Show what happened to a task."""
    return tuple(_event(row) for row in rows)


def relay_view(client: RelayClient) -> RelayView:
    """Show a relay that we use."""
    return RelayView(
        address=client.address,
        agent=None if client.agent is None else to_did(client.agent),
        is_connected=client.is_ready,
        is_caught_up=client.is_caught_up,
        cursor=client.mark.cursor,
        trouble="" if client.is_ready else client.trouble or client.session.last_failure,
        is_left_behind=bool(client.trouble),
    )


def offer_view(offer: Offer) -> OfferView:
    """Show one of our offers."""
    return OfferView(
        capability=offer.capability,
        description=offer.description,
        price=offer.price,
        eta_ms=offer.eta_ms,
        confidence=offer.confidence,
        command=offer.command,
        tags=offer.tags,
    )


def found_views(record: Record, capability: str, words: str) -> Iterator[Found]:
    """Show what an advert offers under a name, or a prefix of one, and that some word fits.

    When no word fits to any single offer, they fitted to the agent: then all are shown.
    """
    body = record.body
    if not isinstance(body, Advert):
        return
    named = [
        offer
        for offer in body.capabilities
        if not capability or offer.name == capability or offer.name.startswith(f"{capability}.")
    ]
    for offer in [offer for offer in named if _mentions(offer, words)] or named:
        yield Found(
            agent=to_did(record.author),
            untrusted_name=clean(body.name, NAME_CHARS_MAX),
            capability=_capability(offer.name, offer.version),
            untrusted_description=clean(offer.description, NOTE_CHARS_MAX),
            price=offer.price,
            slots=body.slots,
            load=body.load,
            untrusted_tags=tuple(clean(tag, NAME_CHARS_MAX) for tag in offer.tags),
            expires_ms=record.time_ms + body.expires_in_ms,
            fingerprint=offer.fingerprint.hex(),
        )


def _mentions(offer: Capability, words: str) -> bool:
    text = " ".join((offer.name, offer.description, *offer.tags)).casefold()
    return any(word in text for word in words.casefold().split())


def _capability(name: str, version: int) -> str:
    return f"{name}@{version}" if version else name


def _bids(rows: Sequence[Row], opened: Mapping[RecordId, BidTerms]) -> Iterator[BidView]:
    for row in rows:
        if row.record is None or not isinstance(row.record.body, Bid) or not row.is_folded:
            continue
        terms = row.record.body.terms or opened.get(row.record.id)
        yield BidView(
            id=row.record.id.hex(),
            worker=to_did(row.record.author),
            price=terms.price if terms else None,
            eta_ms=terms.eta_ms if terms else None,
            confidence=terms.confidence if terms else None,
        )


def _event(row: Row) -> TaskEvent:
    said = _said(row.record) if row.record is not None and row.is_folded else row.note
    return TaskEvent(
        seen_ms=row.at_ms,
        what=row.what,
        agent=to_did(AgentId(row.agent)) if row.agent else "",
        epoch=row.epoch,
        record=row.record.id.hex() if row.record is not None else "",
        untrusted_note=clean(said, NOTE_CHARS_MAX),
    )


def _said(record: Record) -> str:
    match record.body:
        case Award(worker=worker, price=price):
            return f"to {to_did(AgentId(worker))} at {price}"
        case Accept():
            return "the worker owes a result"
        case Decline(reason=reason, retry_after_ms=retry):
            return reason + (f", again in {retry / 1000:g} s" if retry else "")
        case Heartbeat(progress=progress, note=note):
            return f"{progress}% {note}".strip()
        case Deliver(hash=digest, size=size):
            return f"sha256 {digest.hex()}, {size} bytes"
        case Verdict(accepted=accepted, reason=reason):
            return f"{'accepted' if accepted else 'rejected'}: {reason}"
        case Breach(deadline=deadline):
            return f"the {deadline} deadline passed"
        case Withdraw(reason=reason):
            return reason
        case _:
            return ""
