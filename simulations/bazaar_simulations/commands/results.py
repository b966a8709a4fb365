"""What becomes of figures: a table, JSON, pictures, a report; also of those of a stopped sweep."""

import json as json_format
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bazaar_node.outcomes import INTERRUPTED, OK
from bazaar_protocol.errors import ConfigError
from bazaar_simulations.commands.progress import progress
from bazaar_simulations.population.plots import Rows, draw
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.sweep import Engine, Stopped, sweep
from bazaar_simulations.population.tables import as_json
from bazaar_simulations.report.population import Origin, report


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Outputs:
    """Where figures go."""

    plots: Annotated[Path | None, Parameter(help="Folder for pictures, PNG and SVG.")] = None
    report: Annotated[Path | None, Parameter(help="HTML file for all of it.")] = None
    out: Annotated[Path | None, Parameter(help="File for all figures, as JSON.")] = None
    json: Annotated[bool, Parameter(help="Write JSON instead of tables.", negative="")] = False

    def check(self) -> None:
        """Look before anything runs whether it can be written.

        Raises:
            ConfigError: A folder is missing, or a file is where a folder has to be.

        """
        for option, path in (("--out", self.out), ("--report", self.report)):
            if path is not None and not path.absolute().parent.is_dir():
                raise ConfigError(f"{option} {path}: there is no folder {path.absolute().parent}")
            if path is not None and path.is_dir():
                raise ConfigError(f"{option} {path}: this is a folder, and has to be a file")
        if self.plots is not None and self.plots.exists() and not self.plots.is_dir():
            raise ConfigError(f"--plots {self.plots}: this is a file, and has to be a folder")


@dataclass(frozen=True, slots=True)
class Study:
    """Runs that belong together."""

    title: str
    settings: Sequence[Setting]
    seeds: Sequence[int]
    command: str
    """What somebody else would type to get the same."""
    jobs: int = 1
    engine: Engine = "local"


def carry_out(study: Study, outputs: Outputs, show: Callable[[Rows], None]) -> int:
    """Run it, put the figures where they belong, and return the exit status.

    Args:
        study: What to run.
        outputs: Where figures go.
        show: Prints them for people.

    Raises:
        ConfigError: Something cannot be run, or not be written.

    """
    outputs.check()
    seeds = list(study.seeds)
    stopped = ""
    try:
        with progress(len(study.settings) * len(seeds)) as on_progress:
            rows: Rows = sweep(
                study.settings, seeds, jobs=study.jobs, engine=study.engine,
                on_progress=on_progress,
            )  # fmt: skip
    except Stopped as stop:
        rows, stopped = stop.rows, f"{stop}; {_kept(stop)}"
        print(stopped, file=sys.stderr)
    whole = as_json(rows, seeds) | ({"stopped": stopped} if stopped else {})
    if outputs.json:
        print(json_format.dumps(whole))
    elif rows:
        show(rows)
    if rows or not stopped:
        _write(study, outputs, rows, whole=json_format.dumps(whole, indent=1), stopped=stopped)
    return INTERRUPTED if stopped else OK


def command_of(name: str, options: Sequence[tuple[str, object]], *words: str) -> str:
    """Return what to type: a command of ``bazaar simulate`` with those options that are set."""
    typed = ["bazaar", "simulate", name, *words]
    for option, value in options:
        if value is True:
            typed.append(option)
        elif isinstance(value, tuple):
            typed += [part for one in value for part in (option, str(one))]
        elif value is not None and value is not False:
            typed += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(typed)


def origin_of(command: str, seeds: Sequence[int]) -> Origin:
    """Return where figures come from that this process has just made."""
    now = datetime.fromtimestamp(time.time()).astimezone()
    when = now.isoformat(" ", "minutes")
    return Origin(command, when, metadata.version("bazaar"), seeds)


def write_text(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        ConfigError: It cannot be written.

    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _write(study: Study, outputs: Outputs, rows: Rows, *, whole: str, stopped: str) -> None:
    if outputs.out is not None:
        write_text(outputs.out, whole + "\n")
    if outputs.plots is not None:
        draw(rows, outputs.plots)
    if outputs.report is not None:
        origin = origin_of(study.command, study.seeds)
        write_text(outputs.report, report(study.title, origin, rows, left_out=stopped))
        print(f"the report is in {outputs.report}", file=sys.stderr)


def _kept(stop: Stopped) -> str:
    if not stop.rows:
        return "no row is whole yet, so there is nothing to show"
    return f"what follows is of {len(stop.rows)} row{'s' * (len(stop.rows) != 1)} that are whole"
