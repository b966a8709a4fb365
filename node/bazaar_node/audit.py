"""Checks everything behind a task or an agent again, trusting neither our store nor a relay."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bazaar_node.history import Row
from bazaar_node.service import AuditReport, Check
from bazaar_protocol import award, limits
from bazaar_protocol.award import Offer, check_opening
from bazaar_protocol.errors import (
    BazaarError,
    Equivocation,
    IllegalTransition,
    RemoteError,
    StaleEpoch,
)
from bazaar_protocol.identity import AgentId, to_did
from bazaar_protocol.kinds import Award, Bid, BidTerms, Post
from bazaar_protocol.log import Head, check_segment, detect_fork
from bazaar_protocol.records import Record, RecordId, unseal
from bazaar_protocol.task import LIVE, Elapsed, Task, open_task, step

Openings = Mapping[RecordId, tuple[bytes, BidTerms]]
"""Salts and terms of the sealed bids that we opened."""

FetchLog = Callable[[AgentId, int, int], Awaitable[list[bytes]]]
"""Fetches entries ``first`` to ``last`` of an author's log from somebody who has it."""


@dataclass(slots=True)
class Audit:
    """An audit as it goes on."""

    target: str
    ours: AgentId | None = None
    records: int = 0
    signatures: int = 0
    checks: list[Check] = field(default_factory=list)

    def check(self, what: str, *, ok: bool = True) -> None:
        """Write down a finding."""
        self.checks.append(Check(ok=ok, what=what))

    def report(self) -> AuditReport:
        """Return the findings."""
        return AuditReport(
            target=self.target,
            records=self.records,
            signatures=self.signatures,
            checks=tuple(self.checks),
        )


async def audit_task(
    task: RecordId,
    rows: Sequence[Row],
    openings: Openings,
    *,
    ours: AgentId,
    logs: Mapping[str, FetchLog],
) -> AuditReport:
    """Check a task: every signature, the fold with its epochs, each award, each log behind it.

    Args:
        task: Which one.
        rows: What we saw of it, in order.
        openings: Of its sealed bids.
        ours: Who audits: its own newest entries may still be on their way to a source.
        logs: Where to get the logs of those who took part, by the name of the source.

    """
    audit = Audit(task.hex(), ours)
    records = [row.record for row in rows if row.record is not None]
    if not _check_signatures(audit, records):
        return audit.report()
    _check_fold(audit, rows)
    for record in records:
        if isinstance(record.body, Award):
            _check_award(audit, record, records, openings)
    folded = [row.record for row in rows if row.is_folded and row.record is not None]
    logged = [record for record in folded if record.seq]
    for author in dict.fromkeys(record.author for record in logged):
        entries = [record for record in logged if record.author == author]
        for source, fetch_log in logs.items():
            await _check_log(audit, author, entries, (source, fetch_log))
    return audit.report()


