"""Which bidders are considered at all, and what is held of them: before the rule decides.

``award.choose`` is what anyone can compute again. Who is put before it is the poster's own affair:
never a convict or one whom its policy refuses; and, as soon as it has receipts of its own to judge
by, nobody whose score is too low, but for a small task to a stranger that somebody vouches for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from bazaar_node.market.claims import calibrated
from bazaar_node.market.exposure import Exposure
from bazaar_node.market.opinions import About, Standing
from bazaar_node.market.policy import Candidate, Objection
from bazaar_node.market.trust import Trust
from bazaar_protocol import award, limits
from bazaar_protocol.award import Offer
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import BidTerms, Post
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import Task
from bazaar_reputation.scores import POSTER_KNOWN_LEAST

SOLICITATIONS: Final = 2
"""How often the time for bids is extended when none is good enough."""
SOLICIT_MS_MIN: Final = limits.SECOND_MS
LOOK_AGAIN_MS: Final = 10 * limits.SECOND_MS
"""After that it is looked at now and then: what we hold of a bidder may have changed."""


@dataclass(frozen=True, slots=True)
class OpenBid:
    """A bid whose terms we know."""

    id: RecordId
    worker: AgentId
    terms: BidTerms


@dataclass(frozen=True, slots=True)
class Picked:
    """Who gets the task, and who was considered for it."""

    best: Offer
    considered: Sequence[Offer]


@dataclass(frozen=True, slots=True)
class NobodyYet:
    """Nobody gets it for now."""

    why: str
    again_ms: int
    """When to look again if nothing happens before."""
    extension: int = 0
    """For which time the time for bids is extended, from 1; 0 if it is not."""


Choice: TypeAlias = Picked | NobodyYet


@dataclass(frozen=True, slots=True)
class Weighed:
    """A bid with all that we have to say of it."""

    offer: Offer
    standing: Standing
    objection: Objection | None


@dataclass(frozen=True, slots=True)
class Valuation:
    """Weighs bidders and posters for one agent."""

    trust: Trust
    exposure: Exposure

    def choose(self, task: Task, bids: Sequence[OpenBid], now_ms: int) -> Choice | None:
        """Return who gets a task of ours; None when there is no bid within its ceiling."""
        weighed = self.weigh(task.terms, bids, now_ms)
        if not weighed:
            return None
        good = [one.offer for one in weighed if one.objection is None]
        if good:
            return _best(task.terms, good)
        low = [one for one in weighed if one.objection and one.objection.kind == "score"]
        if not low:
            return NobodyYet(_reasons(weighed), now_ms + LOOK_AGAIN_MS)
        waited, again_ms = extension(task, now_ms)
        if waited <= SOLICITATIONS:
            return NobodyYet(f"{_reasons(weighed)}; waiting for other bids", again_ms, waited)
        return self._small_task(task, low) or NobodyYet(_reasons(weighed), now_ms + LOOK_AGAIN_MS)

    def weigh(self, post: Post, bids: Sequence[OpenBid], now_ms: int) -> list[Weighed]:
        """Say what we hold of each bidder within the ceiling."""
        within = [bid for bid in bids if bid.terms.price <= post.price]
        is_seasoned = self.trust.experience.is_seasoned(now_ms)
        return [self._weigh(post, bid, is_seasoned=is_seasoned) for bid in within]

    def objection_to_worker(self, worker: AgentId, post: Post) -> Objection | None:
        """Return what speaks against giving a task to a worker whom the owner has named.

        Its score does not: the owner knows whom it wants.
        """
        candidate = self._candidate(worker, self._of_worker(worker, post), post, is_seasoned=False)
        return self.trust.policies.workers.objection(candidate)

    def objection_to_poster(self, poster: AgentId, post: Post) -> Objection | None:
        """Return what speaks against working for somebody."""
        standing, credit = self.trust.opinions.standing(About(poster, "poster")), self.trust.credit
        candidate = Candidate(
            poster,
            standing,
            amount=post.price,
            held=self.exposure.owed_by(poster),
            is_fair=credit.is_fair(poster) or standing.good >= POSTER_KNOWN_LEAST,
            on_credit=credit.held,
            earned=credit.earned,
        )
        return self.trust.policies.posters.objection(candidate)

    def _weigh(self, post: Post, bid: OpenBid, *, is_seasoned: bool) -> Weighed:
        held = self._of_worker(bid.worker, post)
        points = calibrated(
            held.points,
            bid.terms,
            self.trust.experience.of(bid.worker),
            within_ms=post.lease.start_to_close_ms,
        )
        standing = replace(held, points=points)
        candidate = self._candidate(bid.worker, standing, post, is_seasoned=is_seasoned)
        objection = self.trust.policies.workers.objection(candidate)
        return Weighed(Offer(bid.id, bid.worker, bid.terms, points), standing, objection)

    def _of_worker(self, worker: AgentId, post: Post) -> Standing:
        version, fingerprint = self.trust.experience.works_with(worker, post.capability)
        about = About(
            worker,
            capability=post.capability,
            version=post.capability_version or version,
            fingerprint=fingerprint,
        )
        return self.trust.opinions.standing(about)

    def _candidate(
        self, worker: AgentId, standing: Standing, post: Post, *, is_seasoned: bool
    ) -> Candidate:
        held = self.exposure.given_to(worker)
        return Candidate(worker, standing, post.price, held, is_seasoned)

    def _small_task(self, task: Task, low: Sequence[Weighed]) -> Picked | None:
        """Give a stranger a chance, if somebody answers for it or it cost something to make."""
        if task.terms.price > self.trust.experience.usual_ceiling():
            return None
        strangers = [
            one.offer
            for one in low
            if not one.standing.is_known and one.standing.admission != "bare"
        ]
        return _best(task.terms, strangers) if strangers else None


def extension(task: Task, now_ms: int) -> tuple[int, int]:
    """Return how many times the time for bids has passed, and when it will next."""
    window_ms = max(task.terms.bid_window_ms, SOLICIT_MS_MIN)
    waited = (now_ms - task.opened_ms) // window_ms
    return waited, task.opened_ms + (waited + 1) * window_ms


def _best(post: Post, offers: Sequence[Offer]) -> Picked:
    best = award.choose(post.rule, post.price, offers)
    assert best is not None, "all of them are within the ceiling"
    return Picked(best, offers)


def _reasons(weighed: Sequence[Weighed]) -> str:
    reasons = list(dict.fromkeys(one.objection.why for one in weighed if one.objection))
    more = f", and for {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
    return f"none of {len(weighed)} bidders gets it: {reasons[0]}{more}"
