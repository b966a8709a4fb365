"""Ctrl-C and SIGTERM: relay and node end in time, whatever they are doing."""

import asyncio
import os
import shlex
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
from tests.market_records import Trader
from tests.shell import OK
from tests.town import Site, raw_client, town, until

from bazaar_host import clock
from bazaar_node.api import api_socket
from bazaar_protocol import frames, limits

pytestmark = pytest.mark.xdist_group("heavy")

STOPPED_WITHIN_S = 2.0
POSTS_PER_FRAME = 10
POSTS = 1_000  # 8 MB: more than all buffers on the way hold
SIGNALS = [signal.SIGINT, signal.SIGTERM]
PROGRAM = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""


async def assert_stops(site: Site, number: signal.Signals) -> None:
    status, took_s = await site.stop(number)
    assert status == OK
    assert took_s < STOPPED_WITHIN_S
    assert "Traceback" not in site.running.log()


@pytest.mark.parametrize("number", SIGNALS)
async def test_what_is_idle_ends_in_time(tmp_path: Path, number: signal.Signals) -> None:
    async with town(tmp_path) as it:
        relay = await it.relay()
        ada = await it.node("ada")
        await assert_stops(ada, number)
        ada = it.sites["ada"]
        await ada.up()
        await assert_stops(relay, number)
        await assert_stops(ada, number)  # which is looking for its relay now


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_worker_ends_with_its_program(tmp_path: Path, number: signal.Signals) -> None:
    async with town(tmp_path) as it:
        relay = await it.relay()
        pid_file = tmp_path / "pid"
        ada = await it.node("ada")
        program = shlex.join([sys.executable, "-c", PROGRAM, str(pid_file)])
        bo = await it.node("bo", "--offer", "sleep.long", "--exec", program)
        task = await ada.post("sleep.long", price=5)
        await ada.reached(task.id, "running")
        pid = int(await until(lambda: _read(pid_file), bool))
        await assert_stops(bo, number)
        assert not psutil.pid_exists(pid), "the program has outlived its node"
        await assert_stops(ada, number)
        await assert_stops(relay, number)


async def test_a_relay_ends_while_a_reader_is_slow(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        relay = await it.relay()
        sender = Trader.named("sender", clock.now_ms())
        async with raw_client(it.address, "slow") as slow, raw_client(it.address, "sender") as fast:
            await slow.send(frames.Subscribe(1, (frames.Filter(authors=(sender.agent,)),), 0))
            for first in range(0, POSTS, POSTS_PER_FRAME):
                # It takes none of them, so they fill every buffer on the way.
                numbers = range(first, first + POSTS_PER_FRAME)
                posts = [sender.post(title=f"{number:08000}") for number in numbers]
                assert set(await fast.publish(*posts)) == {"accepted"}
            await assert_stops(relay, signal.SIGTERM)


async def test_a_node_ends_while_a_reader_is_slow(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        await it.relay()
        ada = await it.node("ada")
        size = 32 * limits.MIB
        program = f"head -c {size} /dev/zero"
        await it.node("bo", "--offer", "zero.many", "--exec", program)
        task = await ada.post("zero.many", price=5)
        await ada.reached(task.id, "accepted", timeout_s=60)
        with socket.socket(socket.AF_UNIX) as reader:
            reader.connect(os.fspath(ada.home / api_socket.NAME))
            reader.sendall(
                f"GET /v1/tasks/{task.id}/result HTTP/1.1\r\nHost: bazaar\r\n\r\n".encode()
            )
            assert (await asyncio.to_thread(reader.recv, 64)).startswith(b"HTTP/1.1 200")
            await assert_stops(ada, signal.SIGINT)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
