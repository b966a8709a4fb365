"""How much work a relay asks of strangers: more while they are most of its load, then less again.

What was announced is kept to: a stamp that was begun when less was asked is good for a while after
the target has gone up. What a stamp aims at cannot be chosen afterwards, since it names the relay,
the agent and the day; and each bit that it has more is as much luck as work, whatever it aimed at.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from bazaar_protocol import limits

WINDOW_MS: Final = 10 * limits.SECOND_MS
HONOURED_MS: Final = 10 * limits.MINUTE_MS
"""How long what was announced last is still enough."""
_CALM_WINDOWS: Final = 6  # for each bit less
_STEEP_TENTHS: Final = 9  # strangers' tenths of the load, from which on a bit is not enough


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """What the operator decides about proofs of work."""

    bits: int = 0
    """The least that is asked of an identity that is not known here; 0 for nothing, ever."""
    bits_max: int = 24
    """The most, however large the load."""
    days: int = 7
    """For how many days a stamp is good."""
    free_per_minute: int = 1
    """What each stranger may write without any."""
    free_per_s: int = 10
    """What all strangers together may write without any, and how much is no load."""


class Difficulty:
    """The target, and the writes of the last moments by which it is set."""

    def __init__(self, policy: WorkPolicy) -> None:
        self._policy = policy
        self._target = policy.bits
        self._window_ms = 0
        """When the window began that is being counted."""
        self._strangers = 0
        self._others = 0
        self._calm = 0
        self._announced: deque[tuple[int, int]] = deque(maxlen=64)
        """Earlier targets, which were less, each with the moment until which it is enough."""

    def set_policy(self, policy: WorkPolicy) -> None:
        """Go on under another policy; the target stays if that allows it."""
        self._policy = policy
        self._target = min(max(self._target, policy.bits), self._most) if policy.bits else 0

    def count(self, *, strangers: int = 0, others: int = 0, now_ms: int) -> None:
        """Count what wanted to be written by those who are not known, and by the others."""
        self._roll(now_ms)
        self._strangers += strangers
        self._others += others

    def target(self, now_ms: int) -> int:
        """Return how many bits are asked for now."""
        self._roll(now_ms)
        return self._target

    def is_enough(self, bits: int, now_ms: int) -> bool:
        """Tell whether a stamp that arrives now has as much work as was asked for lately."""
        asked = [bits_then for bits_then, until_ms in self._announced if until_ms > now_ms]
        return bits >= min([self.target(now_ms), *asked])

    @property
    def _most(self) -> int:
        return max(self._policy.bits, self._policy.bits_max)

    def _roll(self, now_ms: int) -> None:
        """Close the windows that are over, of which all but the first were idle."""
        passed = (now_ms - self._window_ms) // WINDOW_MS
        if passed <= 0 and now_ms >= self._window_ms - WINDOW_MS:
            return
        self._window_ms = now_ms
        if not self._policy.bits:
            return
        self._close(now_ms)
        self._strangers = self._others = 0
        # After so many idle windows it is as low as it gets.
        for _ in range(min(passed - 1, _CALM_WINDOWS * self._target)):
            self._close(now_ms)

    def _close(self, now_ms: int) -> None:
        is_load = self._strangers > self._policy.free_per_s * WINDOW_MS // limits.SECOND_MS
        total = self._strangers + self._others
        if is_load and 2 * self._strangers > total:
            self._calm = 0
            step = 2 if 10 * self._strangers >= _STEEP_TENTHS * total else 1
            self._rise(min(self._most, self._target + step), now_ms)
        elif not is_load:
            self._calm += 1
            if self._calm == _CALM_WINDOWS:
                self._calm = 0
                self._target = max(self._policy.bits, self._target - 1)
        # A load that is mostly of those who are known says nothing about strangers.

    def _rise(self, target: int, now_ms: int) -> None:
        if target > self._target:
            self._announced.append((self._target, now_ms + HONOURED_MS))
            self._target = target
