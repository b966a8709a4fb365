"""The least that signed trades cost: their signatures, made and checked by the library alone."""

from typing import Final

from nacl import bindings as sodium
from tests.benchmarks.measuring import Case, Sample, Stopwatch

MESSAGE: Final = bytes(240)
"""About as long as the records of a trade."""


def signatures(signed: int, verified: int, cycles: int) -> Case:
    """Return a case in which each cycle makes and checks so many signatures, one at a time."""
    public, secret = sodium.crypto_sign_seed_keypair(bytes(32))

    async def sign() -> Sample:
        message = sodium.crypto_sign(MESSAGE, secret)
        with Stopwatch() as watch:
            for _ in range(cycles):
                for _ in range(signed):
                    message = sodium.crypto_sign(MESSAGE, secret)
                for _ in range(verified):
                    sodium.crypto_sign_open(message, public)
        return Sample.rate(cycles, watch.wall_s, watch.cpu_s)

    return sign
