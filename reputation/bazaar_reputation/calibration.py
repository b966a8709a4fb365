"""What an agent's own forecasts are worth: they are believed as far as they have come true.

A bid says how likely the work will be good, and within which time nine of ten such jobs are done.
Both are compared with what came of the agent's earlier bids, as one ego has seen it. The claim of
somebody without a history moves nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HISTORY_MAX: Final = 50
"""How many of the newest outcomes count."""

_SCALE: Final = 10_000
_PRIOR_FORECASTS: Final = 4.0
_COVERED: Final = (9, 10)


@dataclass(frozen=True, slots=True)
class Forecast:
    """A claimed chance of success, and what came of it."""

    claimed_bp: int
    """In basis points."""
    is_good: bool


def brier(history: Sequence[Forecast]) -> float:
    """Return the mean squared error of forecasts (Brier 1950): 0 is perfect, 1/4 is a coin's.

    Without any forecast it is 1/4: nothing is known.
    """
    errors = [(one.claimed_bp / _SCALE - one.is_good) ** 2 for one in history[-HISTORY_MAX:]]
    return math.fsum(errors) / len(errors) if errors else 0.25


def calibrated_success(lower: float, claimed_bp: int, history: Sequence[Forecast]) -> float:
    """Return the chance of success to reckon with.

    It moves from the lower bound of the score towards the claim as far as the claimer's forecasts
    have earned it, and never above what its claims have turned out to be worth. A claim below the
    lower bound is an admission, and counts at once.

    Args:
        lower: Lower confidence bound of the score, 0 to 1.
        claimed_bp: What the bid claims, in basis points.
        history: Forecasts of the same agent, the newest last.

    """
    claim = claimed_bp / _SCALE
    if claim <= lower:
        return claim
    recent = history[-HISTORY_MAX:]
    worth = max(min(claim - _overclaim(recent), claim), lower)
    return lower + _earned(recent) * (worth - lower)


def duration_factor(ratios: Sequence[float]) -> float:
    """Return by what to multiply a claimed p90 duration so that nine of ten jobs keep to it.

    Split conformal prediction (Vovk, Gammerman & Shafer 2005): the ⌈(n+1)·0.9⌉-th smallest of the
    last ratios of actual to claimed duration; with fewer than nine of them the largest, or 1 if
    that is more.

    Args:
        ratios: Actual over claimed duration, the newest last.

    """
    recent = sorted(ratios[-HISTORY_MAX:])
    parts, whole = _COVERED
    rank = -(-(len(recent) + 1) * parts // whole)
    if rank <= len(recent):
        return recent[rank - 1]
    return max([1.0, *recent])


def _overclaim(history: Sequence[Forecast]) -> float:
    """Return by how much the claims were too high on average; by all of it without any."""
    if not history:
        return 1.0
    claimed = math.fsum(one.claimed_bp / _SCALE for one in history)
    good = sum(one.is_good for one in history)
    return max(0.0, (claimed - good) / len(history))


def _earned(history: Sequence[Forecast]) -> float:
    """Return how far the claimer has earned to be believed, 0 to 1: skill times experience."""
    skill = max(0.0, 1.0 - brier(history) / 0.25)
    return skill * len(history) / (len(history) + _PRIOR_FORECASTS)
