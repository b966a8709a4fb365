"""An event loop in which no time passes but the time that somebody waits for.

When nothing is ready, the clock jumps to the next timer. There are no threads, no sockets and no
wall clock, and everything happens in an order that depends on nothing but the program.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from itertools import count
from math import ceil
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_TICKS_PER_S: Final = 2**20
"""All times are whole ticks, so that sums and differences of them are exact."""
_STEPS_WITHOUT_TIME_MAX: Final = 1_000_000


class StuckError(Exception):
    """The program waits for something that never comes, or runs on without waiting."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop under virtual time, which begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        """How often the loop looked for what is ready."""
        self.on_stuck: Callable[[str], None] | None = None
        """Called once when nothing can go on, to end in good order; the next time is an error."""
        self._now_s = 0.0
        self._steps_at_now = 0
        self._numbers = count()
        self._selector = _Selector(self._advance)
        self._clock_resolution = 0.5 / _TICKS_PER_S
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now_s

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call ``callback`` at the first tick that is not before ``when``."""
        tick_s = ceil(when * _TICKS_PER_S) / _TICKS_PER_S
        return super().call_at(tick_s, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # the work is done when it returns
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Call ``func`` here and now, in place of a thread."""
        del executor
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 (whoever waits for the future gets it)
            future.set_exception(error)
        return future

    def _advance(self, timeout_s: float | None) -> None:
        self.steps += 1
        if timeout_s is None:
            self._give_up("everybody waits, and nothing is going to happen")
            return
        if timeout_s > 0:
            self._now_s += timeout_s
            self._steps_at_now = 0
            return
        self._steps_at_now += 1
        if self._steps_at_now > _STEPS_WITHOUT_TIME_MAX:
            self._give_up("something goes on for ever without waiting")

    def _give_up(self, reason: str) -> None:
        on_stuck, self.on_stuck = self.on_stuck, None
        if on_stuck is None:
            raise StuckError(reason)
        self._steps_at_now = 0
        on_stuck(reason)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **options: Any,
    ) -> "asyncio.Task[T]":
        return _Task(next(self._numbers), coro, loop=loop, **options)

    # What the base class asks of a loop that has sockets and threads.

    def _process_events(self, events: list[object]) -> None:
        """Do nothing: there are none."""

    def _write_to_self(self) -> None:
        """Do nothing: nobody calls from another thread."""


class _Selector:
    """Stands where other loops ask the operating system."""

    def __init__(self, advance: Callable[[float | None], None]) -> None:
        self._advance = advance

    def select(self, timeout: float | None) -> list[object]:
        """Let so much time pass; no socket is ever ready."""
        self._advance(timeout)
        return []


class _Task(asyncio.Task[T]):
    """A task whose place in a set does not depend on where it is in memory."""

    def __init__(self, number: int, *args: Any, **options: Any) -> None:
        self._number = number
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run ``main`` to its end, and cancel what it leaves behind.

    Raises:
        StuckError: It cannot end.

    """
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
