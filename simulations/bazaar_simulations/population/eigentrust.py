"""EigenTrust: one score for everybody (Kamvar, Schlosser & Garcia-Molina 2003, algorithm 2)."""

from typing import Final

import numpy as np

from bazaar_simulations.adversaries.adversary import Floats, Ints

PRE_TRUST: Final = 0.1
"""Which share of the trust goes to the pre-trusted anew in every step."""

_STEPS_MAX: Final = 200
_CHANGE_LEAST: Final = 1e-3


def global_trust(good: Floats, bad: Floats, pre_trusted: Ints) -> Floats:
    """Return the trust in each, which sums to 1, from how often who was content with whom."""
    return trust_of(np.maximum(good - bad, 0.0), pre_trusted)


def trust_of(local: Floats, pre_trusted: Ints) -> Floats:
    """Return the trust in each from local trust, by rater and subject."""
    start = np.zeros(len(local))
    start[pre_trusted] = 1.0 / len(pre_trusted)
    whole = local.sum(axis=1, keepdims=True)
    shares = np.where(whole > 0, local / np.where(whole > 0, whole, 1.0), start)
    trust = start.copy()
    for _ in range(_STEPS_MAX):
        before = trust
        trust = (1.0 - PRE_TRUST) * (before @ shares) + PRE_TRUST * start
        if np.abs(trust - before).sum() < _CHANGE_LEAST:
            break
    return np.asarray(trust)
