"""What a running node answers when it is asked about others: see ``trust_service.Reputations``."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from bazaar_node.agent_audit import audit_history
from bazaar_node.audit import FetchLog
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import split_capability
from bazaar_node.service import AuditReport, Found
from bazaar_node.trust import naming, reports
from bazaar_node.trust.archive import Archive
from bazaar_node.trust.keeping import News
from bazaar_node.trust.reports import History, Shown
from bazaar_node.trust_service import (
    ConvictionView,
    FileView,
    FlawView,
    ImportView,
    RebuildView,
    ReceiptView,
    RefusalView,
    ReputationView,
    Standing,
    WhyView,
)
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId, parse_agent, to_did
from bazaar_reputation import claims
from bazaar_reputation.findings import WHOLE
from bazaar_reputation.reasons import Reason, reasons

_DIFFERENCES_SHOWN: Final = 16


class TrustDesk:
    """Answers about others.

    Args:
        archive: What we hold of them.
        agent: Returns who we are on the market now.

    """

    def __init__(self, archive: Archive, agent: Callable[[], Agent]) -> None:
        self._archive = archive
        self._agent = agent
        self._rebuilding = asyncio.Lock()

    async def reputation(
        self, agent: str, *, role: Standing = "worker", capability: str = ""
    ) -> ReputationView:
        """Return what may be expected of an agent; one never heard of is looked into first."""
        return await self._reputation(await self.find_agent(agent), role, capability)

    async def why(
        self, agent: str, *, role: Standing = "worker", capability: str = "", limit: int = 50
    ) -> WhyView:
        """Return what carries that score."""
        known = await self.find_agent(agent)
        reputation = await self._reputation(known, role, capability)
        name, version = split_capability(capability)
        scorer = self._archive.scorer
        parts = scorer.parts(known, role, name or None, version=version)
        evidence = self._archive.evidence
        strands = frozenset(part.strand for part in parts)
        findings = await evidence.read(partial(reports.read_strands, strands))
        found = reasons(self._archive.book, evidence.ours, parts, findings)
        first = [one.finding for one in found[:limit]]
        shown = await evidence.read(partial(reports.show_findings, first))
        about = sum(one.finding.strand.subject == known for one in found)
        count = await evidence.read(partial(reports.count_findings, known, role, name))
        return WhyView(
            reputation=reputation,
            receipts=tuple(map(_receipt, found[:limit], shown)),
            left_out=max(len(found) - limit, 0),
            weightless=max(count - about, 0),
        )

    async def export_to(self, path: Path, agent: str = "") -> FileView:
        """Write all evidence, or what there is about one agent, to a new file."""
        whom = await self.find_agent(agent) if agent else None
        return FileView(path=str(path), records=await self._archive.export_to(_whole(path), whom))

    async def import_from(self, path: Path) -> ImportView:
        """Take over a file of evidence, each record checked."""
        done = await self._archive.import_from(_whole(path))
        refusals = [RefusalView(number=one.number, reason=one.reason) for one in done.refusals]
        return ImportView(
            read=done.read, new=done.new, refused=done.refused, refusals=tuple(refusals)
        )

    async def rebuild(self) -> RebuildView:
        """Derive everything anew from the records, and say what that changes."""
        evidence = self._archive.evidence
        async with self._rebuilding:
            before, count = await evidence.contents(), await evidence.read(_newest)
            records = await self._archive.rebuild()
            after, then = await evidence.contents(), await evidence.read(_newest)
        differences = sorted(_differences(before, after))
        return RebuildView(
            records=records,
            differences=tuple(differences[:_DIFFERENCES_SHOWN]),
            came_meanwhile=then - count,
        )

    async def audit(self, agent: AgentId, logs: Mapping[str, FetchLog]) -> AuditReport:
        """Check everything that is known of an agent again."""
        return await audit_history(agent, self._archive, logs)

    def graded(self, found: Iterable[Found]) -> list[Found]:
        """Return what was found with what we hold of each, whom to ask first before others."""
        graded = [self._grade(one) for one in found]
        return sorted(graded, key=lambda one: (-one.lower, one.price, one.agent))

    async def find_agent(self, text: str) -> AgentId:
        """Return whom a text names: a did:key, or how one begins that is known here.

        Raises:
            NotFound: Nobody, or more than one.

        """
        try:
            return parse_agent(text)
        except ConfigError:
            return await self._archive.evidence.read(partial(naming.find_agent, text))

    async def _reputation(self, agent: AgentId, role: Standing, capability: str) -> ReputationView:
        history = await self._archive.history(agent)
        if not history.entries:
            history = await self._archive.look_into(agent)
        name, version = split_capability(capability)
        scorer = self._archive.scorer
        score = scorer.score(agent, role, name or None, version=version)
        exposure = self._agent().exposure
        return ReputationView(
            agent=to_did(agent),
            role=role,
            capability=capability,
            lower=score.lower,
            mean=score.mean,
            good=score.good,
            bad=score.bad,
            prior=score.prior,
            admission=score.admission,
            is_known=score.is_known,
            is_convicted=score.is_convicted,
            conviction=_conviction(history),
            weight=scorer.weight(agent),
            flaws=_flaws(history),
            entries=history.entries,
            head=history.head,
            heir=None if history.heir is None else to_did(history.heir),
            exposure=exposure.given_to(agent),
            unjudged=exposure.owed_by(agent),
        )

    def _grade(self, one: Found) -> Found:
        scorer, agent = self._archive.scorer, parse_agent(one.agent)
        name, version = split_capability(one.capability)
        fingerprint = bytes.fromhex(one.fingerprint)
        score = scorer.score(agent, "worker", name, version=version, fingerprint=fingerprint)
        return msgspec.structs.replace(
            one,
            claim=claims.status(scorer, agent, name, version=version, fingerprint=fingerprint),
            lower=score.lower,
            mean=score.mean,
            good=score.good,
            bad=score.bad,
            is_known=score.is_known,
            is_convicted=score.is_convicted,
        )


def _whole(path: Path) -> Path:
    if not path.is_absolute():  # relative to what? whoever asks is in another folder
        raise ConfigError(f"the path of the file has to be absolute: {path}")
    return path


def _conviction(history: History) -> ConvictionView | None:
    proved = history.conviction
    if proved is None:
        return None
    return ConvictionView(claim=proved.claim, place=proved.place, proof=proved.record.hex())


def _flaws(history: History) -> tuple[FlawView, ...]:
    return tuple(
        FlawView(
            what=flaw.what,
            place=flaw.place,
            last=flaw.last,
            shown_by=to_did(AgentId(flaw.source)) if flaw.source else None,
            note=flaw.note,
        )
        for flaw in history.flaws[: limits.FLAWS_PER_AUTHOR_MAX]
    )


def _receipt(reason: Reason, shown: Shown) -> ReceiptView:
    finding = reason.finding
    strand = finding.strand
    return ReceiptView(
        contract=finding.contract.hex(),
        why=finding.why,
        is_good=finding.is_good,
        adds=reason.adds,
        job=finding.weight / WHOLE,
        rater=None if strand.rater is None else to_did(strand.rater),
        rater_weight=reason.weight,
        age=reason.age,
        subject=to_did(strand.subject),
        capability=strand.capability,
        kind=shown.kind,
        author=to_did(shown.author),
        seq=shown.seq,
        record=finding.record.hex(),
    )


def _newest(db: sqlite3.Connection) -> int:
    (number,) = db.execute("SELECT coalesce(max(number), 0) FROM evidence").fetchone()
    return int(number)


def _differences(before: News, after: News) -> set[str]:
    keys = before.tallies.keys() | after.tallies.keys()
    differing = [key for key in keys if before.tallies.get(key) != after.tallies.get(key)]
    found = {f"the sums of {key.role} {to_did(key.subject)}" for key in differing}
    for agent, _ in set(before.convicted) ^ set(after.convicted):
        found.add(f"the conviction of {to_did(agent)}")
    for agent in before.heads.keys() | after.heads.keys():
        if before.heads.get(agent) != after.heads.get(agent):
            found.add(f"the head of the log of {to_did(agent)}")
    return found
