"""A stolen key: its owner ends it, the thief is refused by all who heard, and trading goes on."""

import asyncio
import json
import shlex
import shutil
import sys
import time
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

pytestmark = pytest.mark.xdist_group("heavy")

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


async def publish(address: str, *said: Record) -> tuple[str, ...]:
    async with raw_client(address, "reader") as reader:
        return await reader.publish(*said)


async def log_at(address: str, agent: AgentId) -> list[Record]:
    async with raw_client(address, "reader") as reader:
        return await read_log(reader, agent)


async def test_a_thief_is_refused_and_the_owner_carries_on(tmp_path: Path) -> None:
    go = tmp_path / "go"
    program = shlex.join([sys.executable, "-c", PROGRAM, str(go)])
    async with town(tmp_path) as it:
        second = (await it.relay("second")).running.address
        await it.relay("first")  # the one that ada uses
        offer = ("--offer", "word.find", "--exec", program)
        ada, bo = await asyncio.gather(it.node("ada"), it.node("bo", "--relay", second, *offer))
        (ada.home / "recovery.key").rename(tmp_path / "offline.key")
        go.touch()
        task = await ada.post("word.find", price=5)
        await ada.reached(task.id, "accepted")
        go.unlink()
        old = parse_agent(await ada.agent())
        await ada.stop()
        honest = await log_at(it.address, old)

        # The thief has a copy of everything, and runs it where ada is not.
        thief = copied(it, ada.home, "thief", second)
        forgotten = copied(it, ada.home, "forgotten", it.address)
        await asyncio.gather(thief.up(), forgotten.up())
        stolen = key_files.read(ada.home / "node.key", lambda: b"")
        assert await publish(it.address, vouch(stolen, Head.of(honest[-1]), False)) == ("accepted",)
        loot = await thief.post("word.find", price=5)
        await thief.reached(loot.id, "running")

        before = await recover(ada, tmp_path / "offline.key", "--look")
        assert before["last"]["seq"] == len(honest)
        assert [entry["kind"] for entry in before["cut"]] == ["vouch"]
        assert not (ada.home / "node.key.old").exists()
        done = await recover(ada, tmp_path / "offline.key", "--no-passphrase")
        assert list(done["told"].values()) == ["accepted"]
        assert key_files.read(ada.home / "node.key.old", lambda: b"").agent == old
        new = parse_agent(done["new"])
        assert key_files.read(ada.home / "node.key", lambda: b"").agent == new != old

        # The relay refuses what the old key signs, and keeps what was honest.
        newest = Head.of((await log_at(it.address, old))[-1])
        (status,) = await publish(it.address, vouch(stolen, newest, True))
        assert status.partition(":")[0] in {"blocked", "ended"}
        # So does a node, by whatever relay it comes: what it did for the thief it does no more.
        await until(lambda: bo.client.task(loot.id).task.state, lambda state: state != "running")
        again = await thief.post("word.find", price=5)

        # The new identity trades, with its own log.
        go.touch()
        await ada.up()
        assert parse_agent(await ada.agent()) == new
        task = await ada.post("word.find", price=5)
        assert (await ada.reached(task.id, *TERMINAL)).task.state == "accepted"
        await bo.reached(task.id, "accepted")
        kinds = [record.kind for record in await log_at(it.address, new)]
        assert kinds == ["genesis", "award", "verdict"]
        assert again.id not in {one.id for one in bo.client.tasks()}
        assert (await thief.detail(again.id)).task.state == "open"
        async with raw_client(it.address, "reader") as reader:
            assert await find_proofs(reader) == []

        # A node that runs with the old key ends by itself where the relay knows.
        assert await asyncio.wait_for(forgotten.running.process.wait(), STOP_S) == 1
        assert f"{done['new']} carries on" in forgotten.running.log()


def copied(it: Town, home: Path, name: str, relay: str) -> Site:
    """Return a node that has all that ``home`` has, but not its recovery key."""
    copy = home.with_name(name)
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("node.sock"))
    it.sites[name] = Site(copy, ("up", "--relay", relay))
    return it.sites[name]


async def recover(site: Site, key: Path, *options: str) -> Any:
    code, out, err = await try_command(
        "key", "recover", "--recovery-key", str(key), "--home", str(site.home), "--json", *options
    )
    assert code == 0, err
    return json.loads(out)
