"""A new relay catches up with a peer, beside how long publishing all of that has taken."""

import asyncio
import itertools
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Row,
    Sample,
    Stopwatch,
    at_least,
    at_most,
    cpu_of,
    row,
)
from tests.benchmarks.publishing import log_entries, new_author, publishes, send
from tests.benchmarks.relay_process import RelayProcess, relay_up
from tests.relay_client import Client

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol.frames import encode_frame
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.peering_frames import Compare, Compared
from bazaar_protocol.records import parse
from bazaar_relay.machine.comparison import Comparison
from bazaar_relay.machine.head_tree import HeadTree

ENTRIES: Final = 100
"""Of each log."""
PUBLISHERS: Final = 8
CAUGHT_UP_S: Final = 300.0
_LOOK_EVERY_S: Final = 0.02


async def run(bench: Bench) -> list[Row]:
    """Measure catching up over libp2p, both relays as processes, and what no news cost."""
    total = bench.count(100_000, 2_000)
    published: list[Sample] = []
    caught_up: list[Sample] = []
    for number in range(min(bench.rounds, 3)):
        folder = bench.folder / f"catching-up-{number}"
        folder.mkdir()
        first, second = await _round(folder, total)
        published.append(first)
        caught_up.append(second)
    bytes_same = [Sample(float(_bytes_of_no_news(bench.count(10_000, 500))))]
    name = f"a new peer catches up with {total:,} records"
    publishing = f"published by {PUBLISHERS}, in the same round"
    return [
        row(name, "records/s", caught_up, beside=Beside(publishing, published), goal=at_least(10),
            note=f"logs of {ENTRIES} entries; relays as processes, over libp2p; until all is "
            "durable and its news come live"),
        row(f"{name}, CPU", "us", cpu_of(caught_up),
            beside=Beside(f"{publishing}, CPU", cpu_of(published)), goal=at_most(0.5)),
        row("no news among 10,000 logs: a question and its answer", "bytes", bytes_same,
            goal=at_most(256, "figure")),
    ]  # fmt: skip


async def _round(folder: Path, total: int) -> tuple[Sample, Sample]:
    logs = [log_entries(ENTRIES, new_author()) for _ in range(total // ENTRIES)]
    async with relay_up(folder / "first") as first, relay_up(folder / "second") as second:
        published = await _publish(first, logs)
        return published, await _catch_up(folder / "second", second, first, total)


async def _publish(relay: RelayProcess, logs: Sequence[Sequence[bytes]]) -> Sample:
    keys = Keypair.from_name("publisher")
    async with Libp2pTransport.open(keys, [], [RELAY_PROTOCOL], lambda link: link.close()) as links:
        clients = [
            Client(await links.dial(None, [relay.address], RELAY_PROTOCOL))
            for _ in range(PUBLISHERS)
        ]
        for client in clients:
            await client.hello()
        shares = [
            publishes(list(itertools.chain.from_iterable(logs[place::PUBLISHERS])))
            for place in range(PUBLISHERS)
        ]
        with Stopwatch(relay.process, with_children=True) as watch:
            await asyncio.gather(*map(send, clients, shares))
    return Sample.rate(sum(map(len, logs)), watch.wall_s, watch.cpu_s)


async def _catch_up(home: Path, relay: RelayProcess, peer: RelayProcess, total: int) -> Sample:
    settings = home / "bazaar.toml"
    settings.write_text(f'{settings.read_text()}peers = ["{peer.address}"]\n')
    with Stopwatch(relay.process, with_children=True) as watch:
        relay.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + CAUGHT_UP_S
        while not await relay.metric("bazaar_relay_peer_live"):
            assert time.monotonic() < until, "it did not catch up"
            await asyncio.sleep(_LOOK_EVERY_S)
    pulled = await relay.metric("bazaar_relay_peer_records_total", 'status="accepted"')
    assert pulled >= total, f"{pulled:g} of {total} records"
    return Sample.rate(total, watch.wall_s, watch.cpu_s)


def _bytes_of_no_news(count: int) -> int:
    """Return how many bytes two relays with the same logs exchange to know that."""
    one, other = HeadTree(), HeadTree()
    for raw in (log_entries(1, new_author())[0] for _ in range(count)):
        genesis = parse(raw)[0]
        for tree in (one, other):
            tree.put(AgentId(genesis.author), Head.of(genesis))
    ranges = Comparison(one).ask()
    answer = Compared(1, other.compare(ranges))
    assert answer.parts == ((),)
    return len(encode_frame(Compare(1, ranges))) + len(encode_frame(answer))
