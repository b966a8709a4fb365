"""Allowances that fill up with time, one for each identity or address."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from bazaar_protocol import limits
from bazaar_relay.machine.bounded import Bounded

K = TypeVar("K", bound=Hashable)


class Rate(msgspec.Struct, frozen=True, gc=False):
    """So much in so much time; as much as ``saved`` such periods give may be saved up."""

    amount: int
    period_ms: int = limits.SECOND_MS
    saved: int = 1

    @property
    def full(self) -> int:
        """What a bucket holds at most, in parts: one of the amount has ``period_ms`` of them."""
        return self.amount * self.period_ms * self.saved

    def scaled(self, percent: int) -> "Rate":
        """Return so much of it, and never nothing."""
        return Rate(max(1, self.amount * percent // 100), self.period_ms, self.saved)


@dataclass(slots=True)
class _Bucket:
    parts: int
    """Below zero for who has taken more than was left."""
    filled_ms: int


class Buckets(Generic[K]):
    """One bucket for each key that was not idle for longest; a new one is full."""

    def __init__(self, size_max: int = limits.AGENTS_COUNTED_MAX) -> None:
        self._buckets: Bounded[K, _Bucket] = Bounded(size_max)

    def left(self, key: K, rate: Rate, now_ms: int) -> int:
        """Return how many of its amount are left to ``key``; with less than a whole one, none."""
        return max(0, self._filled(key, rate, now_ms).parts) // rate.period_ms

    def has_left(self, key: K, rate: Rate, now_ms: int) -> bool:
        """Tell whether anything is left to ``key``.

        Whoever has anything left may take more than that, and waits the longer: otherwise a
        request above the whole allowance could never be met.
        """
        return self._filled(key, rate, now_ms).parts > 0

    def spend(self, key: K, rate: Rate, amount: int, now_ms: int) -> None:
        """Take ``amount`` out of the bucket of ``key``."""
        self._filled(key, rate, now_ms).parts -= amount * rate.period_ms

    def _filled(self, key: K, rate: Rate, now_ms: int) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(rate.full, now_ms)
            self._buckets.put(key, bucket)
        elapsed_ms = max(0, now_ms - bucket.filled_ms)
        bucket.parts = min(rate.full, bucket.parts + elapsed_ms * rate.amount)
        bucket.filled_ms = now_ms
        return bucket
