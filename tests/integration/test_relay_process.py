"""The relay as a process: it starts, serves, says what it counts, and ends when told to."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.market_records import Trader
from tests.relay_client import Client

from bazaar_host import clock, key_files
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import frames
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.identity import Keypair, to_peer_id


@dataclass
class Process:
    """``bazaar relay up`` in a process of its own."""

    process: asyncio.subprocess.Process
    addresses: list[str] = field(default_factory=list)

    async def stop(self, number: signal.Signals) -> tuple[int, float]:
        """Return the exit status, and how long the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            status = await self.process.wait()
        return status, time.monotonic() - began


def bazaar(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bazaar_node", "relay", *arguments]


async def run(*arguments: str) -> tuple[int, str, str]:
    """Run one short command."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*bazaar(*arguments), stdout=pipe, stderr=pipe)
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def relay_up(home: Path, *arguments: str) -> AsyncGenerator[Process]:
    command = bazaar("up", "--home", str(home), "--listen", "/ip4/127.0.0.1/tcp/0", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode().split()
        assert line[0] == "READY"
        yield Process(process, [line[1]])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_relay_serves_keeps_its_identity_and_ends_cleanly(tmp_path: Path) -> None:
    ada = Trader.named("ada", clock.now_ms())
    genesis = ada.genesis()
    peers: list[str] = []
    for signal_number, status in ((signal.SIGTERM, "accepted"), (signal.SIGINT, "duplicate")):
        async with (
            relay_up(tmp_path, "--name", "r0", "--http", "127.0.0.1:0") as relay,
            Libp2pTransport.open(ada.keys, [], [RELAY_PROTOCOL], lambda _: None) as transport,
        ):
            client = Client(await transport.dial(None, relay.addresses, RELAY_PROTOCOL))
            welcome = await client.hello()
            assert json.loads(welcome.information)["name"] == "r0"
            assert await client.publish(genesis) == (status,)
            code, out, _ = await run("stats", "--home", str(tmp_path), "--json")
            assert code == 0
            assert json.loads(out)[f'records_total{{status="{status}"}}'] == 1
            code, out, _ = await run("info", *relay.addresses, "--json")
            assert code == 0
            assert json.loads(out)["addresses"] == relay.addresses
            peers.append(json.loads(out)["pubkey"])
            ended, took_s = await relay.stop(signal_number)
            assert ended == 0
            assert took_s < 2
            assert (await client.next(frames.Error)).code == "stopping"
            with pytest.raises(LinkClosed):
                await client.hello()
    assert peers[0] == peers[1]
    code, _, err = await run("stats", "--home", str(tmp_path))
    assert code == 3, err


async def test_a_wrong_setting_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    home = tmp_path / "relay"
    code, out, err = await run("up", "--home", str(home), "--http", "nowhere")
    assert (code, out) == (2, "")
    assert "HOST:PORT" in err
    assert not home.exists()
    code, out, _ = await run("check-config", "--home", str(home), "--json")
    assert code == 0
    assert json.loads(out)["settings"][0] == {"name": "name", "value": "", "source": "default"}


async def test_two_relays_do_not_share_a_store(tmp_path: Path) -> None:
    async with relay_up(tmp_path):
        code, _, err = await run("up", "--home", str(tmp_path), "--listen", "/ip4/127.0.0.1/tcp/0")
    assert code == 1, err
    assert "in use" in err


@pytest.mark.xdist_group("heavy")
async def test_a_locked_key_opens_by_a_file_and_others_are_told_what_was_announced(
    tmp_path: Path,
) -> None:
    home, secret = tmp_path / "relay", tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("open sesame\n")
    async with relay_up(home) as relay:
        await relay.stop(signal.SIGKILL)
    # What a killed relay leaves behind names a process that is another one by now.
    left = json.loads((home / "running.json").read_bytes()) | {"pid": os.getpid()}
    (home / "running.json").write_text(json.dumps(left))
    code, _, err = await run("stats", "--home", str(home), "--json")
    assert (code, "no relay is running" in err) == (3, True), err
    code, _, err = await run("stats", "--home", str(home))
    assert (code, err.splitlines()[-1]) == (3, "next: bazaar relay up")
    keys = key_files.read(home / "relay.key", key_files.from_terminal())
    (home / "relay.key").unlink()
    key_files.write(home / "relay.key", keys, b"open sesame")
    locked = ("--passphrase-file", str(secret))
    told = f"/dns/relay.example/tcp/4001/p2p/{to_peer_id(keys.agent)}"
    async with relay_up(home, *locked, "--announce", "/dns/relay.example/tcp/4001") as relay:
        assert relay.addresses == [told]
        code, out, _ = await run("info", "--home", str(home), *locked, "--json")
        assert (code, json.loads(out)["addresses"]) == (0, [told])
    other = f"/ip4/192.0.2.1/tcp/1/p2p/{to_peer_id(Keypair.from_name('other').agent)}"
    code, _, err = await run("up", "--home", str(home), *locked, "--announce", other)
    assert (code, "names another peer" in err) == (2, True), err
    modes = {path.name: path.stat().st_mode & 0o077 for path in [home, *home.iterdir()]}
    secrets = {"relay", "relay.key", "recovery.key", "relay.sqlite3", "relay.sqlite3.lock"}
    assert secrets <= modes.keys()
    assert {modes[name] for name in secrets} == {0}


async def test_the_help_says_what_each_command_does() -> None:
    code, out, _ = await run("--help")
    assert code == 0
    for words in ("Run the relay until Ctrl-C", "Show the counters", "Check the settings"):
        assert words in out


async def test_an_address_where_nobody_listens_is_refused_with_the_cause(tmp_path: Path) -> None:
    async with relay_up(tmp_path) as relay:
        await relay.stop(signal.SIGTERM)
    code, _, err = await run("info", relay.addresses[0])
    assert code == 75
    assert "Connection refused" in err
    assert "sub-exception" not in err
