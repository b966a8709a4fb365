"""``bazaar simulate eigentrust``: check the simulator by what others have published."""

import json as json_format
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.population.eigentrust_check import check


def eigentrust(
    *,
    seeds: Annotated[int, Parameter(help="How many seeds, from 0.")] = 5,
    json: Annotated[bool, Parameter(help="Write JSON.")] = False,
) -> int:
    """Run EigenTrust against the threat models of its own paper."""
    if seeds < 1:
        raise ConfigError("--seeds is at least 1")
    found = check(range(seeds))
    if json:
        print(json_format.dumps([asdict(one) for one in found]))
        return 0
    table = Table("threat model", "case", "at random", "EigenTrust", title="bad downloads")
    for one in found:
        table.add_row(one.threat, one.case, str(one.without), str(one.trusting))
    Console().print(table)
    return 0
