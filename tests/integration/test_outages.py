"""A relay that is killed and comes back: trades go on, and what was posted meanwhile goes out."""

import asyncio
import shlex
import sys
from pathlib import Path

import pytest
from tests.town import TERMINAL, find_proofs, raw_client, read_log, town, until

from bazaar_protocol.identity import parse_agent

pytestmark = pytest.mark.xdist_group("heavy")

# It waits for the file that its argument names, so that the test decides when work ends.
PROGRAM = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
print('"done"')
"""


async def test_a_trade_outlives_its_relay(tmp_path: Path) -> None:
    go = tmp_path / "go"
    program = shlex.join([sys.executable, "-c", PROGRAM, str(go)])
    async with town(tmp_path) as it:
        relay = await it.relay()
        ada, bo = await asyncio.gather(
            it.node("ada"), it.node("bo", "--offer", "word.find", "--exec", program)
        )
        agents = [parse_agent(await site.agent()) for site in (ada, bo)]
        task = await ada.post("word.find", bid_window_ms=200)
        await ada.reached(task.id, "running")
        await relay.crash()
        go.touch()
        await bo.noted(task.id, "deliver")  # signed, durable, and with nobody to hand it to
        assert (await ada.detail(task.id)).task.state == "running"
        await relay.up()
        over = await ada.reached(task.id, *TERMINAL)
        assert (over.task.state, over.task.epoch) == ("accepted", 1)
        await until(lambda: bo.client.task(task.id).task.state, "accepted".__eq__)
        async with raw_client(it.address, "reader") as reader:
            for agent in agents:
                assert len(await read_log(reader, agent)) > 1
            assert await find_proofs(reader) == []


async def test_what_is_posted_while_the_relay_is_down_goes_out_later(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        relay = await it.relay()
        ada, bo = await asyncio.gather(
            it.node("ada"), it.node("bo", "--offer", "word.find", "--exec", "echo 1")
        )
        await relay.crash()
        await until(lambda: ada.client.status().relays[0].is_connected, lambda is_so: not is_so)
        tasks = [await ada.post("word.find", price=5) for _ in range(3)]
        assert {task.state for task in tasks} == {"open"}
        assert ada.client.status().outbox >= len(tasks)
        await ada.crash()  # they are durable, and not only remembered
        await relay.up()
        await ada.up()
        for task in tasks:
            over = await ada.reached(task.id, *TERMINAL)
            assert over.task.state == "accepted"
        await until(lambda: ada.client.status().outbox, lambda count: count == 0)
        assert bo.is_up
