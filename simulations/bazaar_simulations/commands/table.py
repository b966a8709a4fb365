"""``bazaar simulate table``: every attack against every defence."""

import json as json_format
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.adversaries.registry import ADVERSARIES
from bazaar_simulations.commands.progress import progress
from bazaar_simulations.population.defences import DEFENCES
from bazaar_simulations.population.figures import FIGURES
from bazaar_simulations.population.plots import draw
from bazaar_simulations.population.setting import PROPOSALS, Setting
from bazaar_simulations.population.sweep import Row, sweep
from bazaar_simulations.population.tables import (
    ATTACKS,
    ablations,
    amplification,
    as_json,
    attack_of,
    column_of,
    goals,
    settings,
)

_AMPLIFICATION_MOST = 2.5
_WIDTH = 132
"""Of what is written into a file, so that no number is broken."""


def table(
    *,
    attacks: Annotated[tuple[str, ...], Parameter(help="Some adversaries only.")] = (),
    defences: Annotated[tuple[str, ...], Parameter(help="Some defences only.")] = (),
    shares: Annotated[tuple[float, ...], Parameter(help="Malicious shares.")] = (0.4,),
    figure: Annotated[tuple[str, ...], Parameter(help="Which figures to show.")] = ("bad",),
    seeds: Annotated[int, Parameter(help="How many seeds, from 0.")] = 5,
    jobs: Annotated[int, Parameter(help="How many processes.")] = 1,
    engine: Annotated[Literal["local", "ray"], Parameter(help="Where to run.")] = "local",
    tried: Annotated[tuple[str, ...], Parameter(help="Changes to ours to try.")] = (),
    parts: Annotated[bool, Parameter(help="Ours without each of its parts instead.")] = False,
    plots: Annotated[Path | None, Parameter(help="Folder for pictures, PNG and SVG.")] = None,
    out: Annotated[Path | None, Parameter(help="File for all figures, as JSON.")] = None,
    json: Annotated[bool, Parameter(help="Write JSON instead of tables.")] = False,
) -> int:
    """Run every attack against every defence, and compare ours with what was aimed for."""
    for names, known in (
        (attacks, ADVERSARIES), (defences, DEFENCES), (figure, FIGURES), (tried, PROPOSALS),
    ):  # fmt: skip
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"there is no {unknown[0]!r}; there are {', '.join(known)}")
    if seeds < 1 or not all(0.0 < share <= 0.9 for share in shares):
        raise ConfigError("--seeds is at least 1, and --shares are above 0 and at most 0.9")
    every = settings(attacks or ATTACKS, defences or DEFENCES, shares, tried=frozenset(tried))
    if parts:
        every = [one for share in shares for one in ablations(attacks or ATTACKS, share)]
    with progress(len(every) * seeds) as on_progress:
        rows = sweep(every, range(seeds), jobs=jobs, engine=engine, on_progress=on_progress)
    whole = as_json(rows, range(seeds))
    if out is not None:
        out.write_text(json_format.dumps(whole, indent=1) + "\n", encoding="utf-8")
    if json:
        print(json_format.dumps(whole))
    else:
        _show(rows, shares, figure)
    if plots is not None:
        draw(rows, plots)
    return 0


def _show(rows: Mapping[Setting, Row], shares: Sequence[float], figures: Sequence[str]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    columns = list(dict.fromkeys(map(column_of, rows)))
    for share in shares:
        at_share = {(attack_of(one), column_of(one)): row for one, row in rows.items()
                    if one.share in {0.0, share}}  # fmt: skip
        for figure in figures:
            title = f"{figure.replace('_', ' ')}, {share:.0%} malicious (mean ± 95 % interval)"
            shown = Table("attack", *columns, title=title)
            for attack in dict.fromkeys(attack for attack, _ in at_share):
                cells = [at_share[attack, column][figure] for column in columns]
                shown.add_row(attack, *map(str, cells))
            console.print(shown)
        if "ours" in columns:
            _show_goals(console, rows, share)


def _show_goals(console: Console, rows: Mapping[Setting, Row], share: float) -> None:
    known = goals(rows, share)
    missed = [one for one in known if not one.is_met]
    console.print(f"{len(known) - len(missed)} of {len(known)} goals met at {share:.0%}")
    for one in missed:
        aim = f"at most {one.most:.3f}" if one.most is not None else f"at least {one.least:.2f}"
        console.print(f"  missed: {one.attack}: {one.figure.replace('_', ' ')} {one.got}, {aim}")
    ratio = amplification(rows, share)
    if ratio is not None:
        is_met = "met" if ratio <= _AMPLIFICATION_MOST else "missed"
        console.print(f"  amplification by ten identities: {ratio:.1f} (at most 2.5: {is_met})")
