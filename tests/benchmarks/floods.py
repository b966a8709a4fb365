"""What an honest client of a public relay notices of a flood of made-up identities."""

import math
from contextlib import AsyncExitStack
from typing import Final

from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    at_most,
    interleave,
    percentile,
    row,
)
from tests.benchmarks.relay_links import ALL_LIMITS
from tests.benchmarks.relay_process import relay_up
from tests.flooding import flood_of
from tests.honest import connect, latencies, show_work
from tests.market_records import Trader
from tests.relay_client import Client

IDENTITIES: Final = 10_000
POSTS: Final = 100
ACKS: Final = 1_000
LINK_S: Final = 0.5
ALONE: Final = "the same without a flood"
NOTE: Final = (
    f"one publisher, one record at a time, {ACKS:,} of them; the relay asks strangers for work; "
    f"the flood is a process with 8 links that pours {POSTS} posts of each of {IDENTITIES:,} "
    "identities as fast as it is let"
)


async def run(bench: Bench) -> list[Row]:
    """Measure answers without a flood, with one, and with one whose links are ever new."""
    identities, posts = bench.count(IDENTITIES, 100), bench.count(POSTS, 5)
    acks = bench.count(ACKS, 50)
    sent = 0
    async with (
        relay_up(bench.folder / "relay", ALL_LIMITS) as relay,
        AsyncExitStack() as stack,
    ):
        client, honest = await connect(stack, relay.address, "honest")
        await show_work(client, honest, relay.address)
        assert await client.publish(honest.genesis()) == ("accepted",)

        async def alone() -> Sample:
            return await _p99(client, honest, acks)

        async def flooded(*options: str) -> Sample:
            nonlocal sent
            arguments = ("--posts", str(posts), *options)
            async with flood_of(relay.address, identities, *arguments) as flood:
                sample = await _p99(client, honest, acks)
            sent += flood.statuses.total()
            return sample

        cases: dict[str, Case] = {
            "alone": alone,
            "steady": flooded,
            "fresh": lambda: flooded("--seconds", str(LINK_S)),
        }
        samples = await interleave(bench.rounds, cases)
    control = Beside(ALONE, samples["alone"])
    rows: list[Row] = []
    for case, name in (("steady", "a flood"), ("fresh", "a flood from ever new links")):
        rows += [
            row(f"answer beside {name}: p99", "ms", samples[case], beside=control,
                goal=at_most(3), note=f"{NOTE}; {sent:,} were answered" if not rows else ""),
            row(f"answer beside {name}: p99, bound", "ms", samples[case],
                goal=at_most(200, "figure")),
        ]  # fmt: skip
    return rows


async def _p99(client: Client, honest: Trader, acks: int) -> Sample:
    return Sample(percentile(await latencies(client, honest, acks), 0.99), math.nan)
