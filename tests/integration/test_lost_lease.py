"""Who is silent past the lease has lost the task, and cannot deliver under its old epoch."""

import asyncio
import shlex
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from tests.market_records import Trader
from tests.town import TERMINAL, raw_client, read_log, town, until

from bazaar_host import clock
from bazaar_protocol import frames, kinds
from bazaar_protocol.identity import parse_agent, to_did
from bazaar_protocol.records import Record, unseal

pytestmark = pytest.mark.xdist_group("heavy")

HEARTBEAT_TIMEOUT_MS = 1_500
# It says that it has begun, and ends when the test wants it to.
PROGRAM = """
import os, sys, time
open(sys.argv[1], "w").write(str(os.getpid()))
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
print('"late"')
"""


async def test_a_frozen_worker_loses_its_task_to_the_next(tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    slow = shlex.join([sys.executable, "-c", PROGRAM, str(begun), str(go)])
    async with town(tmp_path) as it:
        await it.relay()
        ada, bo, cy = await asyncio.gather(
            it.node("ada"),
            it.node("bo", "--offer", "word.find", "--exec", slow, "--price", "5"),
            it.node("cy", "--offer", "word.find", "--exec", "echo '\"good\"'", "--price", "50"),
        )
        bo_agent, cy_agent = await bo.agent(), await cy.agent()
        await until(lambda: ada.client.find(capability="word.find"), lambda found: len(found) == 2)
        task = await ada.post(
            "word.find", bid_window_ms=500, heartbeat_timeout_ms=HEARTBEAT_TIMEOUT_MS,
            schedule_to_start_ms=1_000,
        )  # fmt: skip
        running = await ada.reached(task.id, "running")
        assert (running.task.epoch, running.task.worker) == (1, bo_agent), "the cheaper one"
        await until(begun.exists, bool)
        bo.send(signal.SIGSTOP)
        over = await ada.reached(task.id, *TERMINAL)
        assert (over.task.state, over.task.worker) == ("accepted", cy_agent)
        assert over.task.epoch > 1
        go.touch()  # the result lies in the pipe, for when its node wakes
        await until(lambda: not psutil.pid_exists(int(begun.read_text())), bool)
        bo.send(signal.SIGCONT)
        await bo.noted(task.id, "lease_lost")
        await until(lambda: bo.client.status().load, lambda load: load == 0)
        after = await ada.detail(task.id)
        assert after.task == over.task
        assert {event.what for event in after.events[len(over.events) :]} <= {"refused"}
        kinds_of_bo = {
            record.kind for record in await it.relay_task(task.id)
            if record.author == parse_agent(bo_agent) and _epoch(record) == 1
        }  # fmt: skip
        assert "deliver" not in kinds_of_bo


async def test_a_dishonest_worker_delivers_for_an_epoch_that_is_over(tmp_path: Path) -> None:
    async with town(tmp_path) as it, AsyncExitStack() as stack:
        await it.relay()
        ada = await it.node("ada")
        ada_agent = parse_agent(await ada.agent())
        eve = Trader.named("eve", clock.now_ms())
        link = await stack.enter_async_context(raw_client(it.address, "eve"))
        await link.subscribe(frames.Filter(to=(eve.agent,)))
        assert await link.publish(eve.genesis()) == ("accepted",)
        task = await ada.post(
            "word.find", worker=to_did(eve.agent), price=5,
            heartbeat_timeout_ms=HEARTBEAT_TIMEOUT_MS, schedule_to_start_ms=20_000,
        )  # fmt: skip

        async def awarded(epoch: int) -> Record:
            while True:
                record = unseal((await link.event()).record)
                if isinstance(record.body, kinds.Award) and record.body.epoch == epoch:
                    return record

        first = await awarded(1)
        assert await link.publish(eve.accept(first)) == ("accepted",)
        second = await awarded(2)  # there were no heartbeats
        before = await ada.noted(task.id, "award", epoch=2)
        assert (before.task.state, before.task.epoch) == ("awarded", 2)
        (status,) = await link.publish(eve.deliver(first))
        assert status.startswith("stale:"), status
        (status,) = await link.publish(eve.heartbeat(first))
        assert status.startswith("stale:"), status
        # What is published later arrives later, so all has arrived when this has.
        assert await link.publish(eve.accept(second)) == ("accepted",)
        after = await ada.noted(task.id, "accept", epoch=2)
        assert (after.task.state, after.task.epoch) == ("running", 2)
        assert [event.what for event in after.events[len(before.events) :]] == ["accept"]
        assert "deliver" not in {event.what for event in after.events}
        log = await read_log(link, eve.agent)
        assert [entry.kind for entry in log] == ["genesis", "accept", "deliver", "accept"]
        assert await read_log(link, ada_agent)


def _epoch(record: Record) -> int:
    return getattr(record.body, "epoch", 0)
