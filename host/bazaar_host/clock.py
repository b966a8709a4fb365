"""The two clocks of a process: where the ``now`` comes from that machines take as an argument."""

import time
from typing import Final

_NS_PER_MS: Final = 1_000_000


def now_ms() -> int:
    """Return the wall clock: what records say and deadlines mean. It may jump."""
    return time.time_ns() // _NS_PER_MS


def monotonic_ms() -> int:
    """Return a clock that never goes back, for measuring how long something took here."""
    return time.monotonic_ns() // _NS_PER_MS


class SteadyClock:
    """Unix time that neither jumps nor stands still while the machine sleeps: for leases.

    It reads the wall clock once. From then on it counts what has really passed, suspension
    included where the system can tell (``CLOCK_BOOTTIME``).
    """

    def __init__(self) -> None:
        self._clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        self._offset_ns = time.time_ns() - time.clock_gettime_ns(self._clock)

    def now_ms(self) -> int:
        """Return the time in milliseconds of Unix time."""
        return (time.clock_gettime_ns(self._clock) + self._offset_ns) // _NS_PER_MS
