"""One good example of everything, from keys and times that never change."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from bazaar_protocol import (
    award,
    evidence,
    frames,
    kinds,
    letters,
    log,
    merkle,
    peering_frames,
    records,
    sealing,
)
from bazaar_protocol.evidence_kinds import (
    Dispute,
    Intake,
    Omission,
    Proof,
    Reset,
    Reveal,
    Silence,
    Statement,
    Succession,
    Vouch,
)
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record

ADA, BO, CY, RELAY = (Keypair.from_name(name) for name in ("ada", "bo", "cy", "relay"))
RECOVERY = Keypair.from_name("ada's recovery key")
KEYS = {
    "ada": ADA,
    "bo": BO,
    "cy": CY,
    "relay": RELAY,
    "ada's recovery key": RECOVERY,
}
START_MS = 1_700_000_000_000
SALT = sha256(b"salt").digest()
ENTROPY = sha256(b"entropy").digest()
TERMS = kinds.BidTerms(40, 900, 9_300, 60_000)
LEASE = kinds.Lease(2_000, 30_000, 6_000, 3)
RULE = kinds.Rule(4_000, 2_000, 2_000, 2_000)
RESULT = b'{"rows":[[1,2],[3,4]]}'
DIGEST = sha256(RESULT).digest()
DAY = 19_675
INPUT = b'{"path":"report.csv"}'


@dataclass
class Author:
    """Signs for one agent: logged kinds at the next place of its log."""

    keys: Keypair
    head: Head
    time_ms: int = START_MS

    def say(self, body: kinds.Body) -> Record:
        self.time_ms += 1_000
        if not kinds.KIND_OF_BODY[type(body)].is_logged:
            return records.seal(self.keys, body, time_ms=self.time_ms)
        where: dict[str, Any] = {"seq": self.head.seq + 1, "prev": self.head.id}
        record = records.seal(self.keys, body, time_ms=self.time_ms, **where)
        self.head = self.head.follow(record)
        return record


def author(keys: Keypair) -> Author:
    """Return an agent that has said nothing yet."""
    return Author(keys, Head.empty())


def link(record: Record) -> Link:
    """Name a logged record."""
    return Link(record.author, record.seq, record.id)


def post() -> kinds.Post:
    """A sealed auction of ada's."""
    return kinds.Post(
        title="extract the table of Zürich",
        capability="pdf.extract",
        capability_version=2,
        mode="auction",
        input=kinds.Input(INPUT, sha256(INPUT).digest(), len(INPUT), "application/json", False),
        output_schema=b'{"type":"object"}',
        acceptance=kinds.Acceptance("schema", b"", None, 60_000),
        price=100,
        bid_window_ms=1_000,
        rule=RULE,
        lease=LEASE,
        sequencer=ADA.agent,
        worker=None,
        bidders_max=8,
        sealed=True,
        canary=evidence.canary(SALT, DIGEST),
        tags=("pdf", "table"),
        idempotency_key="extract-1",
        addresses=("/ip4/127.0.0.1/tcp/4001",),
        expires_in_ms=600_000,
    )


def advert() -> kinds.Advert:
    """What bo offers."""
    capability = kinds.Capability(
        name="pdf.extract",
        version=2,
        description="Tables out of PDF files",
        input_schema=b'{"type":"object"}',
        output_schema=b"",
        price=40,
        input_bytes_max=1_000_000,
        duration_ms_max=30_000,
        tags=("pdf",),
        fingerprint=sha256(b"model and tools").digest(),
    )
    relays = ("/ip4/192.0.2.1/tcp/4001",)
    return kinds.Advert(1, "Bo", (capability,), relays, (), 4, 1, 3_600_000)


def sealed_terms(task: bytes) -> bytes:
    """What bo's bid hides, sealed to ada."""
    content = letters.encode_letter(letters.SealedTerms(task, SALT, TERMS))
    return sealing.seal_to(ADA.agent, BO, content, entropy=ENTROPY)


def trade() -> dict[str, Record]:
    """A record of every kind; most of them are one task's life."""
    ada, bo, relay = author(ADA), author(BO), author(RELAY)
    said = {"genesis": ada.say(kinds.Genesis(log.recovery_hash(RECOVERY.agent)))}
    bo.say(kinds.Genesis(log.recovery_hash(Keypair.from_name("bo's recovery key").agent)))
    relay.say(kinds.Genesis(log.recovery_hash(Keypair.from_name("relay's").agent)))
    said["advert"] = bo.say(advert())
    said["post"] = ada.say(post())
    task = said["post"].id
    hidden = award.commitment(SALT, TERMS)
    said["bid"] = bo.say(kinds.Bid(task, None, sealed_terms(task), hidden))
    said["decline"] = author(CY).say(kinds.Decline(task, 0, "busy", 5_000))
    bid = said["bid"].id
    offers = (award.Offer(bid, BO.agent, TERMS, 5_000),)
    drafted = award.draft(
        said["post"],
        BO.agent,
        epoch=1,
        price=TERMS.price,
        bid=bid,
        relays=(RELAY.agent,),
        considered=offers,
    )
    said["award"] = ada.say(drafted)
    awarded = link(said["award"])
    said["accept"] = bo.say(kinds.Accept(task, awarded, 1, drafted.terms, 1, bytes(range(32))))
    said["heartbeat"] = bo.say(kinds.Heartbeat(task, awarded.id, 1, 50, "half way"))
    addresses = ("/ip4/127.0.0.1/tcp/4002",)
    said["deliver"] = bo.say(
        kinds.Deliver(task, awarded, 1, DIGEST, len(RESULT), "application/json", addresses)
    )
    criteria = (kinds.Criterion("complete", 95),)
    said["verdict"] = ada.say(
        kinds.Verdict(task, link(said["deliver"]), 1, True, "as asked", criteria)
    )
    said["breach"] = ada.say(kinds.Breach(task, link(said["accept"]), 1, "heartbeat"))
    said["withdraw"] = bo.say(kinds.Withdraw(task, awarded, 1, "out of memory"))
    said["dispute"] = bo.say(Dispute(task, link(said["verdict"]), 1, "nothing is missing"))
    said["reveal"] = ada.say(Reveal(task, link(said["deliver"]), SALT, DIGEST))
    said["silence"] = relay.say(Silence(task, link(said["breach"]), 1))
    said["vouch"] = ada.say(Vouch(BO.agent, is_withdrawn=False))
    said["reset"] = bo.say(Reset("an old backup"))
    return said | about_logs(said, relay)


