"""A node that is killed right after each step of a trade takes the trade up again."""

import asyncio
import random
import shlex
import sys
from pathlib import Path

import pytest
from tests.town import TERMINAL, Site, find_proofs, raw_client, read_log, town

from bazaar_protocol.identity import parse_agent

pytestmark = pytest.mark.xdist_group("heavy")

DELAY_S_MAX = 0.1
ROUNDS = 2
# Slow enough to be met at work.
PROGRAM = "import time; time.sleep(0.3); print(1)"


async def test_a_node_killed_after_any_step_goes_on(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    program = shlex.join([sys.executable, "-c", PROGRAM])
    async with town(tmp_path) as it:
        await it.relay()
        ada, bo = await asyncio.gather(
            it.node("ada"),
            it.node("bo", "--offer", "word.find", "--exec", program),
        )
        agents = [parse_agent(await site.agent()) for site in (ada, bo)]

        async def crash(site: Site) -> None:
            await asyncio.sleep(chance.uniform(0, DELAY_S_MAX))  # the crash, not the waiting
            await site.crash()
            await site.up()

        for _ in range(ROUNDS):
            tasks = [await ada.post("word.find", price=5, heartbeat_timeout_ms=5_000)]
            await crash(ada)  # which has posted
            await ada.reached(tasks[0].id, "running", "delivered", *TERMINAL)
            await crash(bo)  # which has accepted
            tasks.append(await ada.post("word.find", price=5, heartbeat_timeout_ms=5_000))
            await ada.reached(tasks[1].id, "running", "delivered", *TERMINAL)
            await bo.reached(tasks[1].id, "delivered", *TERMINAL)
            await asyncio.gather(crash(bo), crash(ada))  # which has delivered; which judges
            for task in tasks:
                over = await ada.reached(task.id, *TERMINAL, timeout_s=30)
                assert over.task.state == "accepted", over
                verdicts = [event for event in over.events if event.what == "verdict"]
                assert len(verdicts) == 1
        async with raw_client(it.address, "reader") as reader:
            for agent in agents:
                assert await read_log(reader, agent)
            assert await find_proofs(reader) == []
