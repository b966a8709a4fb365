"""Who there is: honest principals, newcomers among them, and the identities of the malicious."""

from dataclasses import dataclass

import numpy as np

from bazaar_protocol.limits import VOUCHES_COUNTED_MAX
from bazaar_simulations.adversaries.adversary import Adversary, Bools, Floats, Ints, Traits
from bazaar_simulations.population.setting import USUAL_PRICE, Setting

SEEDS: int = 3
"""So many honest agents are named by everybody's owner (and pre-trusted in EigenTrust)."""

QUALITY = (0.90, 0.99)


@dataclass(slots=True)
class Town:
    """Identities by number: the honest first, newcomers the last of them, then the malicious."""

    honest: int
    newcomers: int
    size: int
    malicious_principals: int
    traits: Traits
    """Of the malicious."""
    quality: Floats
    """How often an agent succeeds when it tries."""
    prices: Floats
    """What an agent asks for a job, of what that is worth to its poster."""
    vouches: Floats
    """By voucher and vouched, 1 where one answers for the other."""
    is_here: Bools

    @property
    def is_honest(self) -> Bools:
        """Tell who is honest."""
        return np.arange(self.size) < self.honest

    @property
    def egos(self) -> Ints:
        """Return the honest who are here: they post, and keep scores."""
        return np.flatnonzero(self.is_here[: self.honest])

    def welcome(self) -> None:
        """Let the newcomers in."""
        self.is_here[:] = True


def settle(setting: Setting, adversary: Adversary, rng: np.random.Generator) -> Town:
    """Return the town in which a run takes place."""
    bad = round(setting.principals * setting.share)
    honest = setting.principals - bad
    traits = adversary.traits(bad)
    size = honest + len(traits.owner)
    newcomers = max(1, round(honest * setting.newcomers))
    is_here = np.ones(size, bool)
    is_here[honest - newcomers : honest] = False
    vouches = np.zeros((size, size))
    asked = [one for one in range(honest) if rng.random() < setting.vouched]
    first_names = np.unique(traits.owner, return_index=True)[1]
    fooled = [honest + int(one) for one in first_names if rng.random() < setting.fooled]
    for vouched in (*asked, *fooled):
        _vouch(vouches, int(rng.integers(0, honest - newcomers)), vouched)
    sellers, buyers = adversary.sells_vouches(bad)
    for seller, buyer in zip(sellers, buyers, strict=True):
        _vouch(vouches, honest + int(seller), honest + int(buyer))
    quality = rng.uniform(*QUALITY, size)
    prices = np.full(size, USUAL_PRICE)
    if setting.price_spread:
        prices[:honest] += rng.uniform(-1.0, 1.0, honest) * setting.price_spread
        prices[honest:] -= setting.price_spread
    return Town(honest, newcomers, size, bad, traits, quality, prices, vouches, is_here)


def _vouch(vouches: Floats, voucher: int, vouched: int) -> None:
    if voucher != vouched and vouches[voucher].sum() < VOUCHES_COUNTED_MAX:
        vouches[voucher, vouched] = 1.0
