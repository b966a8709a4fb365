"""Addresses as others get to know them: by adverts, and by the commands of a relay."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.processes import relay_up, run
from tests.relay_client import Client

from bazaar_host import whereabouts
from bazaar_host.addresses import Address
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.whereabouts import local_ips
from bazaar_node import Node, Task
from bazaar_protocol import frames
from bazaar_protocol.frames import RELAY_PROTOCOL
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Advert
from bazaar_protocol.records import unseal
from bazaar_relay.serving.service import RelayService
from bazaar_relay.storage.memory_store import MemoryStore

pytestmark = pytest.mark.xdist_group("heavy")

EVERYWHERE = "/ip4/0.0.0.0/tcp/0"


@pytest.fixture
async def relay() -> AsyncGenerator[Libp2pTransport]:
    keys = Keypair.from_name("relay")
    async with (
        RelayService.open(keys, MemoryStore(os.urandom(32))) as service,
        Libp2pTransport.open(
            keys, ["/ip4/127.0.0.1/tcp/0"], [RELAY_PROTOCOL], service.on_link
        ) as transport,
    ):
        yield transport


def interfaces(ips: Sequence[str]) -> list[SimpleNamespace]:
    """Return what the system says when it has these addresses."""
    return [SimpleNamespace(ips=[SimpleNamespace(ip=ip) for ip in ips])]


async def advertised(client: Client, hosts: list[str]) -> Advert:
    """Wait until an advert with these hosts can be had from the relay."""
    async with asyncio.timeout(20):
        while True:
            (advert,) = [unseal(raw).body for raw in await client.events(1)]
            assert isinstance(advert, Advert)
            if [Address.parse(text).host for text in advert.addresses] == hosts:
                return advert


async def test_a_node_announces_where_it_is_and_again_when_it_has_moved(
    tmp_path: Path, relay: Libp2pTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whereabouts, "LOOK_S", 0.02)
    ips = ["127.0.0.1", "10.0.0.5"]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: interfaces(ips))
    monkeypatch.setenv("BAZAAR_NODE_LISTEN", EVERYWHERE)
    node = Node(tmp_path / "bo", relays=relay.addresses, name="bo")

    @node.offer("text.echo")
    async def echo(task: Task) -> bytes:
        return task.input

    watcher = Keypair.from_name("watcher")
    async with (
        Libp2pTransport.open(watcher, [], [RELAY_PROTOCOL], lambda link: link.close()) as ours,
        node.open() as bo,
    ):
        client = Client(await ours.dial(None, relay.addresses, RELAY_PROTOCOL))
        await client.hello()
        await client.subscribe(frames.Filter(kinds=("advert",)))
        first = await advertised(client, ["10.0.0.5"])
        ips[:] = ["127.0.0.1", "10.0.0.9"]
        second = await advertised(client, ["10.0.0.9"])
        assert second.version > first.version
        assert (await bo.desk.status()).addresses == second.addresses


async def test_loopback_is_not_told_to_relays_elsewhere(
    tmp_path: Path, relay: Libp2pTransport
) -> None:
    here = Node(tmp_path / "here", relays=relay.addresses)
    elsewhere = Address.parse(relay.addresses[0])
    away = f"/dns4/relay.invalid/tcp/1/p2p/{relay.addresses[0].rpartition('/')[2]}"
    assert elsewhere.peer
    there = Node(tmp_path / "there", relays=[*relay.addresses, away])
    async with here.open() as one, there.open() as other:
        assert len((await one.desk.status()).addresses) == 1
        assert (await other.desk.status()).addresses == ()


async def test_a_relay_says_which_of_its_addresses_can_be_dialed(tmp_path: Path) -> None:
    async with relay_up(tmp_path / "relay", "--listen", EVERYWHERE) as relay:
        text = (relay.home / "running.json").read_text()
        hosts = {Address.parse(text).host for text in json.loads(text)["addresses"]}
        assert hosts <= set(local_ips())
        information = json.loads(await run("relay", "info", relay.address, "--json"))
        assert relay.address in information["addresses"]
