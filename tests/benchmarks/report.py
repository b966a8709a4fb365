"""The table on the terminal, and the file for programs."""

import math
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from tests.benchmarks.measuring import Row

_WIDTH = 190
_MANY = 1000


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has measured, and where."""

    when: str
    python: str
    machine: str
    cores: int
    store: str
    rounds: int
    is_quick: bool
    load_before: tuple[float, float, float]
    load_after: tuple[float, float, float]
    rows: list[Row]


def begin(*, store: str, rounds: int, is_quick: bool) -> Report:
    """Return a report with nothing in it yet."""
    return Report(
        when=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 0,
        store=store,
        rounds=rounds,
        is_quick=is_quick,
        load_before=os.getloadavg(),
        load_after=os.getloadavg(),
        rows=[],
    )


def write(report: Report, path: Path) -> None:
    """Write the report as JSON; a number that was not measured is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = msgspec.structs.replace(report, load_after=os.getloadavg())
    path.write_bytes(msgspec.json.format(msgspec.json.encode(done), indent=1))


def show(rows: Sequence[Row], title: str) -> None:
    """Print rows as a table."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("what", overflow="fold", max_width=58)
    for heading in ("figure", "low - high"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("beside", overflow="fold", max_width=34)
    for heading in ("control", "ratio", "goal", "met", "CPU us/op", "commits/op"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        met = {None: "", True: "yes", False: "no"}[row.is_met]
        table.add_row(
            row.name, f"{_number(row.figure)} {row.unit}",
            f"{_number(row.low)} - {_number(row.high)}",
            row.beside, _number(row.control), _number(row.ratio), row.goal, met,
            _number(row.cpu_us), _number(row.commits),
        )  # fmt: skip
    console = Console(width=_WIDTH, highlight=False)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"  {row.name}: {row.note}", soft_wrap=True)
    console.print()


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    if abs(value) >= _MANY:
        return f"{value:,.0f}"
    return f"{value:.3g}"
