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
