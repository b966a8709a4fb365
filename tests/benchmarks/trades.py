"""Whole trades through a relay by real nodes, all in processes of their own but the poster's."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Final, Literal

import psutil
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Stopwatch,
    at_least,
    interleave,
    percentile,
    row,
)
from tests.benchmarks.relay_process import RelayProcess, program, ready, relay_up
from tests.benchmarks.signing import signatures
from tests.benchmarks.worker import CAPABILITY

from bazaar_node import Node, OpenNode, PostRequest

AT_A_TIME: Final = (1, 8)
VERIFY: Final = "one core: PyNaCl verify"
_NOTE: Final = (
    "real nodes with their stores: a relay, a worker (a Python function that returns at once) and "
    "a poster, three processes over libp2p; from post to the accepted result in the poster's "
    "hands; CPU of all three, commits of the relay"
)
Sequencer = Literal["self", "relay"]


async def run(bench: Bench) -> list[Row]:
    """Measure trades, one and eight at a time, with the relay and the poster as sequencer."""
    async with AsyncExitStack() as stack:
        trade = await _Trade.open(bench, stack)
        cases: dict[str, Case] = {"verify": signatures(0, 1, bench.count(5_000, 500))}
        for count in AT_A_TIME:
            trades = bench.count(40 if count == 1 else 20 * count, 2 * count)
            cases[f"relay {count}"] = trade.case("relay", count, trades)
            cases[f"self {count}"] = trade.case("self", count, trades)
        cases["delay"] = lambda: trade.delay(bench.count(40, 3))
        samples = await interleave(bench.rounds, cases)
    limit = Beside(VERIFY, samples["verify"])
    name = "claim -> accept -> deliver -> accepted"
    return [
        *(
            row(f"{name}, {count} at a time, {who}", "trades/s", samples[f"{key} {count}"],
                beside=limit, goal=at_least(0.3), note=_NOTE * (count == 1 and key == "relay"))
            for count in AT_A_TIME
            for key, who in (("relay", "relay sequences"), ("self", "poster sequences"))
        ),
        row(f"{name}: p50 of one", "ms", samples["delay"]),
    ]  # fmt: skip


class _Trade:
    """A relay, a worker and a poster."""

    def __init__(self, relay: RelayProcess, poster: OpenNode, worker: psutil.Process) -> None:
        self._relay = relay
        self._poster = poster
        self._processes = (relay.process, worker, psutil.Process())

    @classmethod
    async def open(cls, bench: Bench, stack: AsyncExitStack) -> "_Trade":
        relay = await stack.enter_async_context(relay_up(bench.folder / "relay"))
        home = bench.folder / "worker"
        worker = await stack.enter_async_context(
            program("tests.benchmarks.worker", str(home), relay.address)
        )
        await ready(worker)
        node = Node(bench.folder / "poster", relays=[relay.address])
        poster = await stack.enter_async_context(node.open())
        await poster.ready()
        trade = cls(relay, poster, psutil.Process(worker.pid))
        await trade._trade("relay")  # the first waits for the worker's advert
        return trade

    def case(self, sequencer: Sequencer, at_a_time: int, trades: int) -> Case:
        """Return the case in which so many trades are made, some at a time."""

        async def trade() -> Sample:
            left = iter(range(trades))

            async def one_after_the_other() -> None:
                for _ in left:
                    await self._trade(sequencer)

            commits = -await self._relay.commits()
            with Stopwatch(*self._processes) as watch:
                await asyncio.gather(*(one_after_the_other() for _ in range(at_a_time)))
            commits += await self._relay.commits()
            return Sample.rate(trades, watch.wall_s, watch.cpu_s, commits)

        return trade

    async def delay(self, trades: int) -> Sample:
        """Return the median time of one trade while there is no other."""
        delays: list[float] = []
        for _ in range(trades):
            began = time.perf_counter()
            await self._trade("relay")
            delays.append((time.perf_counter() - began) * 1_000)
        return Sample(percentile(delays, 0.5))

    async def _trade(self, sequencer: Sequencer) -> None:
        request = PostRequest(capability=CAPABILITY, input=b"{}", price=1, sequencer=sequencer)
        task = await self._poster.post(request)
        await self._poster.result(task, timeout_s=30)
