"""Checks everything behind a task or an agent again, trusting neither our store nor a relay."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bazaar_node.service import AuditReport, Check
from bazaar_node.storage.history import Row
from bazaar_protocol import award, limits
from bazaar_protocol.award import Offer, check_opening
from bazaar_protocol.errors import (
    BazaarError,
    Contradiction,
    Equivocation,
    IllegalTransition,
    MalformedRecord,
    RemoteError,
    StaleEpoch,
)
from bazaar_protocol.evidence_kinds import Reset
from bazaar_protocol.identity import AgentId, to_did
from bazaar_protocol.kinds import Award, Bid, BidTerms, Post
from bazaar_protocol.log import Head, check_segment, detect_fork
from bazaar_protocol.records import Record, RecordId, unseal
from bazaar_protocol.task import Elapsed, State, Task, open_task, step

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
    folded = _check_fold(audit, task, rows)
    if folded is None:
        return audit.report()
    for record in records:
        if isinstance(record.body, Award):
            _check_award(audit, record, records, openings)
    taken = [row.record for row in rows if row.is_folded and row.record is not None]
    logged = [record for record in taken if record.seq]
    for author in dict.fromkeys(record.author for record in logged):
        entries = [record for record in logged if record.author == author]
        await _check_author(audit, folded, entries, logs)
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
            _compare(audit, _Sourced(where, other), _Sourced(source, entry))
    if not known:
        audit.check("no source knows this agent", ok=False)
    return audit.report()


@dataclass(frozen=True, slots=True)
class _Sourced:
    """An entry, and who had it."""

    source: str
    entry: Record


def _compare(audit: Audit, one: _Sourced, other: _Sourced) -> None:
    """Say where two logs of an agent part; what follows from there on differs as well."""
    where = f"entry {one.entry.seq} differs between {one.source} and {other.source}"
    try:
        detect_fork(one.entry, other.entry)
    except Equivocation:
        audit.check(where, ok=False)
    except Contradiction:
        if isinstance(one.entry.body, Reset) or isinstance(other.entry.body, Reset):
            audit.check(f"{where}: a backup was restored there, and said so by a reset")


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


def _check_fold(audit: Audit, id_: RecordId, rows: Sequence[Row]) -> Task | None:
    """Replay the task; return it as it stands then, or None when that fails."""
    task: Task | None = None
    epochs: list[int] = []
    for row in rows:
        if not row.is_folded:
            continue
        try:
            if task is None:
                if row.record is None or row.record.id != id_:
                    audit.check("its history does not begin with its post", ok=False)
                    return None
                task = open_task(row.record, row.at_ms)
                continue
            before = task
            task = step(task, row.record if row.record is not None else Elapsed(), row.at_ms)
        except (IllegalTransition, StaleEpoch, MalformedRecord) as error:
            audit.check(f"{row.what}: {error}", ok=False)
            return None
        if task.epoch != before.epoch:
            epochs.append(task.epoch)
            if before.state in {State.RUNNING, State.DELIVERED} and row.record is not None:
                # Others may not have heard of that attempt when they awarded it; we had.
                is_ours = row.record.author == audit.ours
                shown = f"epoch {task.epoch} began while {before.epoch} was live to us"
                audit.check(shown, ok=not is_ours)
    if task is None:
        audit.check("nothing is known of it", ok=False)
        return None
    is_rising = all(one < other for one, other in pairwise(epochs))
    shown = ", ".join(map(str, epochs)) or "none"
    audit.check(f"epochs rise and never overlap: {shown}", ok=is_rising)
    audit.check(f"replayed from its records it is {task.state}")
    return task


def _check_award(
    audit: Audit, record: Record, records: Sequence[Record], openings: Openings
) -> None:
    body, post = record.body, records[0].body
    assert isinstance(body, Award)
    assert isinstance(post, Post)
    if not body.considered:
        if post.mode == "auction":
            audit.check(f"award of epoch {body.epoch}: it names no bids considered", ok=False)
        return
    bids = {bid.id: bid for bid in records if isinstance(bid.body, Bid)}
    offers: list[Offer] = []
    for weighed in body.considered:
        bid = bids.get(RecordId(weighed.bid))
        terms = None if bid is None else _terms(bid, openings)
        if bid is None or terms is None:  # a bidder is told neither of the others nor their terms
            is_ours = record.author == audit.ours
            shown = f"award of epoch {body.epoch}: only its sequencer knows all bids"
            audit.check(shown, ok=not is_ours)
            return
        offers.append(Offer(bid.id, bid.author, terms, weighed.standing))
    best = award.choose(post.rule, post.price, offers)
    ok = best is not None and (best.bid, best.worker) == (body.bid, body.worker)
    if ok and best is not None and post.mode == "auction":
        ok = body.price == best.terms.price
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


async def _check_author(
    audit: Audit, task: Task, entries: Sequence[Record], logs: Mapping[str, FetchLog]
) -> None:
    """Compare what we hold of one author with that author's log, as each source has it."""
    author = entries[0].author
    who = to_did(author)
    unconfirmed = {entry.seq for entry in entries}
    longest = 0
    for name, fetch_log in logs.items():
        try:
            log = {entry.seq: entry for entry in await _whole_log(author, fetch_log)}
        except RemoteError as error:
            audit.check(f"{name}, log of {who}: {error}", ok=False)
            continue
        audit.signatures += -(-len(log) // limits.RECORDS_PER_FRAME_MAX)
        longest = max(longest, *log, 0)
        found = {entry.seq for entry in entries if log.get(entry.seq) == entry}
        unconfirmed -= found
        shown = f"{name}, log of {who}: {len(log)} entries linked"
        audit.check(f"{shown}, {len(found)} of our {len(entries)} among them")
        for entry in entries:
            if log.get(entry.seq, entry) != entry:
                audit.check(f"{name}, log of {who}: entry {entry.seq} differs", ok=False)
        _check_withheld(audit, task, entries, [log[seq] for seq in sorted(log)])
    if unconfirmed and author == audit.ours and min(unconfirmed) > longest:
        audit.check(f"log of {who}: {sorted(unconfirmed)} are on their way")
    elif unconfirmed and logs:
        missing = sorted(unconfirmed)
        audit.check(f"log of {who}: nobody else has what we hold at {missing}", ok=False)


def _check_withheld(
    audit: Audit, task: Task, entries: Sequence[Record], log: Sequence[Record]
) -> None:
    """Find what a log says about the task, what would matter, and what our store lacks."""
    known = {entry.id for entry in entries}
    for entry in log:
        if entry.id in known or getattr(entry.body, "task", None) != task.id:
            continue
        try:
            changes = step(task, entry, task.opened_ms) is not task
        except (IllegalTransition, StaleEpoch):
            changes = False
        if changes:
            where = f"entry {entry.seq} of {to_did(entry.author)}"
            audit.check(f"{where}, a {entry.kind}, is not in our store", ok=False)


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
