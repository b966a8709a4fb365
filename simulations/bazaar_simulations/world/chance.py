"""Everything that is random in a world, from one seed."""

import random
from hashlib import sha256
from typing import Final

from bazaar_protocol.identity import Keypair

_SEED_BYTES: Final = 32


class Chance:
    """A source of random things with a name; others grow from it, each under its own name.

    What is drawn under one name depends on no other name, so that a change in one place of a
    world leaves the draws in all other places as they were.
    """

    def __init__(self, seed: int, name: str = "") -> None:
        self._seed = seed
        self._name = name
        self.rng = random.Random(self._digest())

    def under(self, name: str) -> "Chance":
        """Return the source called ``name`` below this one."""
        return Chance(self._seed, f"{self._name}/{name}")

    def entropy(self, size: int) -> bytes:
        """Draw so many bytes."""
        return self.rng.randbytes(size)

    def keys(self) -> Keypair:
        """Return the keys that belong to this name, the same each time."""
        return Keypair(self._digest())

    def happens(self, probability: float) -> bool:
        """Tell whether something of this probability happens now."""
        return probability > 0 and self.rng.random() < probability

    def wait_s(self, mean_s: float) -> float:
        """Draw how long it takes until something happens that comes every ``mean_s`` seconds."""
        return self.rng.expovariate(1 / mean_s)

    def _digest(self) -> bytes:
        return sha256(f"bazaar/world/{self._seed}{self._name}".encode()).digest()[:_SEED_BYTES]
