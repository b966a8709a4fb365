"""The market of many: how many agents live how many days in one second of ours."""

import asyncio
from typing import Final

from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Stopwatch,
    at_least,
    interleave,
    row,
)

from bazaar_simulations.population import market as small
from bazaar_simulations.population.large import market as large
from bazaar_simulations.population.setting import Setting

_GOAL: Final = 100_000 * 100 / 60
"""A hundred thousand agents and a hundred days in a minute, on two cores."""
_NOTE: Final = (
    "one process on one core; ring, 40 % malicious; scores as the product's for 200 of the "
    "posters, the others go by what they have seen (docs/simulations.md)"
)


async def run(bench: Bench) -> list[Row]:
    """Measure a large population, and a small one in which everybody knows everybody."""
    many = Setting("ring", principals=bench.count(100_000, 3_000), rounds=bench.count(100, 4))
    few = Setting("ring", principals=bench.count(1_000, 50), rounds=bench.count(100, 4))

    def case(setting: Setting, *, is_large: bool) -> Case:
        async def measure() -> Sample:
            with Stopwatch() as watch:
                await asyncio.to_thread(large.run if is_large else small.run, setting)
            return Sample.rate(setting.principals * setting.rounds, watch.wall_s, watch.cpu_s)

        return measure

    # A run is long enough to be measured once, and too long to be measured often.
    samples = await interleave(
        1, {"many": case(many, is_large=True), "few": case(few, is_large=False)}
    )
    goal = Beside("a minute for 100,000 x 100", [Sample(_GOAL)])
    return [
        row(
            f"population: {many.principals:,} agents, {many.rounds} days",
            "agents x days/s",
            samples["many"],
            beside=goal,
            goal=at_least(1),
            note=_NOTE,
        ),
        row(
            f"population: {few.principals:,} agents, {few.rounds} days",
            "agents x days/s",
            samples["few"],
            note="everybody has an opinion of everybody, and every score is the product's",
        ),
    ]
