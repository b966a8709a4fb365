"""Trades between nodes that listen nowhere, as processes of their own, and a relay that is lost."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.processes import Daemon, daemon, kill, relay_up, run, start

from bazaar_protocol import limits

pytestmark = pytest.mark.xdist_group("heavy")

RESULT = random.Random(7).randbytes(6_000_000)
PACE = limits.MIB
"""What the slow relay carries in a second; so the result takes six."""


@asynccontextmanager
async def dial_only(home: Path, relay: Daemon, *arguments: str) -> AsyncGenerator[Daemon]:
    """Run a node that listens nowhere."""
    await run("init", "--home", str(home), "--name", home.name, "--no-passphrase")
    settings = home / "bazaar.toml"
    settings.write_text(settings.read_text().replace("[node]", "[node]\nlisten = []", 1))
    async with daemon(home, "up", "--relay", relay.address, *arguments) as node:
        status = json.loads(await run("status", "--json", "--home", str(home)))
        assert status["addresses"] == []
        yield node


@asynccontextmanager
async def two_nodes(relay: Daemon) -> AsyncGenerator[tuple[Daemon, Daemon]]:
    folder = relay.home.parent
    (folder / "result").write_bytes(RESULT)
    copies = ("--offer", "file.copy", "--exec", f"cat {folder / 'result'}")
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(dial_only(folder / "bo", relay, *copies))
        poster = await stack.enter_async_context(dial_only(folder / "ada", relay))
        yield poster, worker


async def trade(poster: Daemon) -> bytes:
    """Post a task and wait for its result, as the owner of a node does."""
    target = poster.home.parent / "received"
    await run(
        "post", "-c", "file.copy", "-i", "go", "--type", "text/plain", "--price", "9",
        "--wait", "--output", str(target), "--home", str(poster.home),
    )  # fmt: skip
    return target.read_bytes()


async def arrived(poster: Daemon, size: int) -> None:
    """Wait until so much of the result has been written down."""
    blobs = poster.home / "blobs"
    async with asyncio.timeout(60):
        while not any(one.stat().st_size >= size for one in blobs.rglob("*.partial")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_nodes_that_listen_nowhere_trade_a_large_result(tmp_path: Path) -> None:
    async with relay_up(tmp_path / "relay") as relay, two_nodes(relay) as (poster, worker):
        assert await trade(poster) == RESULT
        for node in (poster, worker):
            assert await node.stop() == 0
            assert "Traceback" not in node.log()


async def test_a_transfer_goes_on_when_the_relay_is_back(tmp_path: Path) -> None:
    home = tmp_path / "relay"
    home.mkdir()
    (home / "bazaar.toml").write_text(f"[relay]\nrelayed_bytes_per_s = {PACE}\n")
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(relay_up(home))
        poster, worker = await stack.enter_async_context(two_nodes(relay))
        trading = asyncio.create_task(trade(poster))
        await arrived(poster, 2_000_000)
        await kill(relay.process)
        place = relay.address.partition("/p2p/")[0]
        again = await start(home, "relay", "up", "--listen", place, "--http", "127.0.0.1:0")
        stack.push_async_callback(kill, again.process)
        assert await trading == RESULT
        stats = await run("relay", "stats", "--json", "--home", str(home))
        # Resumed, and not begun again.
        carried = json.loads(stats)["carried_bytes"]
        assert 2_000_000 < carried < len(RESULT) - 1_000_000
        assert worker.is_alive
