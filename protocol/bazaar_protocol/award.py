"""How a sequencer picks among bids, and what exactly it awards. Anyone can compute it again.

A rule whose weights are all 0 picks the bid of the highest expected value: with the probability s
of success the poster gains what the ceiling says the work is worth to it less the price, and else
a failure costs half of that worth in delay. In whole numbers, so that it comes out the same
everywhere:

    value     = s * (ceiling - price) - (10000 - s) * ceiling // 2      s = standing

Else the score of a bid is a weighted sum over the bids considered, with the weights of the post's
rule (a linear multi-attribute auction, Bichler 2000):

    cheapness = 10000 * (ceiling - price) // max(ceiling, 1)
    speed     = 10000 * fastest // max(eta, 1)          fastest = min(max(eta, 1)) of the bids
    score     = w_price * cheapness + w_eta * speed + w_confidence * confidence
              + w_standing * standing

Equals go to the lower price, then to the smaller bid id. What a bidder claims of itself counts in
the weighted sum as stated; in the expected value it counts only as far as the sequencer's standing
of the bidder has taken it into account.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from bazaar_protocol import codec
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import (
    Acceptance,
    Award,
    Bid,
    BidTerms,
    Considered,
    Input,
    Lease,
    Post,
    Rule,
)
from bazaar_protocol.records import Record, RecordId

SCALE: Final = 10_000

EXPECTED_VALUE: Final = Rule(0, 0, 0, 0)
"""The rule that picks the highest expected value."""


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
    if rule == EXPECTED_VALUE:
        return min(eligible, key=lambda offer: _rank_by_value(offer, ceiling))
    fastest = min(max(offer.terms.eta_ms, 1) for offer in eligible)
    return min(eligible, key=lambda offer: _rank(offer, rule, ceiling, fastest))


def expected_value(standing: int, ceiling: int, price: int) -> int:
    """Return what awarding at ``price`` is worth, in basis points of the smallest unit."""
    return standing * (ceiling - price) - (SCALE - standing) * ceiling // 2


def _rank_by_value(offer: Offer, ceiling: int) -> tuple[int, int, bytes]:
    price = offer.terms.price
    return -expected_value(offer.standing, ceiling, price), price, offer.bid


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


def draft(
    post: Record,
    worker: AgentId,
    *,
    epoch: int,
    price: int,
    bid: bytes = b"",
    relays: tuple[AgentId, ...] = (),
    considered: Sequence[Offer] = (),
) -> Award:
    """Return the award of the task in ``post`` to ``worker``, for its sequencer to sign."""
    terms = post.body
    assert isinstance(terms, Post)
    return Award(
        task=post.id,
        poster=post.author,
        worker=worker,
        judge=terms.acceptance.evaluator or post.author,
        capability=terms.capability,
        epoch=epoch,
        bid=bid,
        price=price,
        terms=terms_hash(post.id, bid, price, terms.lease),
        lease=terms.lease,
        relays=relays,
        considered=tuple(Considered(offer.bid, offer.standing) for offer in considered),
    )


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
    if weights not in {0, SCALE}:
        raise MalformedRecord(f"the weights of an award rule sum to {SCALE} or 0, not {weights}")
    if (post.mode == "direct") != (post.worker is not None):
        raise MalformedRecord("a worker is named in a direct post, and in no other")
    if post.worker == poster:
        raise MalformedRecord("nobody posts a task to themselves")
    if post.mode != "claim" and post.sequencer != poster:
        raise MalformedRecord("only a claim has another sequencer than its poster")
    if post.mode == "auction" and post.bid_window_ms >= post.expires_in_ms:
        raise MalformedRecord("an auction expires after its bid window, not before")
    _check_input(post.input)
    _check_acceptance(post.acceptance)


def _check_input(given: Input) -> None:
    if given.data is None:
        return
    if given.private:
        raise MalformedRecord("a private input is not inline")
    if len(given.data) != given.size:
        raise MalformedRecord("the inline input has another size than stated")
    if sha256(given.data).digest() != given.hash:
        raise MalformedRecord("the inline input has another hash than stated")


def _check_acceptance(acceptance: Acceptance) -> None:
    if (acceptance.method == "evaluator") != (acceptance.evaluator is not None):
        raise MalformedRecord("an evaluator is named for that method of acceptance alone")
    if (acceptance.method == "hash") != bool(acceptance.expected):
        raise MalformedRecord("the expected hash goes with that method of acceptance alone")


def check_bid(post: Post, bid: Bid) -> None:
    """Check what the types cannot say about a bid.

    Raises:
        MalformedRecord: Its terms are both open and sealed, or not what the post asks for.

    """
    if bid.terms is not None and (bid.sealed or bid.commitment):
        raise MalformedRecord("the terms of a bid are open or sealed, not both")
    if bool(bid.sealed) != bool(bid.commitment):
        raise MalformedRecord("sealed terms come with their commitment, and only they")
    if post.mode == "auction" and post.sealed != bool(bid.sealed):
        how = "sealed" if post.sealed else "open"
        raise MalformedRecord(f"the terms of a bid for this task are {how}")
    if post.mode == "auction" and not post.sealed and bid.terms is None:
        raise MalformedRecord("a bid for this task states its terms")
    if post.mode == "auction" and bid.terms is not None and bid.terms.price > post.price:
        raise MalformedRecord("the price of a bid for this task is above its ceiling")


def check_award(post: Post, poster: AgentId, award: Award) -> None:
    """Check that an award keeps to the post, as far as the two alone can tell.

    Raises:
        MalformedRecord: It does not.

    """
    judge = post.acceptance.evaluator or poster
    repeated = (award.poster, award.judge, award.capability, award.lease)
    if repeated != (poster, judge, post.capability, post.lease):
        raise MalformedRecord("its poster, judge, capability or lease is not that of the post")
    if award.terms != terms_hash(award.task, award.bid, award.price, award.lease):
        raise MalformedRecord("its terms are not what it hashes")
    _check_price_and_bid(post, award)


def _check_price_and_bid(post: Post, award: Award) -> None:
    if award.price > post.price:
        raise MalformedRecord("its price is above that of the post")
    if post.mode == "claim" and award.price != post.price:
        raise MalformedRecord("a claim pays the price of the post")
    if post.worker not in {None, award.worker}:
        raise MalformedRecord("the post names another worker")
    if post.mode == "direct" and award.bid:
        raise MalformedRecord("there are no bids for a direct task")
    if post.mode == "auction" and not award.bid:
        raise MalformedRecord("an auction is won by a bid")
    if award.considered and award.bid not in {one.bid for one in award.considered}:
        raise MalformedRecord("the winner is not among the bids considered")
