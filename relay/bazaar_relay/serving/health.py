"""Whether a relay serves, why not, and for how long it has been up."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

_FAILED_COUNTS_S: Final = 10.0


class Health:
    """How a relay is. The times are those of the event loop.

    Args:
        can_reach_store: Tells whether a store that is elsewhere can be reached.

    """

    def __init__(self, can_reach_store: Callable[[], bool]) -> None:
        self._can_reach_store = can_reach_store
        self.is_started = False
        self.is_stopping = False
        self._failed_s = -math.inf
        self._now_s = asyncio.get_running_loop().time
        self._began_s = self._now_s()

    @property
    def trouble(self) -> str:
        """Why nothing is taken at the moment, in words for anybody; empty if all is well.

        What could not be kept counts for a while: then others may come again and see.
        """
        if self.is_stopping:
            return "it is stopping"
        if not self.is_started:
            return "it is starting"
        if not self._can_reach_store():
            return "it cannot reach its store"
        if self._now_s() - self._failed_s < _FAILED_COUNTS_S:
            return "it cannot keep records"
        return ""

    @property
    def up_s(self) -> int:
        """For how long it has been up."""
        return int(self._now_s() - self._began_s)

    def kept(self, *, is_well: bool) -> None:
        """Take note of whether a commit was kept."""
        self._failed_s = -math.inf if is_well else self._now_s()
