"""What a bidder's claims are worth, by what came of its claims before."""

from collections.abc import Sequence

from bazaar_node.market.experience import Outcome
from bazaar_protocol.award import SCALE
from bazaar_protocol.kinds import BidTerms
from bazaar_reputation.calibration import Forecast, calibrated_success, duration_factor


def calibrated(points: int, terms: BidTerms, past: Sequence[Outcome], *, within_ms: int) -> int:
    """Return the chance, in basis points, that a bidder does what it promises.

    An award lists this as the bidder's standing, so it holds all that is to be made of the claims:
    how sure the bidder says it is, and whether it will be done in time, as its like tasks were.

    Args:
        points: The lower bound of our score of it.
        terms: What it promises now.
        past: What came of what it had from us before, oldest first.
        within_ms: By when it has to be done.

    """
    forecasts = [
        Forecast(one.confidence, one.is_good) for one in past if one.confidence is not None
    ]
    chance = calibrated_success(points / SCALE, terms.confidence, forecasts)
    ratios = [one.took_ms / max(one.eta_ms, 1) for one in past if one.eta_ms is not None]
    needs_ms = terms.eta_ms * duration_factor(ratios)
    if needs_ms > within_ms:
        chance *= within_ms / needs_ms
    return int(chance * SCALE)
