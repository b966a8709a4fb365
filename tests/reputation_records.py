"""Parties that sign whole contracts in true logs, for tests of evidence and of scores."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, TypeAlias

import msgspec
from tests.strategies import make_post

from bazaar_protocol import award, evidence, evidence_kinds, kinds, records
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record
from bazaar_protocol.task import award_of, link_to

Outcome: TypeAlias = Literal[
    "awarded", "running", "withdrawn", "breached", "silent",
    "delivered", "accepted", "rejected", "disputed", "revealed",
]  # fmt: skip
SALT = sha256(b"salt").digest()
RIGHT = sha256(b"the right result").digest()
WRONG = sha256(b"a wrong result").digest()


@dataclass
class Party:
    """An agent with its whole log. A record's time is its number, so each run signs the same."""

    name: str
    log: list[Record] = field(default_factory=list)
    loose: int = 0
    time_ms: int = 1_000

    def __post_init__(self) -> None:
        self.keys = Keypair.from_name(self.name)
        self.say(kinds.Genesis(sha256(self.name.encode()).digest()))

    @property
    def agent(self) -> AgentId:
        return self.keys.agent

    @property
    def head(self) -> Head:
        return Head.of(self.log[-1]) if self.log else Head.empty()

    def say(self, body: kinds.Body) -> Record:
        """Sign ``body``; a logged kind as the next entry of the log."""
        if not kinds.KIND_OF_BODY[type(body)].is_logged:
            self.loose += 1
            return records.seal(self.keys, body, time_ms=self.time_ms + self.loose)
        seq, prev = self.head.seq + 1, self.head.id
        time_ms = self.time_ms + seq
        self.log.append(records.seal(self.keys, body, time_ms=time_ms, seq=seq, prev=prev))
        return self.log[-1]

    def go_on(self, entries: int) -> list[Record]:
        """Sign entries that are about no contract."""
        return [self.say(evidence_kinds.Intake(bytes(32), 0, n)) for n in range(entries)]

    def post(self, **changes: Any) -> Record:
        """Post a task that nobody but this agent sequences, unless ``changes`` say so."""
        plain = {"sequencer": self.agent, "mode": "claim", "bid_window_ms": 0}
        return self.say(make_post(**{**plain, "title": f"{self.name} {self.loose}", **changes}))

    def award(self, post: Record, worker: AgentId, **changes: Any) -> Record:
        terms = post.body
        assert isinstance(terms, kinds.Post)
        body = award.draft(post, worker, epoch=changes.get("epoch", 1), price=terms.price)
        return self.say(msgspec.structs.replace(body, **changes))

    def accept(self, granted: Record, *, version: int = 1, fingerprint: bytes = b"") -> Record:
        said = award_of(granted)
        body = kinds.Accept(
            said.task, link_to(granted), said.epoch, said.terms, version, fingerprint
        )
        return self.say(body)

    def deliver(self, granted: Record, result: bytes = RIGHT) -> Record:
        said = award_of(granted)
        link = link_to(granted)
        return self.say(kinds.Deliver(said.task, link, said.epoch, result, 5, "", ()))

    def withdraw(self, granted: Record) -> Record:
        said = award_of(granted)
        return self.say(kinds.Withdraw(said.task, link_to(granted), said.epoch, ""))

    def breach(self, accepted: Record) -> Record:
        said = accepted.body
        assert isinstance(said, kinds.Accept)
        return self.say(kinds.Breach(said.task, link_to(accepted), said.epoch, "heartbeat"))

    def silence(self, broken: Record) -> Record:
        said = broken.body
        assert isinstance(said, kinds.Breach)
        return self.say(evidence_kinds.Silence(said.task, link_to(broken), said.epoch))

    def verdict(self, delivered: Record, *, accepted: bool = True) -> Record:
        said = delivered.body
        assert isinstance(said, kinds.Deliver)
        link = link_to(delivered)
        return self.say(kinds.Verdict(said.task, link, said.epoch, accepted, "", ()))

    def reveal(self, delivered: Record, digest: bytes = RIGHT, salt: bytes = SALT) -> Record:
        said = delivered.body
        assert isinstance(said, kinds.Deliver)
        return self.say(evidence_kinds.Reveal(said.task, link_to(delivered), salt, digest))

    def dispute(self, judged: Record) -> Record:
        said = judged.body
        assert isinstance(said, kinds.Verdict)
        return self.say(evidence_kinds.Dispute(said.task, link_to(judged), said.epoch, ""))


@dataclass(frozen=True)
class Deal:
    """Who else takes part in a contract, and what it is about."""

    sequencer: Party | None = None
    judge: Party | None = None
    relays: Sequence[Party] = ()
    capability: str = "pdf.extract"
    version: int = 1
    fingerprint: bytes = b""
    result: bytes = RIGHT
    is_hashed: bool = False
    """The post asks for a result with the hash ``RIGHT``."""
    has_canary: bool = False
    """The post commits to the result ``RIGHT``; the outcome ``revealed`` opens it."""


PLAIN = Deal()


def deal(poster: Party, worker: Party, outcome: Outcome, terms: Deal = PLAIN) -> list[Record]:
    """Sign a contract from its post to ``outcome``, in the order in which it happens.

    ``disputed`` is a rejection that the worker contradicts, ``revealed`` one that the poster
    proves by its canary, ``silent`` a breach to which the relays add their word.
    """
    sequencer, judge = terms.sequencer or poster, terms.judge or poster
    post = poster.post(**_post(terms, sequencer))
    granted = sequencer.award(post, worker.agent, relays=tuple(one.agent for one in terms.relays))
    signed = [post, granted]
    if outcome == "awarded":
        return signed
    accepted = worker.accept(granted, version=terms.version, fingerprint=terms.fingerprint)
    signed.append(accepted)
    if outcome == "withdrawn":
        signed.append(worker.withdraw(granted))
    if outcome in {"breached", "silent"}:
        signed.append(sequencer.breach(accepted))
    if outcome == "silent":
        signed += [relay.silence(signed[-1]) for relay in terms.relays]
    if outcome in {"running", "withdrawn", "breached", "silent"}:
        return signed
    delivered = worker.deliver(granted, terms.result)
    signed.append(delivered)
    if outcome != "delivered":
        signed.append(judge.verdict(delivered, accepted=outcome == "accepted"))
    if outcome == "disputed":
        signed.append(worker.dispute(signed[-1]))
    if outcome == "revealed":
        signed.append(poster.reveal(delivered))
    return signed


def _post(terms: Deal, sequencer: Party) -> dict[str, Any]:
    method: Literal["schema", "hash", "evaluator"] = "hash" if terms.is_hashed else "schema"
    evaluator = None if terms.judge is None else terms.judge.agent
    if evaluator is not None and not terms.is_hashed:
        method = "evaluator"
    expected = RIGHT if terms.is_hashed else b""
    has_canary = terms.has_canary
    return {
        "sequencer": sequencer.agent,
        "capability": terms.capability,
        "acceptance": kinds.Acceptance(method, expected, evaluator, 60_000),
        "canary": evidence.canary(SALT, RIGHT) if has_canary else b"",
    }
