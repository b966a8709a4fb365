"""A bar with the time left, on a terminal only."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress(runs: int) -> Generator[Callable[[float], None]]:
    """Show how far it has got; yields what to tell how many runs are done, parts included."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as shown:  # fmt: skip
        bar = shown.add_task(f"{runs} run{'s' * (runs != 1)}", total=runs)
        yield lambda done: shown.update(bar, completed=done)
