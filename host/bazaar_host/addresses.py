"""The multiaddrs that we listen on and dial: ``/ip4|ip6|dns|…/HOST/tcp/PORT[/ws|/wss][/p2p/ID]``.

Peers advertise them, so parsing is strict: what does not fit is refused before a socket is opened.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, Self

from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId, parse_agent, to_peer_id

_PORT_MAX: Final = 65_535
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_NAMES: Final = ("dns", "dns4", "dns6")

Way = Literal["", "ws", "wss"]
"""Plain TCP, a WebSocket, or one inside TLS."""

_WAYS: Final[dict[tuple[str, ...], Way]] = {
    (): "", ("ws",): "ws", ("wss",): "wss", ("tls", "ws"): "wss",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """Where a program listens, and perhaps who it has to be."""

    host: str
    port: int
    peer: AgentId | None = None
    way: Way = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a multiaddr.

        Raises:
            ConfigError: It is not one that we can use.

        """
        if len(text) > limits.ADDRESS_CHARS_MAX:
            raise ConfigError(f"an address has at most {limits.ADDRESS_CHARS_MAX} characters")
        parts = text.split("/")
        peer: AgentId | None = None
        if parts[-2:-1] == ["p2p"]:
            peer = parse_agent(parts[-1])
            del parts[-2:]
        match parts:
            case ["", kind, host, "tcp", port, *way] if tuple(way) in _WAYS:
                return cls(_host(kind, host), _port(port), peer, _WAYS[tuple(way)])
            case _:
                raise ConfigError(
                    "not an address like /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW… or "
                    f"/dns4/example.org/tcp/443/wss/p2p/12D3KooW…: {text!r}"
                )

    @classmethod
    def parse_place(cls, text: str) -> Self:
        """Read a multiaddr to listen on.

        Raises:
            ConfigError: It is not one that we can listen on.

        """
        place = cls.parse(text)
        if place.way == "wss":
            raise ConfigError(
                f"TLS is the work of a reverse proxy: listen on …/ws behind it, and announce {text}"
            )
        return place

    def __str__(self) -> str:
        kind = "ip6" if ":" in self.host else "ip4" if _is_ip(self.host) else "dns"
        way = f"/{self.way}" if self.way else ""
        suffix = "" if self.peer is None else f"/p2p/{to_peer_id(self.peer)}"
        return f"/{kind}/{self.host}/tcp/{self.port}{way}{suffix}"


def check_each(name: str, texts: Iterable[str], read: Callable[[str], Address]) -> None:
    """Check the addresses of a setting.

    Raises:
        ConfigError: One of them is none; the text says which setting it is.

    """
    for text in texts:
        try:
            read(text)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error


def _host(kind: str, host: str) -> str:
    try:
        match kind:
            case "ip4":
                return str(ipaddress.IPv4Address(host))
            case "ip6":
                return str(ipaddress.IPv6Address(host))
            case _ if kind in _NAMES and _HOST_NAME.fullmatch(host):
                return host
            case _:
                raise ConfigError(f"not a host that we can dial: /{kind}/{host}")
    except ValueError as error:
        raise ConfigError(f"not an {kind} address: {host!r}") from error


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_PORT_MAX)):
        raise ConfigError(f"not a port: {text!r}")
    port = int(text)
    if port > _PORT_MAX:
        raise ConfigError(f"a port is at most {_PORT_MAX}, not {port}")
    return port


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
