"""A stolen key: its owner ends it, the thief is refused by all who heard, and trading goes on."""

import asyncio
import json
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.processes import STOP_S
from tests.town import (
    TERMINAL,
    Site,
    Town,
    find_proofs,
    raw_client,
    read_log,
    town,
    try_command,
    until,
)

from bazaar_host import key_files
from bazaar_protocol import evidence_kinds, records
from bazaar_protocol.identity import AgentId, Keypair, parse_agent
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record

pytestmark = [pytest.mark.xdist_group("heavy"), pytest.mark.timeout(300)]

# It waits for the file that its argument names, so that the test decides when work ends.
PROGRAM = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
print('"done"')
"""


def vouch(keys: Keypair, head: Head, is_withdrawn: bool) -> Record:
    """Sign any entry of a log, as the next one."""
    body = evidence_kinds.Vouch(Keypair.from_name("crony").agent, is_withdrawn)
    now_ms = time.time_ns() // 1_000_000
    return records.seal(keys, body, time_ms=now_ms, seq=head.seq + 1, prev=head.id)


@dataclass
class Scene:
    """Ada trades through one relay; bo works through two, at the second of which is a thief."""

    it: Town
    ada: Site
    bo: Site
    thief: Site
    forgotten: Site
    """A node that still runs with the old key."""
    old: AgentId
    stolen: Keypair
    honest: list[Record]

    async def trade(self) -> None:
        task = await self.ada.post("word.find", price=5)
        assert (await self.ada.reached(task.id, *TERMINAL)).task.state == "accepted"
        await self.bo.reached(task.id, "accepted")

    async def publish(self, *said: Record) -> tuple[str, ...]:
        async with raw_client(self.it.address, "reader") as reader:
            return await reader.publish(*said)

    async def log(self, agent: AgentId) -> list[Record]:
        async with raw_client(self.it.address, "reader") as reader:
            assert await find_proofs(reader) == []
            return await read_log(reader, agent)


async def opened(it: Town, go: Path) -> Scene:
    """Let ada trade once, and then have all that her home holds stolen."""
    program = shlex.join([sys.executable, "-c", PROGRAM, str(go)])
    second = (await it.relay("second")).running.address
    await it.relay("first")
    offer = ("--offer", "word.find", "--exec", program)
    ada, bo = await asyncio.gather(it.node("ada"), it.node("bo", "--relay", second, *offer))
    old = parse_agent(await ada.agent())
    thief, forgotten = copies(it, ada.home, thief=second, forgotten=it.address)
    stolen = key_files.read(ada.home / "node.key", lambda: b"")
    scene = Scene(it, ada, bo, thief, forgotten, old, stolen, [])
    await asyncio.to_thread(go.touch)
    await scene.trade()
    await asyncio.to_thread(go.unlink)
    await ada.stop()
    scene.honest = await scene.log(old)
    for site in (thief, forgotten):
        shutil.copytree(ada.home, site.home, ignore=shutil.ignore_patterns("node.sock"))
    await asyncio.gather(thief.up(), forgotten.up())
    return scene


async def test_a_thief_is_refused_and_the_owner_carries_on(tmp_path: Path) -> None:
    go = tmp_path / "go"
    async with town(tmp_path) as it:
        scene = await opened(it, go)
        ada, bo, thief, old = scene.ada, scene.bo, scene.thief, scene.old
        (ada.home / "recovery.key").rename(tmp_path / "offline.key")
        theirs = vouch(scene.stolen, Head.of(scene.honest[-1]), False)
        assert await scene.publish(theirs) == ("accepted",)
        loot = await thief.post("word.find", price=5)
        await thief.reached(loot.id, "running")

        before = await recover(ada, tmp_path / "offline.key", "--look")
        assert before["last"]["seq"] == len(scene.honest)
        assert [entry["kind"] for entry in before["cut"]] == ["vouch"]
        done = await recover(ada, tmp_path / "offline.key", "--no-passphrase")
        assert list(done["told"].values()) == ["accepted"]
        assert key_files.read(ada.home / "node.key.old", lambda: b"").agent == old
        new = parse_agent(done["new"])
        assert key_files.read(ada.home / "node.key", lambda: b"").agent == new != old

        # The relay refuses what the old key signs. So does a node, by whatever relay it comes:
        # what it did for the thief it does no more, and it takes nothing new.
        (status,) = await scene.publish(vouch(scene.stolen, Head.of(theirs), True))
        assert status.partition(":")[0] == "blocked"
        await until(lambda: bo.client.task(loot.id).task.state, lambda state: state != "running")
        again = await thief.post("word.find", price=5)

        # The new identity trades, with a log of its own.
        go.touch()
        await ada.up()
        assert parse_agent(await ada.agent()) == new
        await scene.trade()
        kinds = [record.kind for record in await scene.log(new)]
        assert kinds == ["genesis", "vouch", "award", "verdict"]
        assert again.id not in {one.id for one in bo.client.tasks()}
        assert (await thief.detail(again.id)).task.state == "open"

        # A node that runs with the old key ends by itself where the relay knows.
        process = scene.forgotten.running.process
        assert await asyncio.wait_for(process.wait(), STOP_S) == 1
        assert f"{done['new']} carries on" in scene.forgotten.running.log()


def copies(it: Town, home: Path, **relays: str) -> list[Site]:
    """Return sites for what is copied from ``home``, each with the relay that it uses."""
    for name, relay in relays.items():
        it.sites[name] = Site(home.with_name(name), ("up", "--relay", relay))
    return [it.sites[name] for name in relays]


async def recover(site: Site, key: Path, *options: str) -> Any:
    code, out, err = await try_command(
        "key", "recover", "--recovery-key", str(key), "--home", str(site.home), "--json", *options
    )
    assert code == 0, err
    return json.loads(out)
