"""Virtual time: how many seconds of a small world pass in one second of ours."""

import asyncio
from typing import Final

from tests.benchmarks.measuring import (
    Bench,
    Case,
    Row,
    Sample,
    Stopwatch,
    at_least,
    interleave,
    row,
)

from bazaar_simulations.world.weather import Weather
from bazaar_simulations.world.world import World

AGENTS: Final = 8
TASK_EVERY_S: Final = 20.0
_NOTE: Final = (
    "real nodes and a real relay, stores in memory, every invariant checked after every commit; "
    f"{AGENTS} agents, each of which hears of every task and most of which bid for it"
)
_STORM: Final = Weather(break_every_s=20, crash_every_s=30, duplicate=0.02, failing_work=0.05)


async def run(bench: Bench) -> list[Row]:
    """Measure a world that is idle, one at work, and one at work in bad weather."""
    seconds = bench.count(600, 20)

    def case(task_every_s: float, weather: Weather) -> Case:
        async def measure() -> Sample:
            world = World(1, agents=AGENTS, weather=weather, task_every_s=task_every_s)
            with Stopwatch() as watch:
                await asyncio.to_thread(world.run, seconds)  # it has a loop of its own
            return Sample.rate(world.loop.time(), watch.wall_s, watch.cpu_s)

        return measure

    cases = {
        "idle": case(1e9, Weather()),
        f"a task each {TASK_EVERY_S:g} s": case(TASK_EVERY_S, Weather()),
        f"a task each {TASK_EVERY_S:g} s, crashes and broken links": case(TASK_EVERY_S, _STORM),
    }
    samples = await interleave(bench.rounds, cases)
    return [
        row(
            f"world: {name}",
            "s/s",
            found,
            goal=at_least(500, "figure") if "idle" not in name else None,
            note=_NOTE if "idle" in name else "",
        )
        for name, found in samples.items()
    ]
