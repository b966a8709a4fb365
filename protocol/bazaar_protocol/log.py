"""An author's log: a chain of records in which one signature speaks for all behind it.

Each entry names the id of the one before it, and the id covers payload and signature. So checking
n entries takes n hashes and a single Ed25519 check, of the newest. Two entries by one author that
follow the same one contradict each other, and the pair is a proof that anyone can check
(TrustChain, Otte, de Vos & Pouwelse 2020; PeerReview, Haeberlen et al. 2007).
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, Self

import msgspec

from bazaar_protocol.errors import (
    BadSignature,
    BrokenChain,
    Contradiction,
    Equivocation,
    MalformedRecord,
)
from bazaar_protocol.evidence_kinds import Proof, Reset, Succession
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Genesis
from bazaar_protocol.records import NO_RECORD, Record, RecordId, check_signature, parse, unseal

HEIR_AGREES_AT: Final = 2
"""Where in its log an heir vouches for the identity that it carries on: right after its genesis.

A succession is signed by the recovery key of the old identity alone, so without the heir's word it
could hang a bad name on anybody. A vouch that comes later is an ordinary one and no consent.
"""


class Head(msgspec.Struct, frozen=True, gc=False):
    """The newest entry of a log. ``Head.empty()`` is that of an empty log."""

    seq: int
    id: RecordId

    @classmethod
    def empty(cls) -> Self:
        """Return the head of a log that has no entry yet."""
        return cls(0, NO_RECORD)

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return the head of a log that ends with ``record``."""
        return cls(record.seq, record.id)

    def follow(self, record: Record) -> "Head":
        """Return the head after ``record``, which has to be the very next entry.

        Raises:
            BrokenChain: It is not the next one, or names another predecessor.

        """
        if record.seq != self.seq + 1:
            raise BrokenChain(f"entry {record.seq} came where {self.seq + 1} was due")
        if record.prev != self.id:
            raise BrokenChain(f"entry {record.seq} continues another log than the one known")
        return Head.of(record)


def check_segment(
    raws: Sequence[bytes], after: Head | None = None, *, author: AgentId | None = None
) -> list[Record]:
    """Check consecutive entries of one log by their links and the newest signature.

    Args:
        raws: The entries, oldest first.
        after: The entry that the first one must follow, when the caller knows it.
        author: Whose log it has to be. Whoever asks for a log says whose, since another agent can
            sign an entry that claims to follow ``after``.

    Raises:
        MalformedRecord: One of them is not a canonical record, or a loose one.
        BrokenChain: They do not follow one another, or are of another author.
        BadSignature: The newest was not signed by the author; so none of them counts.

    """
    if not raws:
        return []
    entries: list[Record] = []
    payload = signature = b""
    for raw in raws:
        record, payload, signature = parse(raw)
        if entries:
            previous = entries[-1]
            if record.author != previous.author:
                raise BrokenChain("a segment has one author")
            if record.seq != previous.seq + 1 or record.prev != previous.id:
                raise BrokenChain(f"entry {record.seq} does not follow entry {previous.seq}")
        elif record.seq == 0:
            raise MalformedRecord(f"a {record.kind} is in no log")
        elif author is not None and record.author != author:
            raise BrokenChain("these entries are of another author's log")
        elif after is not None:
            after.follow(record)
        entries.append(record)
    check_signature(entries[-1].author, payload, signature)
    return entries


def detect_fork(known: Record, other: Record) -> None:
    """Compare two entries that claim one position.

    A fork is proved where it begins: by two entries that follow the same one. Of two that come
    later, either may stand behind a ``reset``, so they prove nothing by themselves; whoever holds
    them asks for the entries before, as far back as both logs agree (docs/adr/0055).

    Raises:
        Equivocation: The author signed both after the same entry.
        Contradiction: The author signed both, and that convicts nobody: one of them is a ``reset``
            (the author had lost the other and says so), or their logs parted further back.

    """
    if known.author != other.author or known.seq != other.seq or known.seq == 0:
        return
    if known.id == other.id:
        return
    if known.prev != other.prev:
        raise Contradiction(f"entry {known.seq} follows another entry {known.seq - 1} than it did")
    if isinstance(known.body, Reset) or isinstance(other.body, Reset):
        raise Contradiction(f"entry {known.seq} of the log is void: its author was reset there")
    raise Equivocation(known.raw, other.raw)


def check_proof(proof: Proof) -> AgentId:
    """Check a proof of equivocation and return whom it convicts.

    Raises:
        MalformedRecord: The records do not contradict each other, or are no records.
        BadSignature: They were not signed by the one they accuse.

    """
    if proof.claim != "equivocation" or len(proof.records) != 2:
        raise MalformedRecord(f"no rule says what proves {proof.claim}")
    first, second = (unseal(raw) for raw in proof.records)
    try:
        detect_fork(first, second)
    except Equivocation:
        return first.author
    except Contradiction as error:
        raise MalformedRecord(f"that convicts nobody: {error}") from error
    raise MalformedRecord("the two records do not contradict each other")


def check_succession(record: Record, genesis: Record) -> Succession:
    """Check that ``record`` was signed by the recovery key that ``genesis`` committed to.

    Raises:
        MalformedRecord: One of them is of another kind, or they are about different agents.
        BadSignature: The signer is not the recovery key.

    """
    if not isinstance(record.body, Succession) or not isinstance(genesis.body, Genesis):
        raise MalformedRecord("a succession is checked against a genesis")
    if record.body.old != genesis.author:
        raise MalformedRecord("the succession is about another agent")
    if record.body.new == record.body.old:
        raise MalformedRecord("nobody succeeds themselves")
    if (record.body.last_seq == 0) != (not record.body.last_id):
        raise MalformedRecord("the last honest entry has a position and an id, or neither")
    if recovery_hash(record.author) != genesis.body.recovery:
        raise BadSignature("not signed by the recovery key that the genesis names")
    return record.body


def recovery_hash(recovery_key: bytes) -> bytes:
    """Return what a genesis says of the recovery key whose public half is given."""
    return sha256(b"bazaar/recovery/1\x00" + recovery_key).digest()
