"""Relays that share a database, as processes of their own: traded through, killed, cut off."""

import asyncio
import http.client
import json
from pathlib import Path

import pytest
from tests.postgres import Server
from tests.processes import Daemon
from tests.shared_claims import claim_at_random, relays
from tests.town import town, try_command, until

pytestmark = pytest.mark.xdist_group("heavy")

ECHO = ("--offer", "text.echo", "--exec", "sh -c 'cat $BAZAAR_TASK_DIR/input'")


async def test_claims_are_granted_once_whoever_is_killed(
    postgres_server: Server, tmp_path: Path
) -> None:
    outcome = await claim_at_random(
        postgres_server, tmp_path, processes=3, workers=8, claims=300, kills=1
    )
    assert not outcome.faults, outcome.faults
    assert outcome.kills == 1
    assert outcome.granted == 300


async def test_nodes_trade_through_two_processes_of_one_relay(
    postgres_server: Server, tmp_path: Path
) -> None:
    address = await postgres_server.new_database()
    async with relays(address, tmp_path, 2) as scene, town(tmp_path) as it:
        it.address = scene.processes[0].address
        ada = await it.node("ada")
        it.address = scene.processes[1].address
        await it.node("bo", *ECHO)
        for mode in ("auction", "claim"):
            task = await ada.post("text.echo", input=b"1", price=5, mode=mode)
            await ada.reached(task.id, "accepted")
        await scene.processes[1].stop()  # whoever was there goes on
        task = await ada.post("nobody.does.this")
        assert task.state == "open"


def readiness(relay: Daemon) -> int:
    place = json.loads((relay.home / "running.json").read_text())["http"]
    connection = http.client.HTTPConnection(place, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()


async def test_a_relay_that_is_cut_off_says_so_and_comes_back(
    postgres_server: Server, tmp_path: Path
) -> None:
    address = await postgres_server.new_database()
    async with relays(address, tmp_path, 1, "--http", "127.0.0.1:0") as scene:
        (relay,) = scene.processes
        assert await asyncio.to_thread(readiness, relay) == 200
        await postgres_server.shut_out(address)
        await until(lambda: readiness(relay), lambda status: status == 503)
        await postgres_server.let_in(address)
        await until(lambda: readiness(relay), lambda status: status == 200)
        assert "the store is lost; nothing is accepted" in relay.log()
        assert await relay.stop() == 0


async def test_an_old_database_is_not_gone_on_with(postgres_server: Server, tmp_path: Path) -> None:
    address = await postgres_server.new_database()
    async with relays(address, tmp_path, 1) as scene:
        (relay,) = scene.processes
        await until((relay.home / "own-log.json").exists, bool)
        assert await relay.stop() == 0
    settings = relay.home / "bazaar.toml"
    older = await postgres_server.new_database()  # as one from before its first entry
    settings.write_text(settings.read_text().replace(address, older))
    code, out, err = await try_command("relay", "up", "--home", str(relay.home))
    assert (code, out) == (1, "")
    assert "it is an old backup" in err
    assert "Traceback" not in err
    settings.write_text(settings.read_text().replace(older, address))
    home = ("--home", str(relay.home))
    code, _, err = await try_command("relay", "backup", str(tmp_path / "x"), *home)
    assert code != 0
    assert "pg_dump" in err
    code, _, err = await try_command("relay", "restore", *home)
    assert code == 1
    assert "this very relay" in err
