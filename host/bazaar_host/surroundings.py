"""What a process stands on: the time, chance and the disk. A simulation brings its own."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bazaar_host.clock import SteadyClock
from bazaar_host.database import Database, OpenDatabase

_SEED_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a process gets from what it cannot compute. The defaults are the real ones."""

    clock: SteadyClock = field(default_factory=SteadyClock)
    entropy: Callable[[int], bytes] = os.urandom
    """Draws so many random bytes, for keys, salts and letters."""
    open_database: OpenDatabase = Database.open
    syncs_files: bool = True
    """Whether files are made to outlast a power cut. It takes time, and a simulation has none."""

    def rng(self) -> random.Random:
        """Return a source of numbers that spread what happens at once; nothing secret."""
        return random.Random(self.entropy(_SEED_BYTES))
