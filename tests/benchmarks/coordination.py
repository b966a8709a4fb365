"""How much nodes and relay say for each task, as the market grows: the coordination tax."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.benchmarks.light_node import LightNode, Tally
from tests.benchmarks.measuring import Bench, Beside, Row, Sample, at_most, row
from tests.benchmarks.relay_links import RELAY, relay_in_process

from bazaar_node.service import PostRequest
from bazaar_protocol.identity import Keypair, to_did
from bazaar_protocol.limits import KIB

CAPABILITY: Final = "bench.count"
BIDDERS_MAX: Final = 8
WINDOW_MS: Final = 60
SETTLE_S: Final = 0.1
MODES: Final = ("claim", "auction", "direct")
_NOTE: Final = (
    "frames between nodes and relay in both directions: records up (Publish) and down (Event), "
    "claims and their answers, letters up (Mail) and down (Letter), of which each task has one, "
    "for its result. Not counted: Published, Mailed, Collect, Collected, what opens a link, and "
    "adverts. All N - 1 others offer what is asked for; the agents are the node's own machines "
    "without a disk, the relay is the real one over links in memory"
)


@dataclass(frozen=True, slots=True)
class Count:
    """What one task took."""

    messages: float
    bytes: float
    all_frames: float
    all_bytes: float
    milliseconds: float
    kinds: str


async def run(bench: Bench) -> list[Row]:
    """Count messages and bytes for each task in markets of 2 to 1000 nodes, in each mode."""
    sizes = (2, 5, 20) if bench.is_quick else (2, 5, 20, 100, 1000)
    tasks = bench.count(20, 2)
    counts: dict[tuple[str, int], Count] = {}
    for size in sizes:
        folder = bench.folder / f"{size}"
        folder.mkdir()
        async with _market(folder, size) as market:
            for mode in MODES:
                counts[mode, size] = await market.count(mode, tasks)
    rows = [_row_of(mode, size, counts[mode, size]) for mode in MODES for size in sizes]
    rows[0] = replace(rows[0], note=f"{_NOTE}. {rows[0].note}")
    for mode in MODES:
        rows += _growth(mode, counts, few=sizes[-1] if bench.is_quick else 20, many=sizes[-1])
    return rows


def _row_of(mode: str, size: int, count: Count) -> Row:
    asked = min(BIDDERS_MAX, size - 1)
    limit = at_most(asked + 2 * asked + 8 if mode == "auction" else 9, "figure")
    note = f"{count.bytes:,.0f} bytes; with acknowledgements {count.all_frames:g} frames, "
    note += f"{count.all_bytes:,.0f} bytes; {count.milliseconds:.1f} ms for a task; {count.kinds}"
    samples = [Sample(count.messages)]
    return row(f"tax of {mode}, {size} nodes", "messages", samples, goal=limit, note=note)


def _growth(mode: str, counts: dict[tuple[str, int], Count], *, few: int, many: int) -> list[Row]:
    small, large = counts[mode, few], counts[mode, many]
    beside = f"{few} nodes"
    bytes_max = at_most((3.5 if mode == "claim" else 8) * KIB, "figure")
    name = f"tax of {mode}, {many} nodes"
    return [
        row(f"{name}: growth", "messages", [Sample(large.messages)],
            beside=Beside(beside, [Sample(small.messages)]), goal=at_most(1.05)),
        row(f"{name}: bytes", "bytes", [Sample(large.bytes)],
            beside=Beside(beside, [Sample(small.bytes)]), goal=bytes_max),
        row(f"{name}: time", "ms", [Sample(large.milliseconds)],
            beside=Beside(beside, [Sample(small.milliseconds)]), goal=at_most(1.5)),
    ]  # fmt: skip


class _Market:
    """A poster and those who offer what it wants."""

    def __init__(self, poster: LightNode, worker: Keypair, tally: Tally) -> None:
        self._poster = poster
        self._worker = worker
        self._tally = tally

    async def count(self, mode: str, tasks: int) -> Count:
        """Have tasks done one after the other, and count what was said."""
        request = PostRequest(
            capability=CAPABILITY,
            mode=mode,  # type: ignore[arg-type]
            worker=to_did(self._worker.agent) if mode == "direct" else None,
            price=None if mode == "auction" else 100,
            price_max=100,
            sequencer="relay" if mode == "claim" else "self",
            bid_window_ms=WINDOW_MS,
            bidders_max=BIDDERS_MAX,
        )
        await self._poster.trade(request)  # what is needed once is not counted
        await asyncio.sleep(SETTLE_S)
        self._tally.clear()
        began = time.perf_counter()
        for _ in range(tasks):
            await self._poster.trade(request)
        took_s = time.perf_counter() - began
        await asyncio.sleep(SETTLE_S)  # what is still under way belongs to them
        tally = self._tally
        kinds = ", ".join(f"{kind} {n / tasks:g}" for kind, n in sorted(tally.kinds.items()))
        return Count(
            tally.messages / tasks,
            tally.bytes / tasks,
            tally.all_frames / tasks,
            tally.all_bytes / tasks,
            took_s / tasks * 1_000,
            kinds,
        )


@asynccontextmanager
async def _market(folder: Path, size: int) -> AsyncGenerator[_Market]:
    async with relay_in_process(folder) as place, asyncio.TaskGroup() as tasks:
        tally = Tally()
        nodes: list[LightNode] = []
        serving: list[asyncio.Task[None]] = []
        for number in range(size):
            keys = Keypair.from_name(f"node {number}")
            link = await place.link(await place.transport(keys))
            node = LightNode(keys, link, RELAY.agent, tally)
            await node.begin(CAPABILITY if number else None)
            nodes.append(node)
            serving.append(tasks.create_task(node.serve()))
        serving.append(tasks.create_task(nodes[0].tick()))
        try:
            yield _Market(nodes[0], nodes[1].keys, tally)
        finally:
            for task in serving:
                task.cancel()
