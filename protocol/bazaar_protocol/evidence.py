"""What makes a piece of evidence true, for all who read it: receipts, omissions, canaries, stamps.

Nothing here depends on anything but the bytes themselves, so everyone comes to the same answer.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.evidence_kinds import Intake, Omission, Reveal, Stamp, Statement
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Post
from bazaar_protocol.merkle import check_inclusion
from bazaar_protocol.records import Record, RecordId, unseal

_CANARY_DOMAIN: Final = b"bazaar/canary/1\x00"
_STAMP_DOMAIN: Final = b"bazaar/stamp/1\x00"
_HASH_BYTES: Final = 32
_HASH_BITS: Final = 8 * _HASH_BYTES


def check_receipt(intake: Record, record: RecordId, index: int, path: Sequence[bytes]) -> Intake:
    """Check that ``record`` is under the receipt ``intake``, and return what that says.

    Whose receipt it is, the caller knows: a relay's is one that the relay signed.

    Raises:
        MalformedRecord: It is no receipt, or not for this record.

    """
    if not isinstance(intake.body, Intake):
        raise MalformedRecord(f"a receipt is an intake, not a record of the kind {intake.kind}")
    body = intake.body
    check_inclusion(record, path, body.root, index=index, count=body.count)
    return body


def check_statement(record: Record) -> Statement:
    """Return what ``record`` states of an author's log.

    Raises:
        MalformedRecord: It is no statement, or names an entry by halves.

    """
    if not isinstance(record.body, Statement):
        raise MalformedRecord(f"not a statement, but a record of the kind {record.kind}")
    if (record.body.seq == 0) != (not record.body.id):
        raise MalformedRecord("the newest entry has a position and an id, or there is none")
    return record.body


def check_omission(body: Omission) -> AgentId:
    """Check that a relay stated less than it had given its receipt for, and return the relay.

    Raises:
        MalformedRecord: The records do not contradict each other, or are no such records.
        BadSignature: One of them was not signed by its author.

    """
    statement, intake, entry = map(unseal, (body.statement, body.intake, body.entry))
    stated = check_statement(statement)
    check_receipt(intake, entry.id, body.index, body.path)
    if statement.author != intake.author:
        raise MalformedRecord("the statement and the receipt are of different relays")
    if stated.own_seq < intake.seq:
        raise MalformedRecord("the statement is not known to be later than the receipt")
    if entry.author != stated.author:
        raise MalformedRecord("the entry is of another log than the statement")
    if entry.seq <= stated.seq:
        raise MalformedRecord("the statement leaves nothing out")
    return statement.author


def canary(salt: bytes, digest: bytes) -> bytes:
    """Return what a post says of an answer that its poster knows already.

    ``digest`` is the SHA-256 of the answer; ``salt`` is random and keeps it from being guessed.
    """
    return sha256(_CANARY_DOMAIN + salt + digest).digest()


def check_reveal(post: Record, body: Reveal) -> None:
    """Check that ``body`` opens the canary of ``post``.

    Who may open it, the caller has to check: the author of the post.

    Raises:
        MalformedRecord: It is about another task, or not what the post committed to.

    """
    if not isinstance(post.body, Post) or post.id != body.task:
        raise MalformedRecord("a canary is opened for the task whose post it is in")
    if post.body.canary != canary(body.salt, body.digest):
        raise MalformedRecord("the post committed to something else")


def stamp_bits(agent: AgentId, body: Stamp) -> int:
    """Return how much work is in a stamp of ``agent``: each bit doubles it.

    How many bits are enough, and how old a stamp may be, is for whoever looks to decide.
    """
    return _zero_bits(sha256(_stamped(agent, body.relay, body.day) + body.nonce).digest())


def find_stamp(
    agent: AgentId, *, day: int, bits: int, relay: bytes = b"", numbers: range
) -> Stamp | None:
    """Try each of ``numbers`` as the nonce of a stamp, and return the first that does.

    About one in 2 ** ``bits`` does. Who wants to do something else meanwhile asks for one range
    of numbers after the other.
    """
    stamped = _stamped(agent, relay, day)
    for number in numbers:
        nonce = number.to_bytes(_HASH_BYTES, "big")
        if _zero_bits(sha256(stamped + nonce).digest()) >= bits:
            return Stamp(relay, day, nonce)
    return None


def _stamped(agent: AgentId, relay: bytes, day: int) -> bytes:
    return _STAMP_DOMAIN + relay + agent + day.to_bytes(8, "big")


def _zero_bits(digest: bytes) -> int:
    return _HASH_BITS - int.from_bytes(digest, "big").bit_length()
