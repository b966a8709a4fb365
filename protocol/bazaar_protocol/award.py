"""How a sequencer picks among bids, and what exactly it awards. Anyone can compute it again.

The score of a bid is a weighted sum over the bids considered, with the weights of the post's
rule, in whole numbers so that it comes out the same everywhere (a linear multi-attribute auction,
Bichler 2000):

    cheapness = 10000 * (ceiling - price) / ceiling        speed = 10000 * fastest / eta
    score     = w_price * cheapness + w_eta * speed + w_confidence * confidence + w_standing * standing

Equal scores go to the lower price, then to the smaller bid id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from bazaar_protocol import codec
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Bid, BidTerms, Lease, Post, Rule
from bazaar_protocol.records import RecordId

SCALE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A bid whose terms are known: they were open, or the sequencer has opened them."""

    bid: RecordId
    worker: AgentId
    terms: BidTerms
    standing: int
    """What the sequencer holds of the worker, in basis points."""


def choose(rule: Rule, ceiling: int, offers: Sequence[Offer]) -> Offer | None:
    """Return the best offer within ``ceiling`` under ``rule``, or None when none is within it."""
    eligible = [offer for offer in offers if offer.terms.price <= ceiling]
    if not eligible:
        return None
    fastest = min(max(offer.terms.eta_ms, 1) for offer in eligible)
    return min(eligible, key=lambda offer: _rank(offer, rule, ceiling, fastest))


def _rank(offer: Offer, rule: Rule, ceiling: int, fastest: int) -> tuple[int, int, bytes]:
    terms = offer.terms
    cheapness = SCALE * (ceiling - terms.price) // max(ceiling, 1)
    speed = SCALE * fastest // max(terms.eta_ms, 1)
    score = (
        rule.price * cheapness
        + rule.eta * speed
        + rule.confidence * terms.confidence
        + rule.standing * offer.standing
    )
    return -score, terms.price, offer.bid


def terms_hash(task: bytes, bid: bytes, price: int, lease: Lease) -> bytes:
    """Hash what poster and worker agree on: award and accept both carry it."""
    return sha256(b"bazaar/terms/1\x00" + codec.encode((task, bid, price, lease))).digest()


def commitment(salt: bytes, terms: BidTerms) -> bytes:
    """Return what a sealed bid shows of its terms; ``salt`` is 32 random bytes."""
    return sha256(b"bazaar/bid/1\x00" + salt + codec.encode(terms)).digest()


def check_opening(bid: Bid, salt: bytes, terms: BidTerms) -> None:
    """Check that ``terms`` are what the sealed ``bid`` committed to.

    Raises:
        MalformedRecord: They are not.

    """
    if bid.commitment != commitment(salt, terms):
        raise MalformedRecord("the opened terms are not those that the bid committed to")


def check_post(post: Post, poster: AgentId) -> None:
    """Check what the types cannot say about a post.

    Raises:
        MalformedRecord: Its parts contradict one another.

    """
    weights = post.rule.price + post.rule.eta + post.rule.confidence + post.rule.standing
    if weights != SCALE:
        raise MalformedRecord(f"the weights of an award rule sum to {SCALE}, not {weights}")
    if (post.mode == "direct") != (post.worker is not None):
        raise MalformedRecord("a worker is named in a direct post, and in no other")
    if post.worker == poster:
        raise MalformedRecord("nobody posts a task to themselves")
    if post.mode != "claim" and post.sequencer != poster:
        raise MalformedRecord("only a claim has another sequencer than its poster")
    if post.input.data is not None:
        if post.input.private:
            raise MalformedRecord("a private input is not inline")
        if len(post.input.data) != post.input.size:
            raise MalformedRecord("the inline input has another size than stated")
        if sha256(post.input.data).digest() != post.input.hash:
            raise MalformedRecord("the inline input has another hash than stated")
    if (post.acceptance.method == "evaluator") != (post.acceptance.evaluator is not None):
        raise MalformedRecord("an evaluator is named for that method of acceptance alone")
    if (post.acceptance.method == "hash") != (len(post.acceptance.expected) == len(post.input.hash)):
        raise MalformedRecord("the expected hash goes with that method of acceptance alone")
