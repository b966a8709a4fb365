"""``bazaar simulate list``: what there is to run."""

import json as json_format
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from bazaar_simulations.adversaries.registry import ADVERSARIES
from bazaar_simulations.population.setting import PARTS, PROPOSALS
from bazaar_simulations.world.adversaries.registry import LIVE
from bazaar_simulations.world.scenarios import SCENARIOS


def list_all(*, json: Annotated[bool, Parameter(help="Write JSON.")] = False) -> int:
    """List the adversaries, and the worlds of real nodes."""
    adversaries = [
        {
            "name": kind.name,
            "group": kind.group,
            "does": (kind.__doc__ or "").partition("\n")[0],
            "observable": kind.observable,
            "metric": kind.metric,
            "source": kind.source,
        }
        for kind in ADVERSARIES.values()
    ]
    adversaries += [
        {"name": name, "does": (kind.__doc__ or "").partition("\n")[0]} | asdict(kind.profile)
        for name, kind in LIVE.items()
    ]
    worlds = [{"name": one.name, "about": one.about} for one in SCENARIOS.values()]
    if json:
        known = {"adversaries": adversaries, "worlds": worlds, "parts": PARTS, "tried": PROPOSALS}
        print(json_format.dumps(known))
        return 0
    table = Table("adversary", "what it does", "what gives it away", "source")
    for one in adversaries:
        table.add_row(one["name"], one["does"], one["observable"], one["source"])
    console = Console()
    console.print(table)
    table = Table("world", "what happens in it")
    for scenario in worlds:
        table.add_row(scenario["name"], scenario["about"])
    console.print(table)
    return 0
