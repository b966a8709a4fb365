"""``bazaar simulate run``: adversaries in a market of many, or a world of real nodes."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.commands.asking import Asked, is_world, nodes_of, seconds_of, setting_of
from bazaar_simulations.commands.results import Outputs, Study, carry_out, command_of
from bazaar_simulations.commands.worlds import run_worlds
from bazaar_simulations.population.labels import LABELS
from bazaar_simulations.population.mixture import attacker_of
from bazaar_simulations.population.plots import Rows


def run(
    scenario: Annotated[
        str, Parameter(help="An adversary, a world, `market`, or FILE.py:Class of your own.")
    ],
    /,
    *,
    attack: Annotated[
        tuple[str, ...], Parameter(help="NAME:SHARE, one more adversary; may be repeated.")
    ] = (),
    share: Annotated[
        float | None, Parameter(help="Of the principals, how many are the adversary's: 0.4.")
    ] = None,
    agents: Annotated[
        int | None, Parameter(help="How many principals, or nodes of a world: 100; as usual.")
    ] = None,
    days: Annotated[
        float | None,
        Parameter(help="How many days: 100 in a market, one task of each agent a day."),
    ] = None,
    seconds: Annotated[float | None, Parameter(help="Of a world, how long it runs.")] = None,
    seed: Annotated[int, Parameter(help="The first seed.")] = 0,
    seeds: Annotated[int, Parameter(help="How many seeds.")] = 1,
    jobs: Annotated[int, Parameter(help="How many processes.")] = 1,
    engine: Annotated[Literal["local", "ray"], Parameter(help="Where to run.")] = "local",
    defence: Annotated[
        str, Parameter(help="Whom to trust: ours, none, average, …, or FILE.py:Class.")
    ] = "ours",
    without: Annotated[tuple[str, ...], Parameter(help="Parts of ours to switch off.")] = (),
    tried: Annotated[tuple[str, ...], Parameter(help="Changes to ours to try.")] = (),
    plots: Annotated[Path | None, Parameter(help="Folder for pictures, PNG and SVG.")] = None,
    report: Annotated[Path | None, Parameter(help="HTML file for all of it.")] = None,
    out: Annotated[Path | None, Parameter(help="File for all figures, as JSON.")] = None,
    json: Annotated[bool, Parameter(help="Write JSON.")] = False,
) -> int:
    """Run adversaries in a market of many, or a world of real nodes, and say what came of it."""
    if seeds < 1 or jobs < 1 or seed < 0:
        raise ConfigError("--seeds and --jobs are at least 1, and --seed is at least 0")
    outputs = Outputs(json, out, plots, report)
    which = range(seed, seed + seeds)
    given = (
        ("--attack", attack), ("--share", share), ("--agents", agents), ("--days", days),
        ("--seconds", seconds), ("--seed", seed or None), ("--seeds", seeds),
        ("--defence", None if defence == "ours" else defence), ("--without", without),
        ("--tried", tried),
    )  # fmt: skip
    command = command_of("run", given, scenario)
    if is_world(scenario):
        of_markets = {"--attack", "--share", "--defence", "--without", "--tried"}
        if wrong := [name for name, value in given if name in of_markets and value]:
            raise ConfigError(f"{wrong[0]} is for a market; {scenario} is a world of real nodes")
        if plots is not None:
            raise ConfigError("there are no pictures of a world; --report is a file to read")
        size, lasts_s = nodes_of(agents), seconds_of(days, seconds)
        return run_worlds(scenario, which, (size, lasts_s), (outputs, command))
    if seconds is not None:
        raise ConfigError("--seconds is for a world of real nodes; a market has --days")
    setting = setting_of(Asked(scenario, attack, defence, share, agents, days, without, tried))
    against = f"{setting.attack if setting.mix else attacker_of(setting).name} against {defence}"
    title = against if setting.share else f"no attack, with {defence}"
    study = Study(title, [setting], which, command, jobs, engine)
    return carry_out(study, outputs, lambda rows: _show(rows, title))


def _show(rows: Rows, title: str) -> None:
    ((setting, row),) = rows.items()
    table = Table("figure", "mean", "95 % interval", "of", title=title)
    for name, one in row.items():
        label = LABELS[name]
        unit = " %" * label.is_share
        half = "none from one seed"
        if one.half is not None:
            half = f"± {label.scaled(one.half):.2f}{unit}"
        mean = f"{label.scaled(one.mean):.2f}{unit}"
        table.add_row(label.name, mean, half, label.of)
    console = Console()
    console.print(table)
    console.print(
        f"{setting.principals:,} principals, {setting.share:.0%} malicious, "
        f"{setting.rounds} days; all but damage is of the second half"
    )
