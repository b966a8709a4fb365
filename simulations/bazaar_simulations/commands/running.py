"""``bazaar simulate run``: adversaries in a market of many, or a world of real nodes."""

from typing import Annotated, Final, Literal

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

_AS_USUAL: Final = Asked()
_NOWHERE: Final = Outputs()


def run(
    scenario: Annotated[
        str, Parameter(help="An adversary, a world, `market`, or FILE.py:Class of your own.")
    ],
    /,
    *,
    asked: Asked = _AS_USUAL,
    seed: Annotated[int, Parameter(help="The first seed.")] = 0,
    seeds: Annotated[int, Parameter(help="How many seeds.")] = 1,
    jobs: Annotated[int, Parameter(help="How many processes.")] = 1,
    engine: Annotated[Literal["local", "ray"], Parameter(help="Where to run.")] = "local",
    outputs: Outputs = _NOWHERE,
) -> int:
    """Run adversaries in a market of many, or a world of real nodes, and say what came of it."""
    if seeds < 1 or jobs < 1 or seed < 0:
        raise ConfigError("--seeds and --jobs are at least 1, and --seed is at least 0")
    which = range(seed, seed + seeds)
    options = (*asked.options, ("--seed", seed or None), ("--seeds", seeds))
    command = command_of("run", options, scenario)
    if is_world(scenario):
        asked.check_for_world()
        if outputs.plots is not None:
            raise ConfigError("there are no pictures of a world; --report is a file to read")
        size = nodes_of(asked.agents), seconds_of(asked.days, asked.seconds)
        return run_worlds(scenario, which, size, (outputs, command))
    setting = setting_of(scenario, asked)
    attack = setting.attack if setting.mix else attacker_of(setting).name
    title = f"{attack if setting.share else 'no attack'} against {setting.defence}"
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
