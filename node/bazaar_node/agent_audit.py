"""Checks all that is known of one agent again: each log, what is wrong with it, each receipt."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from bazaar_node.audit import FetchLog, audit_agent
from bazaar_node.service import AuditReport, Check
from bazaar_node.trust.archive import Archive
from bazaar_node.trust.histories import Flaw
from bazaar_node.trust.keeping import check_kept
from bazaar_node.trust.rechecking import Rechecked, read_held, recheck
from bazaar_node.trust.records_kept import read
from bazaar_node.trust.reports import Conviction, History
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.identity import AgentId, to_did
from bazaar_protocol.records import unseal

_ID_DIGITS: Final = 12
_SHOWN_MAX: Final = 16


async def audit_history(
    agent: AgentId, archive: Archive, logs: Mapping[str, FetchLog]
) -> AuditReport:
    """Check an agent's logs against one another, its history, and every receipt about it.

    Args:
        agent: Whom.
        archive: What we hold; it asks the relays for news first.
        logs: Where to get the log, by the name of the source.

    Raises:
        StorageError: Our store fails us.

    """
    history = await archive.look_into(agent)
    report = await audit_agent(agent, logs)
    held = await archive.evidence.read(partial(read_held, agent))
    again = await asyncio.to_thread(recheck, agent, held)
    proof = None if history.conviction is None else await _check_proof(archive, history.conviction)
    checks = (
        *report.checks,
        *_of_sources(history),
        *([] if proof is None else [proof]),
        *_of_flaws(history),
        *[Check(ok=False, what=await _of_relay(archive, relay)) for relay in history.sources
          if (await archive.history(relay)).conviction is not None],
        *_of_receipts(again),
    )  # fmt: skip
    return msgspec.structs.replace(
        report,
        records=report.records + again.records,
        signatures=report.signatures + again.records,
        checks=checks,
    )


def _of_sources(history: History) -> Iterator[Check]:
    if not history.entries:
        yield Check(ok=True, what="no entry of its log is held here")
        return
    where = f"{history.first} to {history.whole}" if history.first else "none in a row"
    yield Check(ok=True, what=f"{history.entries} entries of its log are held here: {where}")
    most = max(history.sources.values(), default=0)
    for relay, seq in history.sources.items():
        if seq < most:
            shown = f"relay {to_did(relay)} has entries up to {seq}, another up to {most}"
            yield Check(ok=True, what=shown)


def _of_flaws(history: History) -> Iterator[Check]:
    for flaw in history.flaws:
        shown_by = f", by {to_did(AgentId(flaw.source))}" if flaw.source else ""
        shown = f"{flaw.what} at {_places(flaw)}: {flaw.note}{shown_by}"
        yield Check(ok=False, what=shown)
    if not history.flaws and history.conviction is None:
        yield Check(ok=True, what="no fork, no gap, no cut tail, no omission")


def _places(flaw: Flaw) -> str:
    is_one = flaw.last <= flaw.place
    return f"entry {flaw.place}" if is_one else f"entries {flaw.place} to {flaw.last}"


async def _check_proof(archive: Archive, conviction: Conviction) -> Check:
    """Check the proof again: without it the conviction would be hearsay."""
    proof = await archive.evidence.read(partial(read, record=conviction.record))
    said = f"{conviction.claim} at entry {conviction.place}, proof {_short(conviction.record)}"
    if proof is None:
        return Check(ok=False, what=f"{said}, which is not there")
    try:
        check_kept(unseal(proof.raw))
    except RemoteError as error:
        return Check(ok=False, what=f"{said}, which does not hold: {error}")
    return Check(ok=False, what=f"convicted of {said}, checked again: it holds")


async def _of_relay(archive: Archive, relay: AgentId) -> str:
    conviction = (await archive.history(relay)).conviction
    assert conviction is not None
    claim, proof = conviction.claim, _short(conviction.record)
    return f"its relay {to_did(relay)} is convicted of {claim}, proof {proof}"


def _of_receipts(again: Rechecked) -> Iterator[Check]:
    for trouble in again.troubles[:_SHOWN_MAX]:
        yield Check(ok=False, what=trouble)
    if not again.troubles:
        shown = (
            f"{again.receipts} receipts of {again.contracts} contracts, derived again from "
            f"{again.records} records: the same"
        )
        yield Check(ok=True, what=shown)


def _short(record: bytes) -> str:
    return record.hex()[:_ID_DIGITS]
