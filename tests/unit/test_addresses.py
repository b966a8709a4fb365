"""Multiaddrs from strangers: the few forms that we can dial, and nothing else."""

import pytest

from bazaar_host.addresses import Address
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import Keypair, to_peer_id

AGENT = Keypair.from_name("alice").agent


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.1/tcp/4001",
        "/ip6/2001:db8::1/tcp/1",
        f"/ip4/127.0.0.1/tcp/65535/p2p/{to_peer_id(AGENT)}",
        f"/dns/relay.example.org/tcp/4001/p2p/{to_peer_id(AGENT)}",
        "/ip4/192.0.2.1/tcp/4002/ws",
        f"/dns/relay.example.org/tcp/443/wss/p2p/{to_peer_id(AGENT)}",
    ],
)
def test_address_is_read_and_written_alike(text: str) -> None:
    address = Address.parse(text)
    assert str(address) == text
    assert address.peer == (AGENT if "p2p" in text else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/ip4/127.0.0.1",
        "/ip4/127.0.0.1/udp/1",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/127.0.0.1/tcp/-1",
        "/ip4/127.0.0.1/tcp/٣",
        "/ip4/127.0.0.300/tcp/1",
        "/ip6/127.0.0.1/tcp/1",
        "/dns/a b/tcp/1",
        "/dns/-x/tcp/1",
        "/unix/tmp/tcp/1",
        "/ip4/127.0.0.1/tcp/1/p2p/nobody",
        "/ip4/127.0.0.1/tcp/1/wsx",
        "/ip4/127.0.0.1/tcp/1/ws/ws",
        "/ip4/127.0.0.1/tcp/1/tls",
        f"/ip4/127.0.0.1/tcp/1/p2p/{to_peer_id(AGENT)}/ws",
        f"/p2p/{to_peer_id(AGENT)}",
        "/dns/" + "a" * 300 + "/tcp/1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Address.parse(text)


def test_tls_and_a_websocket_are_a_secure_websocket() -> None:
    address = Address.parse("/dns4/relay.example.org/tcp/443/tls/ws")
    assert address.way == "wss"
    assert str(address) == "/dns/relay.example.org/tcp/443/wss"
