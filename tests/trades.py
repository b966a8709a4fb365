"""Short ways to say the records of a trade, true or false, for tests of the fold."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from tests.strategies import ADA, BO, make_post

from bazaar_protocol import award, kinds, records
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import Task, award_of, link_to

NOTHING = Link(bytes(32), 1, bytes(32))


@dataclass
class Scribe:
    """Signs for any agent, each record at the next place of its log and at a later time."""

    time_ms: int = 1_000
    seqs: dict[AgentId, int] = field(default_factory=dict)

    def say(self, keys: Keypair, body: kinds.Body) -> Record:
        self.time_ms += 1
        if not kinds.KIND_OF_BODY[type(body)].is_logged:
            return records.seal(keys, body, time_ms=self.time_ms)
        seq = self.seqs.get(keys.agent, 1) + 1
        self.seqs[keys.agent] = seq
        return records.seal(keys, body, time_ms=self.time_ms, seq=seq, prev=b"\x01" * 32)

    def post(self, **changes: Any) -> Record:
        return self.say(ADA, make_post(**changes))

    def bid(self, task: Task, keys: Keypair = BO, price: int = 50, eta_ms: int = 900) -> Record:
        terms = kinds.BidTerms(price, eta_ms, 9_000, 60_000)
        return self.say(keys, kinds.Bid(task.id, terms, b"", b""))

    def award(
        self, task: Task, worker: Keypair = BO, *, by: Keypair = ADA, **changes: Any
    ) -> Record:
        ours = [one.record for one in task.bids if one.record.author == worker.agent]
        bid, price = b"", task.terms.price
        if task.terms.mode == "auction" and ours:
            body = ours[0].body
            assert isinstance(body, kinds.Bid)
            assert body.terms is not None
            bid, price = ours[0].id, body.terms.price
        given: dict[str, Any] = {
            "task": task.id,
            "poster": task.poster,
            "worker": worker.agent,
            "judge": task.terms.acceptance.evaluator or task.poster,
            "capability": task.terms.capability,
            "epoch": task.epoch + 1,
            "bid": bid,
            "price": price,
            "terms": b"",
            "lease": task.terms.lease,
            "relays": (),
            "considered": (),
        }
        given |= changes
        if not given["terms"]:
            wants = (task.id, given["bid"], given["price"], given["lease"])
            given["terms"] = award.terms_hash(*wants)
        return self.say(by, kinds.Award(**given))

    def accept(self, task: Task, keys: Keypair = BO, **changes: Any) -> Record:
        terms = award_of(task.award).terms if task.award else bytes(32)
        body = kinds.Accept(task.id, link(task.award), max(task.epoch, 1), terms, 1, b"")
        return self.say(keys, msgspec.structs.replace(body, **changes))

    def heartbeat(self, task: Task, keys: Keypair = BO, **changes: Any) -> Record:
        award_id = task.award.id if task.award else RecordId(bytes(32))
        body = kinds.Heartbeat(task.id, award_id, max(task.epoch, 1), 50, "")
        return self.say(keys, msgspec.structs.replace(body, **changes))

    def deliver(self, task: Task, keys: Keypair = BO, **changes: Any) -> Record:
        body = kinds.Deliver(
            task.id, link(task.award), max(task.epoch, 1), bytes(32), 5, "text/plain", ()
        )
        return self.say(keys, msgspec.structs.replace(body, **changes))

    def verdict(self, task: Task, keys: Keypair = ADA, **changes: Any) -> Record:
        body = kinds.Verdict(task.id, link(task.deliver), max(task.epoch, 1), True, "", ())
        return self.say(keys, msgspec.structs.replace(body, **changes))

    def breach(self, task: Task, keys: Keypair = ADA, **changes: Any) -> Record:
        body = kinds.Breach(task.id, link(task.accept), max(task.epoch, 1), "heartbeat")
        return self.say(keys, msgspec.structs.replace(body, **changes))

    def withdraw(self, task: Task, keys: Keypair = BO, **changes: Any) -> Record:
        leaves = None if keys is ADA else link(task.award)
        body = kinds.Withdraw(task.id, leaves, task.epoch, "")
        return self.say(keys, msgspec.structs.replace(body, **changes))

    def decline(self, task: Task, keys: Keypair = BO, **changes: Any) -> Record:
        body = kinds.Decline(task.id, max(task.epoch, 1), "busy", 0)
        return self.say(keys, msgspec.structs.replace(body, **changes))


def link(record: Record | None) -> Link:
    """Link to ``record``, or to nothing there is."""
    return NOTHING if record is None else link_to(record)
