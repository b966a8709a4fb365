"""Worlds of real nodes, one seed after the other, until one breaks."""

import json as json_format
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bazaar_node.outcomes import BUG, INTERRUPTED, OK
from bazaar_simulations import names
from bazaar_simulations.commands.progress import progress
from bazaar_simulations.commands.results import Outputs, origin_of, write_text
from bazaar_simulations.report.worlds import Ran, report
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.scenario import Scenario
from bazaar_simulations.world.scenarios import SCENARIOS


@dataclass(slots=True)
class _Told:
    """What came of the worlds so far."""

    ran: list[Ran]
    broken: str = ""
    stopped: str = ""

    @property
    def status(self) -> int:
        """The exit status that says it."""
        if self.broken:
            return BUG
        return INTERRUPTED if self.stopped else OK


def run_worlds(
    name: str,
    seeds: Sequence[int],
    size: tuple[int | None, float | None],
    said: tuple[Outputs, str],
) -> int:
    """Run the world of each seed, and return the exit status: 1 when an invariant breaks.

    Args:
        name: Which kind of world.
        seeds: Which worlds of that kind.
        size: How many nodes there are, and how many seconds it lasts; None for as usual.
        said: Where results go, and the command that was typed.

    Raises:
        ConfigError: Results cannot be written.

    """
    outputs, command = said
    outputs.check()
    kind = SCENARIOS[names.find(name, SCENARIOS, "a world")]
    agents, seconds = size
    if agents is not None:
        kind = replace(kind, agents=agents)
    if seconds is not None:
        kind = replace(kind, seconds=seconds)
    told = _run(kind, seeds, agents)
    about = _about(kind, told)
    if outputs.json:
        print(json_format.dumps(about))
    elif told.broken:
        print(told.broken)
    elif told.ran:
        print(f"{kind.name}: nothing broken")
        for one in told.ran:
            figures = ", ".join(f"{what} {figure:g}" for what, figure in one.figures.items())
            print(f"  seed {one.seed}: {figures}")
    if told.stopped:
        print(told.stopped, file=sys.stderr)
    if outputs.out is not None:
        write_text(outputs.out, json_format.dumps(about, indent=1) + "\n")
    if outputs.report is not None:
        origin = origin_of(command, list(seeds))
        text = report(kind, origin, told.ran, broken=told.broken, left_out=told.stopped)
        write_text(outputs.report, text)
        print(f"the report is in {outputs.report}", file=sys.stderr)
    return told.status


def _about(kind: Scenario, told: _Told) -> dict[str, object]:
    """Return what came of it as plain values."""
    about: dict[str, object] = {
        "world": kind.name,
        "seeds": [one.seed for one in told.ran],
        "broken": int(bool(told.broken)),
        "virtual_s": sum(one.virtual_s for one in told.ran),
        "figures": [dict(one.figures) for one in told.ran],
    }
    said = {"failure": told.broken, "stopped": told.stopped}
    about.update({name: what for name, what in said.items() if what})
    return about


def _run(kind: Scenario, seeds: Sequence[int], agents: int | None) -> _Told:
    told = _Told([])
    try:
        with progress(len(seeds)) as on_progress:
            for seed in seeds:
                world = kind.world(seed)
                world.run(kind.seconds)
                told.ran.append(Ran.of(seed, world))
                on_progress(len(told.ran))
    except BrokenInvariant as broken:
        if agents is not None:
            broken.replay += f" --agents {agents}"
        told.broken = str(broken)
    except KeyboardInterrupt:
        done = len(told.ran)
        told.stopped = f"stopped in seed {seeds[done]}; before it, {done} of {len(seeds)} were done"
    return told
