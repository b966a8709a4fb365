"""What an agent offers, on what terms, and which tasks suit it."""

from collections.abc import Mapping
from typing import Final

from bazaar_node.market.events import Offer
from bazaar_node.market.valuation import Valuation
from bazaar_protocol import limits
from bazaar_protocol.award import terms_hash
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Award, BidTerms, Capability, DeclineReason, Post
from bazaar_protocol.task import Task

BID_VALID_MS: Final = limits.HOUR_MS


_REASONS: Final[Mapping[str, DeclineReason]] = {
    "rule": "policy", "distrust": "untrusted_poster", "score": "untrusted_poster", "later": "busy",
}  # fmt: skip


class Shop:
    """Decides what a worker would do, and for whom; whether it has the time is not its concern.

    Args:
        offers: What is on offer, by capability with version; it may change at any time.
        price_min: No task that pays less is done.
        valuation: What we hold of posters.

    """

    def __init__(self, offers: Mapping[str, Offer], price_min: int, valuation: Valuation) -> None:
        self._offers = offers
        self._price_min = price_min
        self._valuation = valuation

    def offer_for(self, post: Post) -> Offer | None:
        """Return what we offer that does the task."""
        for offer in self._offers.values():
            is_version = post.capability_version in {0, offer.version}
            if offer.name == post.capability and is_version:
                return offer
        return None

    def bid_for(self, post: Post, offer: Offer) -> BidTerms:
        """Return what we promise for a task."""
        price = post.price if post.mode == "claim" else self._price_of(offer)
        # For as long as the task can open again: we could not know when to bid anew.
        valid_for_ms = max(BID_VALID_MS, post.expires_in_ms)
        return BidTerms(price, offer.eta_ms, offer.confidence, valid_for_ms)

    def objection(self, post: Post, poster: AgentId, offer: Offer | None) -> DeclineReason | None:
        """Return what speaks against a task; None when it suits us.

        ``busy`` is for what suits us another time.
        """
        if offer is None:
            return "out_of_scope"
        objection = self._valuation.objection_to_poster(poster, post)
        if objection is not None:
            return _REASONS[objection.kind]
        return "price" if post.price < self._price_of(offer) else None

    def objection_to_award(
        self, task: Task, body: Award, offer: Offer, bid: BidTerms | None
    ) -> DeclineReason | None:
        """Return what speaks against an award, given the terms of our ``bid`` that it names."""
        if body.terms != terms_hash(task.id, body.bid, body.price, body.lease):
            return "policy"
        if not body.bid:
            if task.terms.mode == "auction":
                return "policy"
            # The post names a ceiling alone; what is paid stands in the award.
            return "price" if body.price < self._price_of(offer) else None
        return None if bid is not None and body.price >= bid.price else "policy"

    def _price_of(self, offer: Offer) -> int:
        return max(offer.price, self._price_min)


def capability_of(offer: Offer) -> Capability:
    """Return an offer as an advert shows it."""
    return Capability(
        name=offer.name,
        version=offer.version,
        description=offer.description,
        input_schema=offer.input_schema,
        output_schema=offer.output_schema,
        price=offer.price,
        input_bytes_max=0,
        duration_ms_max=0,
        tags=offer.tags,
        fingerprint=offer.fingerprint,
    )
