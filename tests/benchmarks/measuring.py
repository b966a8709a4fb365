"""How figures are taken: rounds in which every case runs once, medians, and ratios within a round.

The machine is shared and its speed drifts. So the cases of one comparison take turns, a ratio is
made of two figures of the same round, and what is shown is the median over the rounds.
"""

import math
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import psutil

Case = Callable[[], Awaitable["Sample"]]
Samples = Sequence["Sample"]
Of = Literal["ratio", "figure", "cpu", "commits"]

_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Bench:
    """What every benchmark is told."""

    rounds: int
    is_quick: bool
    folder: Path
    """Where stores may be made; in memory if the machine has such a place."""

    def count(self, full: int, quick: int) -> int:
        """Return how much to do: enough to measure, or just enough to see that it works."""
        return quick if self.is_quick else full


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one case."""

    figure: float
    cpu_us: float = math.nan
    """CPU time of the process that is judged, per operation."""
    commits: float = math.nan
    """Transactions per operation; each costs one sync where the disk is real."""

    @classmethod
    def rate(
        cls, operations: float, wall_s: float, cpu_s: float = math.nan, commits: float = math.nan
    ) -> Self:
        """Return operations per second, and what each of them cost."""
        cpu_us = cpu_s / operations * _MICROSECONDS
        return cls(operations / wall_s, cpu_us, commits / operations)


class Stopwatch:
    """Wall time inside a block, and CPU time of ``processes``; of this one if there are none.

    With ``with_children`` also that of the processes that they have started: a relay has those
    that check signatures.
    """

    def __init__(self, *processes: psutil.Process, with_children: bool = False) -> None:
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self._processes = processes or (psutil.Process(),)
        self._with_children = with_children

    def __enter__(self) -> Self:
        self.cpu_s = -self._cpu()
        self.wall_s = -time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter()
        self.cpu_s += self._cpu()

    def _cpu(self) -> float:
        processes = list(self._processes)
        if self._with_children:
            for process in self._processes:
                processes += process.children(recursive=True)
        return sum(map(_cpu_of, processes))


@dataclass(frozen=True, slots=True)
class Goal:
    """What should be reached, and by which of a row's numbers."""

    of: Of
    bound: float
    is_least: bool

    def __str__(self) -> str:
        sign = ">=" if self.is_least else "<="
        unit = {"ratio": " x", "figure": "", "cpu": " us CPU", "commits": " commits"}[self.of]
        return f"{sign} {self.bound:g}{unit}"

    def is_met(self, value: float) -> bool:
        """Tell whether ``value`` is good enough."""
        return value >= self.bound if self.is_least else value <= self.bound


def at_least(bound: float, of: Of = "ratio") -> Goal:
    """Return a goal for something that should be large."""
    return Goal(of, bound, is_least=True)


def at_most(bound: float, of: Of = "ratio") -> Goal:
    """Return a goal for something that should be small."""
    return Goal(of, bound, is_least=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    unit: str
    figure: float
    low: float
    high: float
    rounds: int
    beside: str
    """What the figure stands beside: its limit or its control."""
    control: float
    ratio: float
    goal: str
    is_met: bool | None
    cpu_us: float
    commits: float
    note: str


@dataclass(frozen=True, slots=True)
class Beside:
    """The control of a row, with its samples; one for each sample of the row."""

    name: str
    samples: Samples


def row(
    name: str,
    unit: str,
    samples: Samples,
    *,
    beside: Beside | None = None,
    goal: Goal | None = None,
    note: str = "",
) -> Row:
    """Return the medians of ``samples`` beside those of their control."""
    figures = [sample.figure for sample in samples]
    numbers: dict[Of, float] = {
        "figure": statistics.median(figures),
        "ratio": math.nan,
        "cpu": statistics.median(sample.cpu_us for sample in samples),
        "commits": statistics.median(sample.commits for sample in samples),
    }
    control = math.nan
    if beside is not None:
        pairs = list(zip(samples, beside.samples, strict=True))
        numbers["ratio"] = statistics.median(one.figure / other.figure for one, other in pairs)
        control = statistics.median(sample.figure for sample in beside.samples)
    return Row(
        name=name,
        unit=unit,
        figure=numbers["figure"],
        low=min(figures),
        high=max(figures),
        rounds=len(figures),
        beside="" if beside is None else beside.name,
        control=control,
        ratio=numbers["ratio"],
        goal="" if goal is None else str(goal),
        is_met=None if goal is None else goal.is_met(numbers[goal.of]),
        cpu_us=numbers["cpu"],
        commits=numbers["commits"],
        note=note,
    )


def cpu_of(samples: Samples) -> list[Sample]:
    """Return the CPU time of samples as figures of its own."""
    return [Sample(sample.cpu_us) for sample in samples]


async def interleave(rounds: int, cases: Mapping[str, Case]) -> dict[str, list[Sample]]:
    """Run every case once in each round, each round beginning with another one."""
    samples: dict[str, list[Sample]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            samples[name].append(await cases[name]())
    return samples


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _cpu_of(process: psutil.Process) -> float:
    if process.pid == os.getpid():
        return time.process_time()  # finer than what the system tells of others
    try:
        return sum(map(_on_cpu_s, Path(f"/proc/{process.pid}/task").iterdir()))
    except OSError:  # not Linux, or the process has ended meanwhile
        return _times_of(process)


def _on_cpu_s(thread: Path) -> float:
    return int((thread / "schedstat").read_text().split()[0]) / 1e9


def _times_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
