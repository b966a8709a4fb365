"""Calls from one thread into another: many posts, one wake-up."""

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


class Pump:
    """A queue of calls that another thread carries out, in order.

    Waking a thread costs far more than a call does. So only the first post to an empty queue
    wakes it, and everything that is posted until it has woken up comes along.

    Args:
        wake: Makes the other thread call the function that it is given; may be called anywhere.

    """

    def __init__(self, wake: Callable[[Callable[[], None]], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._calls: deque[Callable[[], None]] = deque()
        self._is_waking = False

    def post(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Have the other thread call ``function`` soon, after what was posted before."""

        def call() -> None:
            function(*args)

        with self._lock:
            self._calls.append(call)
            if self._is_waking:
                return
            self._is_waking = True
        self._wake(self._drain)

    def poster(self, function: Callable[[*Ts], object]) -> Callable[[*Ts], None]:
        """Return a function that posts ``function`` with the arguments that it is given."""

        def post(*args: *Ts) -> None:
            self.post(function, *args)

        return post

    def _drain(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, deque()
            self._is_waking = False
        for call in calls:
            call()
