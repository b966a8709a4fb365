"""Many runs at once, in processes of this machine or on Ray.

Each run is one process's work from its setting alone, so where and in which order they run makes
no difference to the figures.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import astuple
from importlib import import_module
from itertools import groupby
from multiprocessing import get_context
from typing import Any, Final, Literal, TypeAlias

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.population import market as small
from bazaar_simulations.population.figures import FIGURES, Figures
from bazaar_simulations.population.intervals import Interval, interval
from bazaar_simulations.population.large import market as large
from bazaar_simulations.population.mixture import attacker_of
from bazaar_simulations.population.setting import Setting

Engine: TypeAlias = Literal["local", "ray"]
Row: TypeAlias = dict[str, Interval]
"""The figures of one setting over its seeds."""

SMALL_MOST: Final = 2_500
"""So many identities can have an opinion of everybody; with more it is the large population."""

_LOOK_EVERY_S: Final = 0.2
# One thread for each process: more would only wait for each other.
_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Stopped(Exception):
    """Somebody pressed Ctrl-C, or the like.

    Args:
        rows: The settings of which all runs were done.
        done: How many runs were done.
        whole: How many there would have been.

    """

    def __init__(self, rows: dict[Setting, Row], done: int, whole: int) -> None:
        super().__init__(f"stopped after {done} of {whole} runs")
        self.rows = rows
        self.done = done
        self.whole = whole


def sweep(
    settings: Sequence[Setting],
    seeds: Iterable[int],
    *,
    jobs: int = 1,
    engine: Engine = "local",
    on_progress: Callable[[float], None] = lambda done: None,
) -> dict[Setting, Row]:
    """Run every setting with every seed and return what each came to.

    Args:
        settings: What to run; the seeds in them do not matter.
        seeds: The seeds.
        jobs: How many processes.
        engine: ``ray`` takes whatever cluster Ray finds; ``jobs`` is not used then.
        on_progress: Told from time to time how many runs are done, the parts of runs included.

    Raises:
        ConfigError: A name is wrong, or Ray is not installed.
        Stopped: By Ctrl-C; it brings along what was done.

    """
    known = sorted(set(seeds))
    every = [setting.with_seed(seed) for setting in settings for seed in known]
    figures: list[tuple[Setting, Figures]] = []
    furthest = 0.0

    def get_on(done: float) -> None:
        nonlocal furthest
        furthest = max(furthest, done)
        on_progress(furthest)

    results = _on_ray(every) if engine == "ray" else _locally(every, jobs, get_on)
    try:
        with closing(results):
            for one in results:
                figures.append(one)
                get_on(len(figures))
    except KeyboardInterrupt:
        rows = _rows(every, figures, of_seeds=len(known))
        raise Stopped(rows, len(figures), len(every)) from None
    return _rows(every, figures, of_seeds=len(known))


def is_large(setting: Setting) -> bool:
    """Tell whether there are too many identities for everybody to have an opinion of everybody.

    Raises:
        ConfigError: No adversary has a name that the setting says.

    """
    bad = round(setting.principals * setting.share)
    malicious = len(attacker_of(setting).traits(bad).owner)
    return setting.principals - bad + malicious > SMALL_MOST


def _rows(
    every: Sequence[Setting], figures: Sequence[tuple[Setting, Figures]], *, of_seeds: int
) -> dict[Setting, Row]:
    """Return the rows of those settings of which every seed is done."""
    place = {setting: number for number, setting in enumerate(every)}
    ordered = sorted(figures, key=lambda one: place[one[0]])
    groups = {
        setting: [found for _, found in group]
        for setting, group in groupby(ordered, key=lambda one: one[0].with_seed(0))
    }
    return {setting: _row(runs) for setting, runs in groups.items() if len(runs) == of_seeds}


def _row(runs: Sequence[Figures]) -> Row:
    columns = zip(*(astuple(one) for one in runs), strict=True)
    return {name: interval(column) for name, column in zip(FIGURES, columns, strict=True)}


def _run(setting: Setting) -> tuple[Setting, Figures]:
    run = large.run if is_large(setting) else small.run
    return setting, run(setting, on_round=_Here.on_round)


class _Given:
    """What processes tell each other: how many rounds are done, and whether to stop."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.rounds = context.Value("q", 0)
        self.is_over = context.Event()


class _Here:
    """What this process was given, if it works for another."""

    given: _Given | None = None

    @classmethod
    def begin(cls, given: _Given) -> None:
        """Take note of it when the process begins."""
        cls.given = given

    @classmethod
    def on_round(cls) -> None:
        """Count a round, or stop."""
        if cls.given is None:
            return
        if cls.given.is_over.is_set():
            raise KeyboardInterrupt
        with cls.given.rounds.get_lock():
            cls.given.rounds.value += 1


def _locally(
    settings: Sequence[Setting], jobs: int, on_progress: Callable[[float], None]
) -> Generator[tuple[Setting, Figures]]:
    # Started anew, and not forked: a library may hold a lock in a thread of ours. Even one job gets
    # a process of its own, so that the same libraries add up in the same order.
    given = _Given()
    whole = sum(setting.rounds for setting in settings)
    with (
        _environment(_THREADS),
        ProcessPoolExecutor(
            jobs, get_context("spawn"), initializer=_Here.begin, initargs=(given,)
        ) as pool,
    ):
        with _deaf_to_interrupts():
            waiting = {pool.submit(_run, setting) for setting in settings}
        try:
            while waiting:
                done, waiting = wait(waiting, _LOOK_EVERY_S, FIRST_COMPLETED)
                yield from (one.result() for one in done)
                on_progress(given.rounds.value / max(whole, 1) * len(settings))
        finally:
            given.is_over.set()
            # What they were given is gone when we go on, so they have to have ended.
            pool.shutdown(cancel_futures=True)


def _on_ray(settings: Sequence[Setting]) -> Generator[tuple[Setting, Figures]]:
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ConfigError("Ray is not installed: pip install 'bazaar[ray]'") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": _THREADS})
    try:
        remote = ray.remote(_run)
        waiting = [remote.remote(setting) for setting in settings]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    finally:
        if is_ours:
            ray.shutdown()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: we tell them when it is over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
