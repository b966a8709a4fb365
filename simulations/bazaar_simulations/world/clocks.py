"""The clocks of the processes of a world: each shows virtual time, more or less."""

from collections.abc import Callable
from typing import Final

from bazaar_host.clock import SteadyClock

START_MS: Final = 1_800_000_000_000
"""Unix time at which every world begins."""
_MS_PER_S: Final = 1_000


class SkewedClock(SteadyClock):
    """A clock that is wrong by a constant, and runs too fast or too slow.

    Args:
        true_s: Returns virtual time.
        offset_ms: How wrong it is at the beginning.
        drift: By how much it is too fast, as a ratio: 0.0001 is 100 parts in a million.

    """

    def __init__(self, true_s: Callable[[], float], offset_ms: int = 0, drift: float = 0.0) -> None:
        self._true_s = true_s
        self._offset_ms = START_MS + offset_ms
        self._rate = _MS_PER_S * (1 + drift)

    def now_ms(self) -> int:
        """Return the time in milliseconds of Unix time."""
        return self._offset_ms + int(self._true_s() * self._rate)
