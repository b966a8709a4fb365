"""``bazaar simulate table``: every attack against every defence."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from bazaar_protocol.errors import ConfigError
from bazaar_simulations import names, own_code
from bazaar_simulations.adversaries.registry import ADVERSARIES
from bazaar_simulations.commands.results import Outputs, Study, carry_out, command_of
from bazaar_simulations.population.defences import DEFENCES
from bazaar_simulations.population.figures import FIGURES
from bazaar_simulations.population.mixture import MALICIOUS_MOST
from bazaar_simulations.population.plots import Rows
from bazaar_simulations.population.setting import PROPOSALS, Setting
from bazaar_simulations.population.tables import (
    ablations,
    amplification,
    attack_of,
    column_of,
    goals,
    settings,
)
from bazaar_simulations.report.population import AMPLIFICATION_MOST

_WIDTH = 132
"""Of what is written into a file, so that no number is broken."""
_PRINCIPALS = (10, 2_000)
_USUAL = Setting().principals
_NOWHERE = Outputs()


def table(
    *,
    attacks: Annotated[tuple[str, ...], Parameter(help="Some adversaries only.")] = (),
    defences: Annotated[tuple[str, ...], Parameter(help="Some defences only.")] = (),
    shares: Annotated[tuple[float, ...], Parameter(help="Malicious shares.")] = (0.4,),
    figure: Annotated[tuple[str, ...], Parameter(help="Which figures to show.")] = ("bad",),
    agents: Annotated[int, Parameter(help="How many principals there are.")] = _USUAL,
    seeds: Annotated[int, Parameter(help="How many seeds, from 0.")] = 5,
    jobs: Annotated[int, Parameter(help="How many processes.")] = 1,
    engine: Annotated[Literal["local", "ray"], Parameter(help="Where to run.")] = "local",
    tried: Annotated[tuple[str, ...], Parameter(help="Changes to ours to try.")] = (),
    parts: Annotated[bool, Parameter(help="Ours without each of its parts instead.")] = False,
    outputs: Outputs = _NOWHERE,
) -> int:
    """Run every attack against every defence, and compare ours with what was aimed for."""
    if seeds < 1 or jobs < 1:
        raise ConfigError("--seeds and --jobs are at least 1")
    if not all(0.0 < share <= MALICIOUS_MOST for share in shares):
        raise ConfigError(f"--shares are above 0 and at most {MALICIOUS_MOST}")
    if not _PRINCIPALS[0] <= agents <= _PRINCIPALS[1]:
        raise ConfigError(f"--agents of a table is between {_PRINCIPALS[0]} and {_PRINCIPALS[1]:,}")
    command = command_of("table", (
        ("--attacks", attacks), ("--defences", defences), ("--shares", shares),
        ("--figure", figure), ("--agents", agents if agents != _USUAL else None),
        ("--seeds", seeds), ("--tried", tried), ("--parts", parts),
    ))  # fmt: skip
    attacks = _names(attacks, ADVERSARIES, "an adversary") or tuple(ADVERSARIES)
    defences = _names(defences, DEFENCES, "a defence") or DEFENCES
    figure = _names(figure, FIGURES, "a figure")
    changes = frozenset(_names(tried, PROPOSALS, "a change to try"))
    every = settings(attacks, defences, shares, tried=changes, principals=agents)
    if parts:
        every = [one for share in shares for one in ablations(attacks, share, agents)]
    title = "Ours without each of its parts" if parts else "Attacks against defences"
    study = Study(title, every, range(seeds), command, jobs, engine)
    return carry_out(study, outputs, lambda rows: _show(rows, shares, figure))


def _names(given: Iterable[str], known: Iterable[str], what: str) -> tuple[str, ...]:
    return tuple(one if own_code.is_own(one) else names.find(one, known, what) for one in given)


def _show(rows: Rows, shares: Sequence[float], figures: Sequence[str]) -> None:
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
                cells = [at_share.get((attack, column)) for column in columns]
                shown.add_row(attack, *("" if one is None else str(one[figure]) for one in cells))
            console.print(shown)
        if "ours" in columns:
            _show_goals(console, rows, share)


def _show_goals(console: Console, rows: Rows, share: float) -> None:
    known = goals(rows, share)
    missed = [one for one in known if not one.is_met]
    console.print(f"{len(known) - len(missed)} of {len(known)} goals met at {share:.0%}")
    for one in missed:
        aim = f"at most {one.most:.3f}" if one.most is not None else f"at least {one.least:.2f}"
        console.print(f"  missed: {one.attack}: {one.figure.replace('_', ' ')} {one.got}, {aim}")
    ratio = amplification(rows, share)
    if ratio is not None:
        is_met = "met" if ratio <= AMPLIFICATION_MOST else "missed"
        aim = f"at most {AMPLIFICATION_MOST}: {is_met}"
        console.print(f"  amplification by ten identities: {ratio:.1f} ({aim})")