def about_logs(said: dict[str, Record], relay: Author) -> dict[str, Record]:
    """Say what is known of those who said all that."""
    cy = author(CY)
    leaves = [record.id for record in said.values()]
    intake = relay.say(Intake(merkle.tree_hash(leaves), len(leaves), 1))
    newest, left_out = said["award"], said["verdict"]
    stated = Statement(newest.author, newest.seq, newest.id, relay.head.seq)
    statement = relay.say(stated)
    index = leaves.index(left_out.id)
    path = merkle.inclusion_path(leaves, index)
    omission = Omission(statement.raw, intake.raw, left_out.raw, index, path)
    stamp = evidence.find_stamp(CY.agent, day=DAY, bits=12, relay=RELAY.agent, numbers=range(2**20))
    assert stamp is not None
    ada_again = Keypair.from_name("ada again").agent
    return {
        "intake": intake,
        "statement": statement,
        "succession": author(RECOVERY).say(Succession(ADA.agent, 2, newest.id, ada_again)),
        "proof": cy.say(Proof("equivocation", fork())),
        "omission": cy.say(omission),
        "stamp": cy.say(stamp),
    }


def fork() -> tuple[bytes, bytes]:
    """Two entries that ada signed for one place of her log."""
    first, second = author(ADA), author(ADA)
    for one in (first, second):
        one.say(kinds.Genesis(log.recovery_hash(RECOVERY.agent)))
    task = sha256(b"task").digest()
    nothing = Link(BO.agent, 5, sha256(b"deliver").digest())
    left = first.say(kinds.Verdict(task, nothing, 1, True, "", ()))
    right = second.say(kinds.Verdict(task, nothing, 1, False, "", ()))
    return left.raw, right.raw


def chain(count: int) -> list[Record]:
    """The first entries of a log of ada's."""
    ada = author(ADA)
    entries = [ada.say(kinds.Genesis(log.recovery_hash(RECOVERY.agent)))]
    result = Link(BO.agent, 5, sha256(b"deliver").digest())
    for number in range(1, count):
        task = sha256(b"task %d" % number).digest()
        entries.append(ada.say(kinds.Verdict(task, result, number, True, "", ())))
    return entries


def all_frames(raw: bytes) -> list[frames.Frame]:
    """One frame of each name; ``raw`` is a record to carry."""
    key, digest = AgentId(BO.agent), sha256(b"hash").digest()
    wanted = frames.Filter(kinds=("post",), capability="pdf", authors=(key,), to=(ADA.agent,))
    return [
        frames.Hello(1, "bazaar/0.1.0", ("mail",)),
        frames.Welcome(1, "bazaar/0.1.0", ("mail",), digest, 42, b"{}"),
        frames.Publish(1, (raw,)),
        frames.Published(1, ("accepted", "duplicate", "gap: have 3")),
        frames.Subscribe(2, (wanted, frames.Filter()), 40),
        frames.Event(43, raw),
        frames.CaughtUp(2, 43),
        frames.Lagged(43),
        frames.Query(3, "pdf", "tables", "", 20),
        frames.Adverts(3, (raw,), "next"),
        frames.GetLog(4, key, 1, 9),
        frames.GetHead(5, key),
        frames.GetTask(6, digest, 0),
        frames.Segment(6, (raw,), 43, False),
        frames.GetInclusion(13, digest),
        frames.Included(13, raw, 5, (digest, bytes(32))),
        frames.GetStatement(14, key),
        frames.Stated(14, raw),
        frames.Claim(7, digest),
        frames.Claimed(7, raw),
        frames.Mail(8, key, b"sealed"),
        frames.Mailed(8),
        frames.Letter(1, b"sealed"),
        frames.Collect(9, (1, 2)),
        frames.Collected(9),
        *_link_frames(key),
        peering_frames.Compare(16, (peering_frames.Range(b"\x0d\x07", 3, digest),)),
        peering_frames.Compared(16, ((peering_frames.RangeSum(3, digest),) * 16, ())),
        peering_frames.GetHeads(17, b"\x0d", b""),
        peering_frames.Listed(17, (peering_frames.LogHead(key, 9, digest),), False),
        peering_frames.GetLogs(18, (peering_frames.LogSpan(key, 3, 9),)),
        peering_frames.GetLoose(19, 42),
        peering_frames.Here((key,)),
        peering_frames.Forward(20, key, ADA.agent, b"sealed"),
        frames.Fetch(10, digest, digest, 0),
        frames.Chunk(10, 0, 4, b"data"),
        frames.Ping(11),
        frames.Pong(11),
        frames.Error(12, "not-found", "no such task"),
    ]


def _link_frames(key: AgentId) -> list[frames.Frame]:
    return [
        frames.OpenLink(15, key),
        frames.LinkOpened(15, 7),
        frames.LinkOffered(7, key),
        frames.AcceptLink(7),
        frames.LinkData(7, b"ciphertext"),
        frames.LinkCredit(7, 65_536),
        frames.CloseLink(7, "done"),
    ]
