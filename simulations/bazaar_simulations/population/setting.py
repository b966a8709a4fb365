"""What one run of the population is about."""

from dataclasses import dataclass, field, replace
from typing import Final

USUAL_PRICE: Final = 0.6
"""Of a job, as a part of what it is worth to its poster."""
NOTHING_OFF: Final[frozenset[str]] = frozenset()
PARTS: Final = (
    "walk",
    "credibility",
    "saturation",
    "priors",
    "lower bound",
    "double blame",
    "receipts",
    "vouches",
    "probes",
    "declining",
    "invitations",
    "credit",
)
"""What can be taken out of our defence, one at a time, to see what it is good for."""
PROPOSALS: Final = {
    "rounds of posting": "opinions fade by what their rater has posted, not by its whole log",
    "known from the start": "turn down strangers from the first task on, where ten are known",
    "seasoned by three": "turn down strangers from three receipts on, not from ten",
    "strangers last": "take strangers before ten receipts too only after the extensions",
    "vouched first": "of bidders that score alike, take one that is vouched for",
    "kinder priors": "expect no less than half of whom one good job at least is known",
    "named": "expect of those whom the owner named nine good jobs in ten",
    "one in two": "before ten receipts, give strangers one task in two",
    "small ones first": "before ten receipts, give strangers small tasks only",
    "vouched only": "before ten receipts, give nothing to strangers for whom nobody answers",
}
"""Changes to the product that were tried here: none of them is in it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One run: the same setting gives the same figures, digit for digit."""

    attack: str = "independent"
    defence: str = "ours"
    share: float = 0.4
    """Of the principals, how many are malicious."""
    seed: int = 0
    off: frozenset[str] = field(default=NOTHING_OFF)
    """Parts of the defence that are switched off."""
    tried: frozenset[str] = field(default=NOTHING_OFF)
    """Changes to the product that are tried, by ``PROPOSALS``."""
    principals: int = 100
    rounds: int = 100
    bidders: int = 15
    """How many agents hear of a task."""
    capacity: int = 3
    """How many jobs an agent does in a round."""
    newcomers: float = 0.15
    """Of the honest, how many join at half time."""
    vouched: float = 0.5
    """Of the honest, for how many another honest agent vouches."""
    fooled: float = 0.05
    """Of the malicious, for how many an honest agent vouches by mistake."""
    price_spread: float = 0.0
    """How far prices differ from the usual one, of a task's value; the malicious ask the least."""
    mix: tuple[tuple[str, float], ...] = ()
    """If any, the adversaries that attack together, each with its share (``mixture.mixed``);
    ``attack`` is only what it is called then."""

    def with_seed(self, seed: int) -> "Setting":
        """Return the same with another seed."""
        return replace(self, seed=seed)
