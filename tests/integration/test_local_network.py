"""Relays on the local network, which here is the loopback interface and nothing else."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.processes import Daemon, daemon, relay_up, run

from bazaar_host.local_network import SERVICE, Found, LocalNetwork
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, MalformedRecord
from bazaar_protocol.identity import AgentId, Keypair, to_peer_id

pytestmark = pytest.mark.xdist_group("heavy")

HERE = LocalNetwork(["127.0.0.1"])
FIND_S = 20.0


@pytest.fixture
def agent() -> AgentId:
    # One network serves all tests of this machine, so each needs a relay of its own.
    return Keypair(os.urandom(32)).agent


class Finder:
    def __init__(self) -> None:
        self.found: asyncio.Queue[Found] = asyncio.Queue()

    async def find(self, agent: AgentId, *addresses: str) -> None:
        """Wait until the relay is found at these addresses."""
        wanted = tuple(f"{address}/p2p/{to_peer_id(agent)}" for address in addresses)
        async with asyncio.timeout(FIND_S):
            while await self.found.get() != Found(agent, wanted):
                pass


@asynccontextmanager
async def finding() -> AsyncGenerator[Finder]:
    finder = Finder()
    async with beside(HERE.find(finder.found.put_nowait)):
        yield finder


@asynccontextmanager
async def beside(work: object) -> AsyncGenerator[None]:
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_announced_relay_is_found_and_found_again_when_it_moves(
    agent: AgentId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazaar_host.local_network.LOOK_S", 0.1)
    addresses = ["/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4002/ws"]
    async with finding() as finder, beside(HERE.announce(agent, lambda: addresses)):
        await finder.find(agent, *addresses)
        addresses[:] = ["/ip4/127.0.0.1/tcp/5001"]
        await finder.find(agent, *addresses)


async def test_what_leads_elsewhere_is_not_announced(agent: AgentId) -> None:
    addresses = [
        "/dns/relay.example.org/tcp/443/wss",
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/10.0.0.1/tcp/1",
    ]
    async with finding() as finder, beside(HERE.announce(agent, lambda: addresses)):
        await finder.find(agent, "/ip4/127.0.0.1/tcp/4001")


async def test_strangers_who_announce_nonsense_hide_no_relay(agent: AgentId) -> None:
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    network = AsyncZeroconf(interfaces=["127.0.0.1"])
    try:
        for number, name in enumerate(
            ("not a peer id", "x" * 60, "Ünïcode", to_peer_id(agent)[:-1])
        ):
            info = AsyncServiceInfo(
                SERVICE, f"{name}.{SERVICE}", port=number + 1, server=f"n{number}.local.",
                properties={b"v": b"1", b"a0": b"/ip4/127.0.0.1/tcp/1"},
                parsed_addresses=["127.0.0.1"],
            )  # fmt: skip
            await network.async_register_service(info, cooperating_responders=True)
        address = "/ip4/127.0.0.1/tcp/4001"
        async with finding() as finder, beside(HERE.announce(agent, lambda: [address])):
            await finder.find(agent, address)
            while not finder.found.empty():
                assert len(finder.found.get_nowait().addresses) >= 1
    finally:
        await network.async_close()


def announcement(agent: AgentId, *places: str, version: str = "1") -> Mapping[bytes, bytes]:
    text = {f"a{number}": place for number, place in enumerate(places)}
    return {name.encode(): value.encode() for name, value in {"v": version, **text}.items()}


def read(network: LocalNetwork, agent: AgentId, *places: str) -> Sequence[str]:
    found = network.read(f"{to_peer_id(agent)}.{SERVICE}", announcement(agent, *places))
    assert found.agent == agent
    return [text.removesuffix(f"/p2p/{to_peer_id(agent)}") for text in found.addresses]


def test_addresses_of_local_networks_are_taken(agent: AgentId) -> None:
    network = LocalNetwork()
    for place in ("/ip4/192.168.1.7/tcp/4001", "/ip4/10.1.2.3/tcp/1/ws", "/ip6/fd00::1/tcp/1"):
        assert read(network, agent, place) == [place]
    assert read(HERE, agent, "/ip4/127.0.0.1/tcp/4001") == ["/ip4/127.0.0.1/tcp/4001"]


@pytest.mark.parametrize(
    "place",
    [
        "/ip4/8.8.8.8/tcp/4001",  # nobody near sends us far away
        "/ip4/127.0.0.1/tcp/22",  # nor to ourselves
        "/ip6/::1/tcp/22",
        "/ip4/0.0.0.0/tcp/22",
        "/ip4/169.254.169.254/tcp/80",
        "/ip4/224.0.0.251/tcp/5353",
        "/dns/localhost/tcp/22",
        "/dns/relay.example.org/tcp/4001",
        "192.168.1.7:4001",
        "",
    ],
)
def test_whatever_else_is_announced_is_refused(agent: AgentId, place: str) -> None:
    with pytest.raises(MalformedRecord):
        read(LocalNetwork(), agent, "/ip4/192.168.1.7/tcp/4001", place)


def test_names_that_are_nobodys_are_refused(agent: AgentId) -> None:
    good = announcement(agent, "/ip4/192.168.1.7/tcp/4001")
    for name in (f"somebody.{SERVICE}", SERVICE, "", to_peer_id(agent) + ".other._tcp.local."):
        with pytest.raises(MalformedRecord):
            LocalNetwork().read(name, good)
    for text in (
        {},
        {b"v": None},
        {b"v": b"2", b"a0": b"/ip4/10.0.0.1/tcp/1"},
        {b"v": b"1", b"a0": b"\xff"},
    ):
        with pytest.raises(MalformedRecord):
            LocalNetwork().read(f"{to_peer_id(agent)}.{SERVICE}", text)


def test_so_many_addresses_of_one_relay_are_looked_at_and_no_more(agent: AgentId) -> None:
    many = [f"/ip4/10.0.0.{number}/tcp/1" for number in range(1, 50)]
    assert len(read(LocalNetwork(), agent, *many)) == limits.RELAY_PLACES_FOUND_MAX


def test_an_interface_is_named_by_its_address() -> None:
    with pytest.raises(ConfigError, match="eth0"):
        LocalNetwork(["eth0"])


@asynccontextmanager
async def nearby(home: Path, section: str, *arguments: str) -> AsyncGenerator[Daemon]:
    text = f'[{section}]\nmdns = true\nmdns_interfaces = ["127.0.0.1"]\n'
    (home / "bazaar.toml").write_text(text)
    async with daemon(home, *arguments) as process:
        yield process


@pytest.mark.slow
async def test_nodes_trade_through_a_relay_that_nobody_told_them_of(tmp_path: Path) -> None:
    (tmp_path / "relay").mkdir()
    settings = '[relay]\nmdns = true\nmdns_interfaces = ["127.0.0.1"]\n'
    (tmp_path / "relay" / "bazaar.toml").write_text(settings)
    for name in ("ada", "bo"):
        await run("init", "--home", str(tmp_path / name), "--name", name, "--no-passphrase")
    async with (
        relay_up(tmp_path / "relay") as relay,
        nearby(tmp_path / "bo", "node", "up", "--offer", "text.echo", "--exec", "cat"),
        nearby(tmp_path / "ada", "node", "up") as ada,
    ):
        result = await run(
            "post", "-c", "text.echo", "-i", "hello", "--type", "text/plain", "--price", "3",
            "--wait", "--timeout", "40s", "--home", str(ada.home),
        )  # fmt: skip
        assert "hello" in result
        status = json.loads(await run("status", "--json", "--home", str(ada.home)))
        assert relay.address in [one["address"] for one in status["relays"]]
