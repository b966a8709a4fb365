"""Relays on the local network, by multicast DNS (RFC 6762) and service discovery (RFC 6763).

A relay that is told to announces ``<its peer id>._bazaar-relay._tcp.local`` with its addresses in
the text record; a node that is told to looks for these. Whoever is on the network can announce
anything, so what is found is an address to dial like any other: the handshake proves who answers,
and nothing is believed because it came from near. Only addresses of local networks count, so
nobody near can have us dial somebody far away.

``zeroconf`` takes a tenth of a second to import, so it is imported when it is needed, and all of
this runs beside the start of a program, never before it.
"""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bazaar_host.addresses import Address
from bazaar_host.logs import logger
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, MalformedRecord
from bazaar_protocol.identity import AgentId, parse_agent, to_peer_id

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

SERVICE: Final = "_bazaar-relay._tcp.local."
RETRY_S: Final = 60.0
"""After which it is tried again when the network does not let us."""
LOOK_S: Final = 30.0
"""How often an announcer looks whether its addresses have changed."""

_VERSION: Final = b"1"
_RESOLVE_MS: Final = 3000
_SEPARATOR: Final = "."

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A relay that somebody on the network says is there."""

    agent: AgentId
    addresses: tuple[str, ...]
    """Each ends in its ``/p2p/…``."""


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """The interfaces on which to announce and to look.

    Args:
        interfaces: Their IP addresses; none for all of them.

    Raises:
        ConfigError: One of them is no IP address of version 4.

    """

    interfaces: Sequence[str] = ()

    def __post_init__(self) -> None:
        for text in self.interfaces:
            try:
                ipaddress.IPv4Address(text)
            except ValueError as error:
                raise ConfigError(f"mdns_interfaces: not an IPv4 address: {text!r}") from error

    @property
    def is_this_machine(self) -> bool:
        """Whether nothing leaves this machine."""
        ips = map(ipaddress.ip_address, self.interfaces)
        return bool(self.interfaces) and all(ip.is_loopback for ip in ips)

    async def announce(self, agent: AgentId, addresses: Callable[[], Sequence[str]]) -> None:
        """Announce a relay until cancelled, wherever ``addresses`` says that it is by then."""
        while True:
            try:
                async with self._opened() as network:
                    await self._announce(network, agent, addresses)
            except _trouble() as error:
                log.warning("not announced on the local network", trouble=str(error))
            await asyncio.sleep(RETRY_S)

    async def find(self, on_found: Callable[[Found], None]) -> None:
        """Look for relays until cancelled, and tell of each; of one that moves again."""
        while True:
            try:
                async with self._opened() as network:
                    await _Search(self, network, on_found).run()
            except _trouble() as error:
                log.warning("not looking on the local network", trouble=str(error))
            await asyncio.sleep(RETRY_S)

    def read(self, name: str, text: Mapping[bytes, bytes | None]) -> Found:
        """Return what a stranger announces.

        Raises:
            MalformedRecord: It is not what a relay announces, or leads away from here.

        """
        try:
            agent = parse_agent(name.removesuffix(_SEPARATOR + SERVICE))
            if text.get(b"v") != _VERSION:
                raise MalformedRecord("of another version")
            values = [text.get(_key(number)) for number in range(limits.RELAY_PLACES_FOUND_MAX)]
            places = [Address.parse(value.decode("ascii")) for value in values if value is not None]
        except (ConfigError, UnicodeDecodeError) as error:
            raise MalformedRecord(str(error)) from error
        if not places or not all(map(self._is_near, places)):
            raise MalformedRecord("it has no address, or one that is not of a local network")
        return Found(agent, tuple(str(replace(place, peer=agent)) for place in places))

    def _is_near(self, place: Address) -> bool:
        try:
            ip = ipaddress.ip_address(place.host)
        except ValueError:
            return False  # a name may lead anywhere
        if ip.is_unspecified or ip.is_link_local or ip.is_multicast:
            return False
        # Ours alone: nobody on the network has a reason to send us there.
        return ip.is_private and ip.is_loopback == self.is_this_machine

    @asynccontextmanager
    async def _opened(self) -> "AsyncGenerator[AsyncZeroconf]":
        from zeroconf import InterfaceChoice, IPVersion
        from zeroconf.asyncio import AsyncZeroconf

        chosen = list(self.interfaces) or InterfaceChoice.All
        network = AsyncZeroconf(interfaces=chosen, ip_version=IPVersion.V4Only)
        try:
            yield network
        finally:
            await network.async_close()

    async def _announce(
        self, network: "AsyncZeroconf", agent: AgentId, addresses: Callable[[], Sequence[str]]
    ) -> None:
        told: AsyncServiceInfo | None = None
        while True:
            info = self._service(agent, addresses())
            if told is None and info is not None:
                await (await network.async_register_service(info))
            elif told is not None and info is None:
                await (await network.async_unregister_service(told))
            elif info is not None and told is not None and info.text != told.text:
                await (await network.async_update_service(info))
            told = info
            await asyncio.sleep(LOOK_S)

    def _service(self, agent: AgentId, addresses: Sequence[str]) -> "AsyncServiceInfo | None":
        from zeroconf.asyncio import AsyncServiceInfo

        near = [place for place in map(Address.parse, addresses) if self._is_near(place)]
        near = near[: limits.RELAY_PLACES_FOUND_MAX]
        if not near:
            return None
        text = {_key(number): str(replace(place, peer=None)) for number, place in enumerate(near)}
        name = to_peer_id(agent)
        return AsyncServiceInfo(
            SERVICE,
            f"{name}{_SEPARATOR}{SERVICE}",
            port=near[0].port,
            properties={b"v": _VERSION, **text},
            server=f"{name}.local.",
            parsed_addresses=list(dict.fromkeys(place.host for place in near)),
        )


class _Search:
    """Resolves the names that turn up, a few at a time."""

    def __init__(
        self, where: LocalNetwork, network: "AsyncZeroconf", on_found: Callable[[Found], None]
    ) -> None:
        self._where = where
        self._network = network
        self._on_found = on_found
        self._names: asyncio.Queue[str] = asyncio.Queue(limits.RELAY_NAMES_WAITING_MAX)

    async def run(self) -> None:
        from zeroconf import Error
        from zeroconf.asyncio import AsyncServiceBrowser

        zeroconf = self._network.zeroconf
        browser = AsyncServiceBrowser(zeroconf, [SERVICE], handlers=[self._on_change])
        try:
            while True:
                name = await self._names.get()
                try:
                    await self._resolve(name)
                except (Error, MalformedRecord) as error:
                    log.debug("something else is announced", trouble=str(error))
        finally:
            await browser.async_cancel()

    async def _resolve(self, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE, name)
        if await info.async_request(self._network.zeroconf, _RESOLVE_MS):
            self._on_found(self._where.read(name, info.properties))

    def _on_change(
        self,
        zeroconf: "Zeroconf",
        service_type: str,
        name: str,
        state_change: "ServiceStateChange",
    ) -> None:
        del zeroconf, service_type
        # Names that nobody could give a relay are not even asked about.
        if state_change.name != "Removed" and len(name) <= _NAME_CHARS_MAX:
            try:
                self._names.put_nowait(name)
            except asyncio.QueueFull:  # somebody floods us; an honest relay announces itself again
                log.debug("too many names on the local network")


_NAME_CHARS_MAX: Final = 80 + len(SERVICE)


def _key(number: int) -> bytes:
    return b"a%d" % number


def _trouble() -> tuple[type[Exception], ...]:
    from zeroconf import Error

    return (OSError, Error)
