"""Who there is in a large town: as in a small one, with vouches as lists."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bazaar_protocol.limits import VOUCHES_COUNTED_MAX
from bazaar_simulations.adversaries.adversary import Adversary, Bools, Floats, Ints, Traits
from bazaar_simulations.population.large.opinions import EMPTY, Small
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.town import QUALITY

_VOUCHERS_MAX: Final = 4
"""Of so many vouchers of one agent anything is kept; few have more than one."""


class Vouches:
    """Who answers for whom.

    Args:
        size: How many identities there are.
        vouchers: Who vouches, in the order in which they do.
        vouched: For whom.

    """

    def __init__(self, size: int, vouchers: Ints, vouched: Ints) -> None:
        self.of = np.full((size, _VOUCHERS_MAX), EMPTY, np.int32)
        """By vouched: its vouchers."""
        self.by = np.full((size, VOUCHES_COUNTED_MAX), EMPTY, np.int32)
        """By voucher: the vouched."""
        keep = vouchers != vouched
        vouchers, vouched = vouchers[keep], vouched[keep]
        place = _rank(vouchers)
        counts = place < VOUCHES_COUNTED_MAX
        vouchers, vouched, place = vouchers[counts], vouched[counts], place[counts]
        self.by[vouchers, place] = vouched
        place = _rank(vouched)
        counts = place < _VOUCHERS_MAX
        self.of[vouched[counts], place[counts]] = vouchers[counts]

    def forget(self, is_forgotten: Bools) -> None:
        """Take back every vouch for those for whom it is true: they have new names now."""
        self.of[is_forgotten] = EMPTY
        self.by[is_forgotten[self.by] & (self.by != EMPTY)] = EMPTY

    def givers(self) -> list[Small]:
        """Return the vouchers of everybody, the first of each, then the second if any has one."""
        return [column for column in self.of.T if (column != EMPTY).any()]


@dataclass(slots=True)
class LargeTown:
    """Identities by number: the honest first, newcomers the last of them, then the malicious."""

    honest: int
    newcomers: int
    size: int
    malicious_principals: int
    traits: Traits
    """Of the malicious."""
    quality: Floats
    """How often an agent succeeds when it tries."""
    vouches: Vouches
    are_newcomers_here: bool = False

    @property
    def egos(self) -> Ints:
        """Return the honest who are here: they post."""
        return np.arange(self.honest - (0 if self.are_newcomers_here else self.newcomers))

    @property
    def here(self) -> Ints:
        """Return all who are here."""
        if self.are_newcomers_here:
            return np.arange(self.size)
        return np.concatenate((self.egos, np.arange(self.honest, self.size)))


def settle(setting: Setting, adversary: Adversary, rng: np.random.Generator) -> LargeTown:
    """Return the town in which a run takes place."""
    bad = round(setting.principals * setting.share)
    honest = setting.principals - bad
    traits = adversary.traits(bad)
    size = honest + len(traits.owner)
    newcomers = max(1, round(honest * setting.newcomers))
    asked = np.flatnonzero(rng.random(honest) < setting.vouched)
    first_names = np.unique(traits.owner, return_index=True)[1]
    fooled = honest + first_names[rng.random(len(first_names)) < setting.fooled]
    sellers, buyers = adversary.sells_vouches(bad)
    by_will = rng.integers(0, honest - newcomers, len(asked) + len(fooled))
    vouches = Vouches(
        size,
        np.concatenate((by_will, honest + sellers)),
        np.concatenate((asked, fooled, honest + buyers)),
    )
    quality = rng.uniform(*QUALITY, size)
    return LargeTown(honest, newcomers, size, bad, traits, quality, vouches)


def _rank(ones: Ints) -> Ints:
    """Return how many of the same stand before each."""
    order = np.argsort(ones, kind="stable")
    ordered = ones[order]
    is_first = np.ones(len(ones), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(starts, len(ones)))
    ranks = np.empty(len(ones), np.int64)
    ranks[order] = np.arange(len(ones)) - np.repeat(starts, sizes)
    return ranks
