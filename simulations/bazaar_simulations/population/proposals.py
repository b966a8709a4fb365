"""Changes to the product that were tried here and are not in it, as far as they concern awards."""

from typing import TYPE_CHECKING, Final

import numpy as np

from bazaar_simulations.adversaries.adversary import Bools, Ints
from bazaar_simulations.population.rules import USUAL_VALUE

if TYPE_CHECKING:
    from bazaar_simulations.population.awarding import Tasks

_KNOWS_ENOUGH: Final = 10
_NEW: Final = 10
"""With so many receipts a poster is not new."""


def seasoned_from(tried: frozenset[str], usual: int) -> int:
    """Return with how many receipts a poster turns strangers down."""
    return 3 if "seasoned by three" in tried else usual


def turned_down(
    tried: frozenset[str], tasks: "Tasks", rows: Ints, rng: np.random.Generator
) -> Bools:
    """Tell which posters turn down strangers for whom nobody answers, though they are new."""
    none = np.zeros(len(rows), bool)
    is_new = tasks.receipts[rows] < _NEW
    if "known from the start" in tried:
        none |= tasks.view.is_known[rows].sum(axis=1) >= _KNOWS_ENOUGH
    if "one in two" in tried:
        none |= is_new & (rng.random(len(rows)) < 0.5)
    if "small ones first" in tried:
        none |= is_new & (tasks.values[rows] > USUAL_VALUE)
    if "vouched only" in tried:
        none |= is_new
    return none
