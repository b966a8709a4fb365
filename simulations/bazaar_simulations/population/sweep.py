"""Many runs at once, in processes of this machine or on Ray.

Each run is one process's work from its setting alone, so where and in which order they run makes
no difference to the figures.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple
from importlib import import_module
from itertools import groupby
from multiprocessing import get_context
from typing import Any, Final, Literal, TypeAlias

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.population.figures import FIGURES, Figures
from bazaar_simulations.population.intervals import Interval, interval
from bazaar_simulations.population.market import run
from bazaar_simulations.population.setting import Setting

Engine: TypeAlias = Literal["local", "ray"]
Row: TypeAlias = dict[str, Interval]
"""The figures of one setting over its seeds."""

# One thread for each process: more would only wait for each other.
_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def sweep(
    settings: Sequence[Setting],
    seeds: Iterable[int],
    *,
    jobs: int = 1,
    engine: Engine = "local",
    on_done: Callable[[], None] = lambda: None,
) -> dict[Setting, Row]:
    """Run every setting with every seed and return what each came to.

    Args:
        settings: What to run; the seeds in them do not matter.
        seeds: The seeds.
        jobs: How many processes.
        engine: ``ray`` takes whatever cluster Ray finds; ``jobs`` is not used then.
        on_done: Called after each run.

    Raises:
        ConfigError: A name is wrong, or Ray is not installed.

    """
    every = [setting.with_seed(seed) for setting in settings for seed in sorted(set(seeds))]
    results = _on_ray(every) if engine == "ray" else _locally(every, jobs)
    figures: list[tuple[Setting, Figures]] = []
    for one in results:
        figures.append(one)
        on_done()
    place = {setting: number for number, setting in enumerate(every)}
    figures.sort(key=lambda one: place[one[0]])
    return {
        setting: _row([figure for _, figure in group])
        for setting, group in groupby(figures, key=lambda one: one[0].with_seed(0))
    }


def _row(runs: Sequence[Figures]) -> Row:
    columns = zip(*(astuple(one) for one in runs), strict=True)
    return {name: interval(column) for name, column in zip(FIGURES, columns, strict=True)}


def _run(setting: Setting) -> tuple[Setting, Figures]:
    return setting, run(setting)


def _locally(settings: Sequence[Setting], jobs: int) -> Iterator[tuple[Setting, Figures]]:
    # Started anew, and not forked: a library may hold a lock in a thread of ours. Even one job gets
    # a process of its own, so that the same libraries add up in the same order.
    with _environment(_THREADS), ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(_run, settings)


def _on_ray(settings: Sequence[Setting]) -> Iterator[tuple[Setting, Figures]]:
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
