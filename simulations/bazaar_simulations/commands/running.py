"""``bazaar simulate run``: one adversary against one defence, or one world of real nodes."""

import json as json_format
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.adversaries.registry import ADVERSARIES
from bazaar_simulations.population.setting import PARTS, PROPOSALS, Setting
from bazaar_simulations.population.sweep import sweep
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.scenarios import SCENARIOS, find

DefenceName = Literal["none", "average", "beta", "EigenTrust", "walk", "ours"]


def run(
    scenario: Annotated[str, Parameter(help="An adversary or a world, as `list` shows them.")],
    /,
    *,
    defence: Annotated[DefenceName, Parameter(help="Against an adversary.")] = "ours",
    share: Annotated[float, Parameter(help="Of the principals, how many are malicious.")] = 0.4,
    agents: Annotated[int, Parameter(help="How many principals there are.")] = 100,
    rounds: Annotated[int, Parameter(help="How many tasks each gives away.")] = 100,
    seed: Annotated[int, Parameter(help="The first seed.")] = 0,
    seeds: Annotated[int, Parameter(help="How many seeds.")] = 1,
    jobs: Annotated[int, Parameter(help="How many processes.")] = 1,
    without: Annotated[tuple[str, ...], Parameter(help="Parts of ours to switch off.")] = (),
    tried: Annotated[tuple[str, ...], Parameter(help="Changes to ours to try.")] = (),
    seconds: Annotated[float | None, Parameter(help="Of a world, how long it runs.")] = None,
    json: Annotated[bool, Parameter(help="Write JSON.")] = False,
) -> int:
    """Run an adversary in a market of many, or a world of real nodes, and say what came of it."""
    if scenario in SCENARIOS:
        return _run_world(scenario, range(seed, seed + seeds), seconds, as_json=json)
    if scenario not in ADVERSARIES:
        raise ConfigError(f"neither an adversary nor a world is called {scenario}")
    _check(share, agents, seeds)
    _check_names(without, PARTS)
    _check_names(tried, PROPOSALS)
    setting = Setting(
        attack=scenario,
        defence=defence,
        share=share,
        off=frozenset(without),
        tried=frozenset(tried),
        principals=agents,
        rounds=rounds,
    )
    ((_, row),) = sweep([setting], range(seed, seed + seeds), jobs=jobs).items()
    if json:
        print(json_format.dumps({name: one._asdict() for name, one in row.items()}))
        return 0
    table = Table("figure", "mean", "95 % interval", title=f"{scenario} against {defence}")
    for name, one in row.items():
        half = "none from one seed" if one.half is None else f"± {one.half:.4f}"
        table.add_row(name.replace("_", " "), f"{one.mean:.4f}", half)
    Console().print(table)
    return 0


def _run_world(name: str, seeds: range, seconds: float | None, *, as_json: bool) -> int:
    for seed in seeds:
        try:
            find(name).run(seed, seconds=seconds)
        except BrokenInvariant as broken:
            print(broken)
            return 1
    said = {"world": name, "seeds": list(seeds), "broken": 0}
    print(json_format.dumps(said) if as_json else f"{name}: {len(seeds)} seeds, nothing broken")
    return 0


def _check(share: float, agents: int, seeds: int) -> None:
    if not 0.0 <= share <= 0.9:
        raise ConfigError("--share is between 0 and 0.9")
    if not 10 <= agents <= 2_000:
        raise ConfigError("--agents is between 10 and 2000; all their opinions are kept")
    if seeds < 1:
        raise ConfigError("--seeds is at least 1")


def _check_names(names: tuple[str, ...], known: object) -> None:
    assert isinstance(known, dict | tuple)
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no {name!r}; there are {', '.join(known)}")