async def audit_agent(agent: AgentId, logs: Mapping[str, FetchLog]) -> AuditReport:
    """Check an agent's whole log as each source has it, and the sources against one another."""
    audit = Audit(to_did(agent))
    known: dict[int, tuple[str, Record]] = {}
    for source, fetch_log in logs.items():
        try:
            entries = await _whole_log(agent, fetch_log)
        except RemoteError as error:
            audit.check(f"{source}: {error}", ok=False)
            continue
        audit.records += len(entries)
        audit.signatures += -(-len(entries) // limits.RECORDS_PER_FRAME_MAX)
        audit.check(f"{source}: {len(entries)} entries, each names the one before it")
        for entry in entries:
            where, other = known.setdefault(entry.seq, (source, entry))
            try:
                detect_fork(other, entry)
            except Equivocation:
                audit.check(f"entry {entry.seq} differs between {where} and {source}", ok=False)
    if not known:
        audit.check("no source knows this agent", ok=False)
    return audit.report()


def _check_signatures(audit: Audit, records: Sequence[Record]) -> bool:
    for record in records:
        try:
            unseal(record.raw)
        except BazaarError as error:
            audit.check(f"{record.kind} {record.id.hex()[:12]}: {error}", ok=False)
            return False
    audit.records = audit.signatures = len(records)
    audit.check(f"{len(records)} records carry their authors' signatures")
    return True


def _check_fold(audit: Audit, rows: Sequence[Row]) -> None:
    task: Task | None = None
    epochs: list[int] = []
    for row in rows:
        if not row.is_folded:
            continue
        try:
            if task is None:
                assert row.record is not None
                task = open_task(row.record, row.at_ms)
                continue
            before = task
            task = step(task, row.record if row.record is not None else Elapsed(), row.at_ms)
        except (IllegalTransition, StaleEpoch) as error:
            audit.check(f"{row.what}: {error}", ok=False)
            return
        if task.epoch != before.epoch:
            epochs.append(task.epoch)
            if before.state in LIVE and row.what == "award" and before.state != "awarded":
                audit.check(f"epoch {task.epoch} began while {before.epoch} was live", ok=False)
    if task is None:
        audit.check("nothing is known of it", ok=False)
        return
    is_rising = all(one < other for one, other in pairwise(epochs))
    shown = ", ".join(map(str, epochs)) or "none"
    audit.check(f"epochs rise and never overlap: {shown}", ok=is_rising)
    audit.check(f"replayed from its records it is {task.state}")


def _check_award(
    audit: Audit, record: Record, records: Sequence[Record], openings: Openings
) -> None:
    body, post = record.body, records[0].body
    assert isinstance(body, Award)
    assert isinstance(post, Post)
    if not body.considered:
        return
    bids = {bid.id: bid for bid in records if isinstance(bid.body, Bid)}
    offers: list[Offer] = []
    for weighed in body.considered:
        bid = bids.get(RecordId(weighed.bid))
        if bid is None or not isinstance(bid.body, Bid):
            audit.check(f"award of epoch {body.epoch}: a bid it names is not known", ok=False)
            return
        terms = _terms(bid, openings)
        if terms is None:
            audit.check(f"award of epoch {body.epoch}: bids are sealed, only its sequencer can say")
            return
        offers.append(Offer(bid.id, bid.author, terms, weighed.standing))
    best = award.choose(post.rule, post.price, offers)
    ok = best is not None and best.bid == body.bid and best.worker == body.worker
    shown = f"award of epoch {body.epoch}: the rule picks the same of {len(offers)} bids"
    audit.check(shown, ok=ok)


def _terms(bid: Record, openings: Openings) -> BidTerms | None:
    assert isinstance(bid.body, Bid)
    if bid.body.terms is not None:
        return bid.body.terms
    opening = openings.get(bid.id)
    if opening is None:
        return None
    salt, terms = opening
    try:
        check_opening(bid.body, salt, terms)
    except RemoteError:
        return None
    return terms


async def _check_log(
    audit: Audit, author: AgentId, entries: Sequence[Record], source: tuple[str, FetchLog]
) -> None:
    name, fetch_log = source
    who = to_did(author)
    try:
        log = {entry.seq: entry for entry in await _whole_log(author, fetch_log)}
    except RemoteError as error:
        audit.check(f"{name}, log of {who}: {error}", ok=False)
        return
    audit.signatures += -(-len(log) // limits.RECORDS_PER_FRAME_MAX)
    missing = [entry.seq for entry in entries if log.get(entry.seq) != entry]
    if missing and author == audit.ours and min(missing) > max(log, default=0):
        audit.check(f"{name}, log of {who}: {len(log)} entries linked, {missing} on their way")
    elif missing:
        audit.check(f"{name}, log of {who}: lacks what we hold at {missing}", ok=False)
    else:
        audit.check(f"{name}, log of {who}: {len(log)} entries linked, ours among them")


async def _whole_log(author: AgentId, fetch_log: FetchLog) -> list[Record]:
    entries: list[Record] = []
    after = Head.empty()
    while True:
        page = await fetch_log(author, after.seq + 1, after.seq + limits.RECORDS_PER_FRAME_MAX)
        if not page:
            return entries
        checked = check_segment(page, after, author=author)
        entries += checked
        after = Head.of(checked[-1])
