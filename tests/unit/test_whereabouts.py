"""What others are told of where to dial, and when that changes."""

import asyncio

import pytest

from bazaar_host import whereabouts
from bazaar_host.addresses import Address
from bazaar_host.whereabouts import Whereabouts, is_loopback, local_ips
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import Keypair, to_peer_id

ADA, BO = (Keypair.from_name(name).agent for name in ("ada", "bo"))
P2P = f"/p2p/{to_peer_id(ADA)}"
HERE = [
    "127.0.0.1",
    "::1",
    "fe80::1",
    "169.254.7.7",
    "10.0.0.5",
    "192.0.2.77",
    "8.8.4.4",
    "2600::5",
]


def told(listening: list[str], **others: object) -> list[str]:
    found = Whereabouts(ADA, listening, interfaces=lambda: HERE, **others).addresses()  # type: ignore[arg-type]
    return [text.removesuffix(P2P) for text in found]


def test_everywhere_is_each_interface_and_not_loopback() -> None:
    assert told([f"/ip4/0.0.0.0/tcp/4001{P2P}"]) == [
        "/ip4/8.8.4.4/tcp/4001", "/ip4/10.0.0.5/tcp/4001", "/ip4/192.0.2.77/tcp/4001",
    ]  # fmt: skip
    assert told([f"/ip6/::/tcp/4001/ws{P2P}"]) == ["/ip6/2600::5/tcp/4001/ws"]


def test_on_a_machine_without_a_network_loopback_is_all_there_is() -> None:
    found = Whereabouts(ADA, [f"/ip4/0.0.0.0/tcp/1{P2P}"], interfaces=lambda: ["127.0.0.1"])
    assert found.addresses() == (f"/ip4/127.0.0.1/tcp/1{P2P}",)


def test_loopback_is_told_to_those_on_this_machine_only() -> None:
    listening = [f"/ip4/127.0.0.1/tcp/1{P2P}", f"/ip6/::1/tcp/2{P2P}", f"/ip4/10.0.0.5/tcp/3{P2P}"]
    assert told(listening, tells_loopback=False) == ["/ip4/10.0.0.5/tcp/3"]
    assert told(listening) == ["/ip4/10.0.0.5/tcp/3", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2"]


def test_what_the_operator_says_wins() -> None:
    listening = [f"/ip4/0.0.0.0/tcp/4001{P2P}"]
    announce = ["/dns4/relay.example.org/tcp/443/wss", f"/ip4/192.0.2.1/tcp/1{P2P}"]
    assert told(listening, announce=announce) == [
        "/dns/relay.example.org/tcp/443/wss", "/ip4/192.0.2.1/tcp/1",
    ]  # fmt: skip


@pytest.mark.parametrize("announce", ["192.0.2.1:1", f"/ip4/192.0.2.1/tcp/1/p2p/{to_peer_id(BO)}"])
def test_nonsense_and_others_are_not_announced(announce: str) -> None:
    with pytest.raises(ConfigError):
        told([], announce=[announce])


def test_no_more_is_told_than_an_advert_can_hold() -> None:
    many = [f"10.0.0.{number}" for number in range(1, 30)]
    found = Whereabouts(ADA, [f"/ip4/0.0.0.0/tcp/1{P2P}"], interfaces=lambda: many).addresses()
    assert len(found) == limits.ADDRESSES_MAX


def test_the_systems_interfaces_are_found() -> None:
    ips = local_ips()
    assert "127.0.0.1" in ips
    for address in Whereabouts(ADA, [f"/ip4/0.0.0.0/tcp/1{P2P}"]).addresses():
        assert Address.parse(address).host in ips


async def test_a_change_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "LOOK_S", 0.001)
    ips = [["10.0.0.5"]]
    looks = asyncio.Queue[None]()

    def look() -> list[str]:
        looks.put_nowait(None)
        return ips[-1]

    changes: list[tuple[str, ...]] = []
    found = Whereabouts(ADA, [f"/ip4/0.0.0.0/tcp/1{P2P}"], interfaces=look)
    assert found.may_change
    following = asyncio.create_task(found.follow(changes.append))
    for found_now in (["10.0.0.5"], ["10.0.0.6"], []):
        ips.append(found_now)
        while not looks.empty():
            looks.get_nowait()
        for _ in range(3):
            await asyncio.wait_for(looks.get(), 5)
    following.cancel()
    assert changes == [(f"/ip4/10.0.0.6/tcp/1{P2P}",), ()]


@pytest.mark.parametrize(
    ("listening", "announce", "may_change"),
    [
        (["/ip4/0.0.0.0/tcp/1"], [], True),
        (["/ip4/10.0.0.5/tcp/1"], [], False),
        (["/ip6/::/tcp/1"], ["/dns/a.example/tcp/1"], False),
        (["/memory/1"], [], False),
        ([], [], False),
    ],
)
def test_only_what_may_change_is_looked_at(
    listening: list[str], announce: list[str], *, may_change: bool
) -> None:
    assert Whereabouts(ADA, listening, announce).may_change is may_change


def test_what_leads_back_to_the_machine_that_dials() -> None:
    for text in ("/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1/ws", "/dns/localhost/tcp/1"):
        assert is_loopback(text)
    for text in ("/ip4/10.0.0.1/tcp/1", "/dns/relay.example.org/tcp/443/wss", "/memory/relay"):
        assert not is_loopback(text)
