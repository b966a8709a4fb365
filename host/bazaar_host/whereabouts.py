"""Where others can dial us: what they are told, which changes as interfaces come and go.

A program that listens everywhere listens on an address for each interface, and only those mean
anything to others. What an operator says wins over all that we find out ourselves.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import ifaddr

from bazaar_host.addresses import Address
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId

Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Interfaces: TypeAlias = Callable[[], Sequence[str]]
"""Returns the IP addresses of this machine."""

LOOK_S: Final = 30.0
"""How often the interfaces are looked at."""


def local_ips() -> list[str]:
    """Return the IP addresses of this machine, as the system lists its interfaces.

    Raises:
        ConfigError: The system does not say.

    """
    try:
        ips = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    except OSError as error:
        raise ConfigError(f"cannot list the interfaces ({error}); set announce") from error
    # One of version 6 comes with its flow and its scope.
    return [ip if isinstance(ip, str) else ip[0] for ip in ips]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where somebody can be dialed.

    Args:
        agent: Who.
        listening: The addresses on which we listen.
        announce: What to tell others instead, if anything.
        tells_loopback: Whether addresses that mean something on this machine alone are told, too.
        interfaces: Looks at the system.

    """

    agent: AgentId
    listening: Sequence[str]
    announce: Sequence[str] = ()
    tells_loopback: bool = True
    interfaces: Interfaces = local_ips

    @property
    def may_change(self) -> bool:
        """Whether it is worth looking again."""
        return not self.announce and any(map(_is_everywhere, self.listening))

    def addresses(self) -> tuple[str, ...]:
        """Return what others are told now, the addresses with the widest reach first.

        Raises:
            ConfigError: An address that was to be announced is none, or another's; or the system
                does not list its interfaces.

        """
        if self.announce:
            return tuple(self._named(text) for text in self.announce)
        found: list[str] = []
        for text in self.listening:
            found += self._expanded(text) if _is_everywhere(text) else [text]
        told = [text for text in found if self.tells_loopback or not is_loopback(text)]
        return tuple(sorted(dict.fromkeys(told), key=_reach)[: limits.ADDRESSES_MAX])

    async def follow(self, on_change: Callable[[tuple[str, ...]], None]) -> None:
        """Look now and then until cancelled, and tell of each change."""
        known = self.addresses()
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                found = self.addresses()
            except ConfigError:  # perhaps it does the next time
                continue
            if found != known:
                known = found
                on_change(found)

    def _named(self, text: str) -> str:
        address = Address.parse(text)
        if address.peer not in (None, self.agent):
            raise ConfigError(f"--announce names another peer: {text}")
        return str(replace(address, peer=self.agent))

    def _expanded(self, text: str) -> list[str]:
        place = Address.parse(text)
        version = ipaddress.ip_address(place.host).version
        ips = [ip for ip in map(ipaddress.ip_address, self.interfaces()) if ip.version == version]
        usable = [ip for ip in ips if _is_usable(ip)]
        # Whoever is on this machine reaches its other addresses as well.
        beyond = [ip for ip in usable if not ip.is_loopback]
        return [str(replace(place, host=str(ip))) for ip in beyond or usable]


def is_loopback(text: str) -> bool:
    """Tell whether an address leads back to the machine that dials it."""
    host = _host(text)
    if host == "localhost":
        return True
    ip = _ip(host)
    return ip is not None and ip.is_loopback


def _is_everywhere(text: str) -> bool:
    ip = _ip(_host(text))
    return ip is not None and ip.is_unspecified


def _is_usable(ip: Ip) -> bool:
    # What is local to a link means nothing without the interface's name.
    return not (ip.is_link_local or ip.is_multicast or ip.is_unspecified)


def _reach(text: str) -> int:
    ip = _ip(_host(text))
    if ip is None or ip.is_global:
        return 0
    return 2 if ip.is_loopback else 1


def _host(text: str) -> str:
    try:
        return Address.parse(text).host
    except ConfigError:  # of a transport that knows no hosts
        return ""


def _ip(host: str) -> Ip | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
