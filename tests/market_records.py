"""Agents of tests that sign true records: each keeps its own log, so what it logs is in order."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from tests.strategies import make_post

from bazaar_protocol import award, evidence_kinds, kinds, records
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import Capability
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record
from bazaar_protocol.task import link_to

NOW_MS = 1_800_000_000_000
"""When the tests that have no clock of their own take place."""

_moments = itertools.count()


@dataclass
class Trader:
    """One agent: what it signs, and where its log stands."""

    keys: Keypair
    now_ms: int = NOW_MS
    head: Head = field(default_factory=Head.empty)

    @classmethod
    def named(cls, name: str, now_ms: int = NOW_MS) -> "Trader":
        return cls(Keypair.from_name(name), now_ms)

    @property
    def agent(self) -> AgentId:
        return self.keys.agent

    def say(self, body: kinds.Body, time_ms: int | None = None) -> Record:
        """Sign ``body``; a logged kind at the next place of the log."""
        time_ms = self.now_ms + next(_moments) % 1000 if time_ms is None else time_ms
        if not kinds.KIND_OF_BODY[type(body)].is_logged:
            return records.seal(self.keys, body, time_ms=time_ms)
        seq, prev = self.head.seq + 1, self.head.id
        record = records.seal(self.keys, body, time_ms=time_ms, seq=seq, prev=prev)
        self.head = Head.of(record)
        return record

    def genesis(self) -> Record:
        return self.say(kinds.Genesis(bytes(32)))

    def intake(self, number: int = 0) -> Record:
        """Something to log that is about no task."""
        return self.say(evidence_kinds.Intake(bytes(32), number, number))

    def advert(self, *names: str, version: int = 1, load: int = 0, **changes: Any) -> Record:
        given: dict[str, Any] = {"slots": 4, "words": "", "expires_in_ms": 3_600_000} | changes
        offers = tuple(
            Capability(name, 2, given["words"], b"", b"", 0, 0, 0, (), b"") for name in names
        )
        slots, duration_ms = given["slots"], given["expires_in_ms"]
        return self.say(kinds.Advert(version, "", offers, (), (), slots, load, duration_ms))

    def post(self, **changes: Any) -> Record:
        return self.say(make_post(sequencer=changes.pop("sequencer", self.agent), **changes))

    def claim_post(self, relay: AgentId, **changes: Any) -> Record:
        """A post that the relay sequences."""
        return self.post(sequencer=relay, mode="claim", bid_window_ms=0, **changes)

    def bid(self, task: Record, price: int = 50) -> Record:
        terms = kinds.BidTerms(price, 900, 9_000, 60_000)
        return self.say(kinds.Bid(task.id, terms, b"", b""))

    def decline(self, task: Record, epoch: int = 0) -> Record:
        return self.say(kinds.Decline(task.id, epoch, "busy", 0))

    def award(self, task: Record, worker: AgentId, epoch: int = 1) -> Record:
        assert isinstance(task.body, kinds.Post)
        return self.say(award.draft(task, worker, epoch=epoch, price=task.body.price))

    def accept(self, granted: Record) -> Record:
        body = granted.body
        assert isinstance(body, kinds.Award)
        return self.say(kinds.Accept(body.task, link_to(granted), body.epoch, body.terms, 1, b""))

    def heartbeat(self, granted: Record, time_ms: int | None = None) -> Record:
        body = granted.body
        assert isinstance(body, kinds.Award)
        return self.say(kinds.Heartbeat(body.task, granted.id, body.epoch, 50, ""), time_ms)

    def deliver(self, granted: Record) -> Record:
        body = granted.body
        assert isinstance(body, kinds.Award)
        link = link_to(granted)
        return self.say(kinds.Deliver(body.task, link, body.epoch, bytes(32), 5, "", ()))

    def verdict(self, delivered: Record) -> Record:
        body = delivered.body
        assert isinstance(body, kinds.Deliver)
        link = link_to(delivered)
        return self.say(kinds.Verdict(body.task, link, body.epoch, True, "", ()))
