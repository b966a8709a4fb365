"""Records that tests of the relay's parts share: true ones, cheap to tell apart."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from bazaar_protocol.evidence_kinds import Intake, Succession
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import (
    Acceptance,
    Advert,
    Capability,
    Decline,
    Genesis,
    Heartbeat,
    Input,
    Lease,
    Post,
    Rule,
)
from bazaar_protocol.records import NO_RECORD, Record, RecordId, seal

AGENTS: Final = tuple(map(Keypair.from_name, ("alice", "bob", "carol", "dave")))
NAME: Final = bytes(range(32))
_ID: Final = bytes(32)


@cache
def decline(number: int, *, author: Keypair = AGENTS[1], task: RecordId = NO_RECORD) -> Record:
    """Return a loose record that differs from those of other numbers."""
    return seal(author, Decline(task, 0, "busy", 0), time_ms=1000 + number)


def heartbeat(number: int, *, author: Keypair = AGENTS[1], task: RecordId = NO_RECORD) -> Record:
    """Return a loose record of another kind."""
    return seal(author, Heartbeat(task, _ID, 1, 0, ""), time_ms=1000 + number)


def log_of(author: Keypair, length: int, *, name: str = "") -> list[Record]:
    """Return the first entries of a log; another ``name`` makes another log."""
    recovery = name.encode().ljust(32, b"\0")
    entries = [seal(author, Genesis(recovery), time_ms=1, seq=1, prev=NO_RECORD)]
    while len(entries) < length:
        seq, prev = len(entries) + 1, entries[-1].id
        entries.append(seal(author, Intake(_ID, seq, seq), time_ms=seq, seq=seq, prev=prev))
    return entries


@cache
def succession(number: int, *, of: Keypair) -> Record:
    """Return a record that is kept against an agent, and differs from those of other numbers."""
    body = Succession(of.agent, 1, _ID, AGENTS[3].agent)
    return seal(AGENTS[2], body, time_ms=1000 + number)


def advert(author: Keypair, capabilities: Mapping[str, tuple[str, ...]]) -> Record:
    """Return an advert of capabilities with their tags."""
    offers = tuple(
        Capability(name, 1, "", b"", b"", 0, 0, 0, tags, b"") for name, tags in capabilities.items()
    )
    return seal(author, Advert(1, "", offers, (), (), 1, 0, 60_000), time_ms=1)


def post(author: Keypair, capability: str, *, tags: tuple[str, ...] = ()) -> Record:
    """Return a post that anyone may claim."""
    body = Post(
        title="a task",
        capability=capability,
        capability_version=0,
        mode="claim",
        input=Input(b"", _ID, 0, "", private=False),
        output_schema=b"",
        acceptance=Acceptance("human", b"", None, 1000),
        price=1,
        bid_window_ms=0,
        rule=Rule(10_000, 0, 0, 0),
        lease=Lease(1000, 1000, 1000, 1),
        sequencer=author.agent,
        worker=None,
        bidders_max=1,
        sealed=False,
        canary=b"",
        tags=tags,
        idempotency_key="",
        addresses=(),
        expires_in_ms=60_000,
    )
    return seal(author, body, time_ms=1)
