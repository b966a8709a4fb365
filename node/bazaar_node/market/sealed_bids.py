"""Bids that only the sequencer can read until it opens them, and cannot misquote afterwards.

The terms travel encrypted; a commitment to them stands beside in the open. So whoever is shown
salt and terms later can check that they are what the bidder signed.
"""

from bazaar_node.market.turn import Pen
from bazaar_protocol import letters
from bazaar_protocol.award import check_opening, commitment
from bazaar_protocol.errors import BadSignature, MalformedRecord
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import Bid, BidTerms
from bazaar_protocol.letters import SealedTerms
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.sealing import open_sealed

_SALT_BYTES = 32


def seal_bid(pen: Pen, sequencer: AgentId, task: RecordId, terms: BidTerms) -> Bid:
    """Return a bid whose terms only ``sequencer`` can read."""
    salt = pen.entropy(_SALT_BYTES)
    sealed = pen.seal(sequencer, SealedTerms(task, salt, terms))
    return Bid(task, None, sealed, commitment(salt, terms))


def open_bid(keys: Keypair, record: Record) -> SealedTerms:
    """Open a bid that was sealed to us.

    Raises:
        MalformedRecord: It cannot be opened, or is not what the bidder committed to.
        BadSignature: The sealed part is another agent's.

    """
    assert isinstance(record.body, Bid)
    sender, content = open_sealed(keys, record.body.sealed)
    letter = letters.decode_letter(content)
    if not isinstance(letter, SealedTerms) or letter.task != record.body.task:
        raise MalformedRecord("the sealed part is not the terms of this bid")
    if sender != record.author:
        raise BadSignature("the sealed terms are another agent's")
    check_opening(record.body, letter.salt, letter.terms)
    return letter
