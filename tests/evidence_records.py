"""Histories in which everything happens, and what a store makes of them."""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.reputation_records import Deal, Outcome, Party, deal

from bazaar_node.storage.store import NodeStore
from bazaar_node.trust import tallying
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.histories import Circle
from bazaar_node.trust.keeping import check_kept
from bazaar_protocol import evidence_kinds, kinds, records
from bazaar_protocol.identity import Keypair
from bazaar_protocol.records import Record

EGO = Keypair.from_name("ada")
NOW_MS = 1_800_000_000_000
OUTCOMES: tuple[Outcome, ...] = (
    "awarded", "running", "withdrawn", "breached", "silent",
    "delivered", "accepted", "rejected", "disputed", "revealed",
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """Everything that is derived, comparable to the last bit."""

    findings: frozenset[object]
    tallies: frozenset[object]
    rows: frozenset[object]


@asynccontextmanager
async def opened(path: Path, keys: Keypair = EGO) -> AsyncGenerator[EvidenceStore]:
    async with NodeStore.open(path / "node.sqlite3") as store:
        yield await EvidenceStore.load(store, keys, lambda: NOW_MS)


async def keep(store: EvidenceStore, given: Sequence[Record]) -> int:
    return await store.keep([check_kept(record) for record in given], Circle.RATER)


async def state(store: EvidenceStore) -> State:
    return await store.read(_state)


def _state(db: sqlite3.Connection) -> State:
    tables = (
        "SELECT 'author', agent, head, entries, bytes FROM author",
        "SELECT 'convicted', agent, claim, place FROM conviction",
        "SELECT 'ended', old, new, last_seq, record, has_agreed FROM log_end",
        "SELECT 'stamp', agent FROM stamp",
        "SELECT 'unsettled', author, seq, contract FROM unsettled",
        "SELECT 'contract', id, contract FROM evidence WHERE seq > 0",
    )
    return State(
        frozenset(tallying.read_findings(db)),
        frozenset(tallying.read_tallies(db)),
        frozenset(row for query in tables for row in db.execute(query)),
    )


def sign(party: Party, body: kinds.Body, seq: int) -> Record:
    """Sign another entry for a place of a log that has one."""
    prev = party.log[seq - 2].id
    return records.seal(party.keys, body, time_ms=1, seq=seq, prev=prev)


def history(outcomes: Sequence[Outcome], *, has_fork: bool = False) -> list[Record]:
    """Sign contracts among a few, one for each outcome, and some other evidence."""
    parties = {name: Party(name) for name in ("ada", "bo", "cy", "dee", "r1", "r2")}
    ada, bo, cy, dee = (parties[name] for name in ("ada", "bo", "cy", "dee"))
    relays = (parties["r1"], parties["r2"])
    given = [party.log[0] for party in parties.values()]
    pairs = ((ada, bo), (cy, bo), (ada, cy), (dee, bo), (dee, ada))
    for number, outcome in enumerate(outcomes):
        poster, worker = pairs[number % len(pairs)]
        terms = Deal(
            relays=relays,
            capability="pdf.extract" if number % 3 else "text.count",
            has_canary=outcome == "revealed",
            is_hashed=number % 4 == 3,
            judge=dee if number % 5 == 4 and worker is not dee and poster is not dee else None,
        )
        given += deal(poster, worker, outcome, terms)
    given += bo.go_on(20)
    given += [ada.say(evidence_kinds.Vouch(bo.agent, is_withdrawn=False))]
    if has_fork:
        given.append(sign(cy, evidence_kinds.Intake(bytes(32), 9, 9), 2))
        given += cy.go_on(1)
    return given


def shuffled(given: Sequence[Record], choose: Callable[[int], int]) -> list[Record]:
    """Return ``given`` in another order; ``choose`` names a place below its argument."""
    left, order = list(given), list[Record]()
    while left:
        order.append(left.pop(choose(len(left))))
    return order
