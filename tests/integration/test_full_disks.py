"""A full disk under a running relay or node: clear refusals, nothing lost, no restart needed."""

import asyncio
import shlex
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.market_records import Trader
from tests.shell import OK, TRY_AGAIN
from tests.town import TERMINAL, raw_client, read_log, town, try_command, until

from bazaar_host import clock

pytestmark = pytest.mark.xdist_group("heavy")

ROOM_MIB = 8
PROGRAM = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
print('"done"')
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of its own with little room."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("no mount here")
    command = [mount, "-t", "tmpfs", "-o", f"size={ROOM_MIB}m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount; test_database has the small version")
    try:
        yield folder
    finally:
        subprocess.run([umount, "-l", str(folder)], check=True)


def on(disk: Path, home: Path) -> Path:
    """Put the folder ``home`` on another disk; its log stays where it was."""
    (disk / home.name).mkdir()
    home.symlink_to(disk / home.name)
    return home


@contextmanager
def full(folder: Path) -> Generator[None]:
    """Leave no room in ``folder`` inside this block."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
    finally:
        ballast.unlink()


async def test_a_relay_without_room_refuses_and_recovers(tmp_path: Path, small_disk: Path) -> None:
    pat = Trader.named("pat", clock.now_ms())
    async with town(tmp_path) as it:
        relay = await it.relay(home=on(small_disk, tmp_path / "relay"))
        async with raw_client(it.address, "pat") as client:
            assert await client.publish(pat.genesis()) == ("accepted",)
            acknowledged = [pat.head.id]
            with full(small_disk):
                while True:
                    waiting = [pat.intake(n) for n in range(100)]
                    statuses = await client.publish(*waiting)
                    if set(statuses) != {"accepted"}:
                        break
                    acknowledged += [entry.id for entry in waiting]
                assert all(status.startswith("storage:") for status in statuses), statuses
                assert "no room left" in statuses[0]
                for _ in range(3):
                    (status, *_) = await client.publish(*waiting)
                    assert status.startswith("storage:")
                # What it had promised it still has, and still tells.
                log = await read_log(client, pat.agent)
                assert [entry.id for entry in log] == acknowledged
                assert relay.is_up
            assert set(await client.publish(*waiting)) == {"accepted"}
            acknowledged += [entry.id for entry in waiting]
            await relay.crash()
        await relay.up()
        async with raw_client(it.address, "pat") as client:
            log = await read_log(client, pat.agent)
            assert [entry.id for entry in log] == acknowledged


async def test_a_node_without_room_refuses_and_recovers(tmp_path: Path, small_disk: Path) -> None:
    go = tmp_path / "go"
    program = shlex.join([sys.executable, "-c", PROGRAM, str(go)])
    async with town(tmp_path) as it:
        await it.relay()
        ada, bo = await asyncio.gather(
            it.node("ada", home=small_disk / "ada"),
            it.node("bo", "--offer", "word.find", "--exec", program),
        )
        # Its log is on that disk, too.
        before = await ada.post("word.find", price=5)
        await ada.reached(before.id, "running")
        posted = [before.id]
        with full(small_disk):
            arguments = ("post", "-c", "nobody.does.this", "-i", "x" * 8_000)
            while True:
                code, out, err = await try_command(*arguments, "--home", str(ada.home))
                if code != OK:
                    break
                posted.append(out.strip())
            assert (code, out) == (TRY_AGAIN, "")
            assert "no room left" in err
            assert "Traceback" not in err
            go.touch()  # the result comes now, and cannot be kept
            await bo.noted(before.id, "deliver")
            assert (await ada.detail(before.id)).task.state == "running"
            assert ada.is_up
        over = await ada.reached(before.id, *TERMINAL)
        assert over.task.state == "accepted", "what came meanwhile came again"
        code, out, _ = await try_command(*arguments, "--home", str(ada.home))
        assert code == OK
        posted.append(out.strip())
        await ada.crash()
        await ada.up()
        kept = {task.id for task in await asyncio.to_thread(ada.client.tasks)}
        assert set(posted) <= kept
        await until(lambda: ada.client.status().outbox, lambda waiting: waiting == 0)


async def test_a_worker_without_room_delivers_later(tmp_path: Path, small_disk: Path) -> None:
    go = tmp_path / "go"
    program = shlex.join([sys.executable, "-c", PROGRAM, str(go)])
    async with town(tmp_path) as it:
        await it.relay()
        ada, bo = await asyncio.gather(
            it.node("ada"),
            it.node(
                "bo",
                "--offer",
                "word.find",
                "--exec",
                program,
                home=on(small_disk, tmp_path / "bo"),
            ),
        )
        task = await ada.post("word.find", price=5)
        await ada.reached(task.id, "running")
        with full(small_disk):
            go.touch()
            # The program ends, and its result finds no room.
            await until(lambda: list((bo.home / "work").iterdir()), lambda folders: not folders)
            assert (await ada.detail(task.id)).task.state == "running"
            assert bo.is_up
        over = await ada.reached(task.id, *TERMINAL)
        assert over.task.state == "accepted"
