"""A store belongs to one process at a time, and only the newest copy of it may sign."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from tests.processes import LISTEN
from tests.shell import BUG
from tests.town import find_proofs, raw_client, read_log, town, try_command

from bazaar_protocol.identity import parse_agent

pytestmark = pytest.mark.xdist_group("heavy")

AT_ONCE_S = 6.0  # with the start of Python, on a machine that does other things, too
ECHO = ("--offer", "text.echo", "--exec", "sh -c 'cat $BAZAAR_TASK_DIR/input'")


async def test_a_store_has_one_process(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        relay = await it.relay()
        node = await it.node("ada")
        seconds = (
            (relay, ("relay", "up", "--listen", LISTEN)),
            (node, ("up", "--relay", it.address)),
        )
        for first, arguments in seconds:
            begun = time.monotonic()
            code, out, err = await try_command(*arguments, "--home", str(first.home))
            assert time.monotonic() - begun < AT_ONCE_S
            assert (code, out) == (BUG, "")
            assert f"is in use by process {first.running.process.pid}" in err
            assert "Traceback" not in err
            assert first.is_up
        task = await node.post("nobody.does.this")
        assert task.state == "open", "the first one is as well as before"


async def test_an_old_copy_of_a_store_signs_nothing(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        await it.relay()
        ada = await it.node("ada")
        await it.node("bo", *ECHO)
        task = await ada.post("text.echo", input=b"1", price=5)
        await ada.reached(task.id, "accepted")
        agent = parse_agent(await ada.agent())
        await ada.stop()
        shutil.copytree(ada.home, tmp_path / "copy")
        await ada.up()
        task = await ada.post("text.echo", input=b"2", price=5)
        await ada.reached(task.id, "accepted")
        await ada.stop()
        async with raw_client(it.address, "reader") as reader:
            before = await read_log(reader, agent)
            shutil.rmtree(ada.home)
            (tmp_path / "copy").rename(ada.home)
            code, out, err = await try_command("up", "--home", str(ada.home), *ada.arguments[1:])
            assert code == BUG
            assert out == "", "it never said READY"
            assert "this is an old backup" in err
            assert "Traceback" not in err
            assert await read_log(reader, agent) == before
            assert await find_proofs(reader) == []


async def test_an_old_copy_signs_nothing_before_a_relay_is_back(tmp_path: Path) -> None:
    async with town(tmp_path) as it:
        relay = await it.relay()
        ada = await it.node("ada")
        bo = await it.node("bo", *ECHO)
        agent = parse_agent(await ada.agent())
        await ada.stop()
        shutil.copytree(ada.home, tmp_path / "copy")
        await ada.up()
        task = await ada.post("text.echo", input=b"2", price=5)
        await ada.reached(task.id, "accepted")
        await ada.stop()
        await relay.crash()
        shutil.rmtree(ada.home)
        (tmp_path / "copy").rename(ada.home)
        old = asyncio.create_task(try_command("up", "--home", str(ada.home), *ada.arguments[1:]))
        await relay.up()
        code, out, err = await old
        assert (code, out) == (BUG, "")
        assert "this is an old backup" in err
        assert bo.is_up
        async with raw_client(it.address, "reader") as reader:
            await read_log(reader, agent)
            assert await find_proofs(reader) == []
