"""What is due when: one deadline for each key, in a heap that stays as small as its keys."""

import heapq
from dataclasses import dataclass
from typing import Literal

from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId


@dataclass(frozen=True, slots=True)
class Timer:
    """What a deadline is about: whose advert expires, or which post wakes or task times out.

    ``intake`` is when the relay signs its next receipt, ``silence`` when it is a witness to one,
    ``link`` when a relayed link ends or goes on.
    """

    what: Literal["advert", "post", "wake", "task", "intake", "silence", "link"]
    about: AgentId | RecordId


class Timers:
    """Deadlines. Setting one again moves it."""

    def __init__(self) -> None:
        self._due_ms: dict[Timer, int] = {}
        self._queued_ms: dict[Timer, int] = {}
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0

    def set(self, timer: Timer, due_ms: int) -> None:
        """Make ``timer`` fire at ``due_ms``, and at no other time."""
        self._due_ms[timer] = due_ms
        # A deadline that moves to later, as those of leases and adverts do, needs no new entry:
        # the old one is looked at when it comes up, and put back.
        queued_ms = self._queued_ms.get(timer)
        if queued_ms is None or due_ms < queued_ms:
            self._push(timer, due_ms)

    def has(self, timer: Timer) -> bool:
        """Tell whether ``timer`` is to fire."""
        return timer in self._due_ms

    def cancel(self, timer: Timer) -> None:
        """Make ``timer`` never fire."""
        self._due_ms.pop(timer, None)

    def wake_ms(self) -> int | None:
        """Return when to look next; there may be nothing to do by then."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_ms: int) -> list[Timer]:
        """Take what is due by ``now_ms``, in order."""
        fired: list[Timer] = []
        while self._heap and self._heap[0][0] <= now_ms:
            queued_ms, _, timer = heapq.heappop(self._heap)
            if self._queued_ms.get(timer) != queued_ms:
                continue  # moved to an earlier time, which has passed
            del self._queued_ms[timer]
            due_ms = self._due_ms.get(timer)
            if due_ms is None:
                continue
            if due_ms > now_ms:
                self._push(timer, due_ms)
                continue
            del self._due_ms[timer]
            fired.append(timer)
        return fired

    def _push(self, timer: Timer, due_ms: int) -> None:
        self._count += 1  # among equal times the first one set fires first
        self._queued_ms[timer] = due_ms
        heapq.heappush(self._heap, (due_ms, self._count, timer))
