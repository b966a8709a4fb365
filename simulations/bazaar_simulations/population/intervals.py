"""Means over seeds, and how far to trust them: 95 % confidence intervals after Student."""

from collections.abc import Iterable
from statistics import fmean, stdev
from typing import Final, NamedTuple

# Of n values, for n - 1 degrees of freedom: the two-sided 95 % quantiles of Student's t.
_QUANTILES: Final = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_NORMAL: Final = 1.960


class Interval(NamedTuple):
    """A mean, and how far the true one may be from it."""

    mean: float
    half: float | None
    """Half the width of the interval; None when there is one value only, which says nothing."""

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.half is None else f"{self.mean:.3f} ± {self.half:.3f}"


def interval(values: Iterable[float]) -> Interval:
    """Return the mean of ``values``, of which there is at least one, and its interval."""
    known = list(values)
    if len(known) == 1:
        return Interval(known[0], None)
    free = len(known) - 1
    quantile = _QUANTILES[free - 1] if free <= len(_QUANTILES) else _NORMAL
    return Interval(fmean(known), quantile * stdev(known) / len(known) ** 0.5)
