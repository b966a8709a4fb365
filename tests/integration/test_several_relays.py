"""Nodes that use several relays: all but one may die in the middle of trades."""

import asyncio
import shlex
import sys
import time
from pathlib import Path

import pytest
from tests.town import TERMINAL, Site, Town, town, until

pytestmark = pytest.mark.xdist_group("heavy")

DELIVERED_S = 30.0
# It waits for the file that its argument names, so that the test decides when work ends.
PROGRAM = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
print('"done"')
"""


def using(relays: list[str]) -> list[str]:
    return [part for address in relays for part in ("--relay", address)]


async def node(it: Town, name: str, relays: list[str], *arguments: str) -> Site:
    it.address, *others = relays
    return await it.node(name, *using(others), *arguments)


async def test_two_of_three_relays_die_in_the_middle_of_trades(tmp_path: Path) -> None:
    go = tmp_path / "go"
    program = shlex.join([sys.executable, "-c", PROGRAM, str(go)])
    async with town(tmp_path) as it:
        sites = [await it.relay(name) for name in ("one", "two", "three")]
        relays = [site.running.address for site in sites]
        ada = await node(it, "ada", relays)
        await node(it, "bo", relays, "--offer", "word.find", "--exec", program, "--slots", "4")
        await until(lambda: [relay.is_connected for relay in ada.client.status().relays], all)
        running = [await ada.post("word.find", bid_window_ms=100) for _ in range(2)]
        for task in running:
            await ada.reached(task.id, "running")
        later = await ada.post("word.find", mode="claim", price=5)
        await sites[0].crash()
        await sites[1].crash()
        began = time.monotonic()
        new = await ada.post("word.find", bid_window_ms=100)
        go.touch()
        for task in (*running, later, new):
            over = await ada.reached(task.id, *TERMINAL, timeout_s=DELIVERED_S)
            assert (over.task.state, over.task.epoch) == ("accepted", 1)
            assert len([event for event in over.events if event.what == "accept"]) == 1
        assert time.monotonic() - began <= DELIVERED_S
        # Who begins while two of its relays are dead has one, and that is enough.
        await ada.crash()
        await ada.up()
        last = await ada.post("word.find", bid_window_ms=100)
        assert (await ada.reached(last.id, *TERMINAL)).task.state == "accepted"
        # What the dead ones missed they get when they are back.
        await sites[0].up()
        wanted = {"post", "award", "accept", "deliver", "verdict"}
        async with asyncio.timeout(DELIVERED_S):
            while not wanted <= await kinds_at(it, relays[0], new.id):  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def kinds_at(it: Town, address: str, task: str) -> set[str]:
    """Return the kinds of records that a relay has of a task."""
    it.address = address
    return {record.kind for record in await it.relay_task(task)}
