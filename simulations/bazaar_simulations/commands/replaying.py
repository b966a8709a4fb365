"""``bazaar simulate replay``: run one world of real nodes again, and show its log."""

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from bazaar_simulations.commands.asking import nodes_of
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.scenarios import find


def replay(
    seed: Annotated[int, Parameter(help="Which world, as its failure said.")],
    /,
    *,
    scenario: Annotated[str, Parameter(help="Of which kind.")] = "everything",
    seconds: Annotated[
        float | None, Parameter(help="How long; as long as usual if not given.")
    ] = None,
    agents: Annotated[
        int | None, Parameter(help="How many nodes; as many as usual if not given.")
    ] = None,
) -> int:
    """Run the world of a seed again and show its log, line by line; 1 if an invariant breaks."""
    kind = find(scenario)
    size = nodes_of(agents)
    if size is not None:
        kind = replace(kind, agents=size)
    world = kind.world(seed)
    try:
        world.run(kind.seconds if seconds is None else seconds)
    except BrokenInvariant as broken:
        print(world.journal.text, end="")
        print(broken)
        return 1
    print(world.journal.text, end="")
    print(f"nothing is broken; the log's hash is {world.journal.digest}")
    return 0
