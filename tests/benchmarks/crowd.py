"""A relay with very many nodes connected: what they cost it, and how soon they are back."""

import asyncio
import math
import socket
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from tests.benchmarks.measuring import Bench, Row, Sample, Stopwatch, at_most, row
from tests.benchmarks.publishing import log_entries, publishes, send
from tests.processes import daemon
from tests.relay_client import Client
from tests.strangers import stranger

from bazaar_host.links import RELAY_PROTOCOL, Link, Transport
from bazaar_protocol.errors import LinkClosed, Unreachable
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId

NODES: Final = 1_000
RECORDS: Final = 20_000
_AT_ONCE: Final = 16
_REST_S: Final = 2.0
_RETRY_S: Final = 0.5
_SETTINGS: Final = """[relay]
records_per_s = 1000000
connections = 4096
address_connections = 4096
log_level = "error"
"""
_PORT: Final = "/ip4/127.0.0.1/tcp/{port}"


async def run(bench: Bench) -> list[Row]:
    """Measure a relay with nobody, with a thousand nodes, and after its restart."""
    nodes, records = bench.count(NODES, 20), bench.count(RECORDS, 320)
    home = bench.folder / "relay"
    listen = _PORT.format(port=_free_port())
    async with AsyncExitStack() as stack:
        async with _relay(home, listen) as (relay, address):
            before = relay.memory_info().rss
            crowd = await Crowd.connected(stack, address, nodes)
            used = (relay.memory_info().rss - before) / nodes / 1024
            idle = await _idle(relay, bench.count(10, 1))
            first = next(iter(crowd.clients))
            await send(first, publishes(log_entries(records)))
        async with _relay(home, listen):
            began = asyncio.get_running_loop().time()
            await crowd.come_back()
            back_s = asyncio.get_running_loop().time() - began
    stored = _stored_bytes(home / "relay.sqlite3") / records
    name = f"relay with {nodes:,} nodes connected"
    return [
        row(f"{name}: idle", "% CPU", [Sample(idle)], goal=at_most(5, "figure"),
            note="each on a connection of its own, subscribed to what is addressed to it"),
        row(f"{name}: memory", "KiB each", [Sample(used)]),
        row(f"{name}: all back after a restart", "s", [Sample(back_s)],
            goal=at_most(60, "figure"),
            note="from READY on; all try again every half second, 16 dials at a time"),
        row("relay: on the disk", "bytes/record", [Sample(stored)],
            note=f"{records:,} entries of a log of 193 bytes each, with all indexes"),
    ]  # fmt: skip


@dataclass
class Crowd:
    """Nodes with a connection each."""

    clients: dict[Client, None]
    transports: list[Transport]
    address: str

    @classmethod
    async def connected(cls, stack: AsyncExitStack, address: str, count: int) -> "Crowd":
        """Connect so many."""
        transports = [
            await stack.enter_async_context(stranger(f"one of many {n}")) for n in range(count)
        ]
        crowd = cls({}, transports, address)
        await crowd.come_back()
        return crowd

    async def come_back(self) -> None:
        """Connect all of them, trying again and again."""
        self.clients.clear()
        places = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.timeout(600), asyncio.TaskGroup() as tasks:
            for transport in self.transports:
                tasks.create_task(self._come_back(transport, places))

    async def _come_back(self, transport: Transport, places: asyncio.Semaphore) -> None:
        while True:
            try:
                async with places:
                    client = Client(await self._dial(transport))
                    await client.hello()
                    await client.subscribe(Filter(to=(AgentId(bytes(32)),)))
            except (LinkClosed, Unreachable, TimeoutError):
                await asyncio.sleep(_RETRY_S)
            else:
                self.clients[client] = None
                return

    async def _dial(self, transport: Transport) -> Link:
        return await transport.dial(None, [self.address], RELAY_PROTOCOL)


@asynccontextmanager
async def _relay(home: Path, listen: str) -> AsyncGenerator[tuple[psutil.Process, str]]:
    _settle(home)
    async with daemon(home, "relay", "up", "--listen", listen) as relay:
        yield psutil.Process(relay.process.pid), relay.address
        await relay.stop()


def _settle(home: Path) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "bazaar.toml").write_text(_SETTINGS)


async def _idle(relay: psutil.Process, seconds: int) -> float:
    await asyncio.sleep(_REST_S)  # what belongs to the arrival is over then
    with Stopwatch(relay, with_children=True) as watch:
        await asyncio.sleep(seconds)
    return 100 * watch.cpu_s / watch.wall_s


def _stored_bytes(path: Path) -> float:
    with sqlite3.connect(path) as database:
        (pages,), (size,) = (
            database.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size")
        )
    return float(pages * size) or math.nan


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
