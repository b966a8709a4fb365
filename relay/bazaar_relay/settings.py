"""What can be set about a relay.

``FileSettings`` is the table ``[relay]`` of ``bazaar.toml``; a flag wins over the environment, that
over ``./bazaar.toml``, that over the one in the relay's home, and that over the user's own.
"""

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from bazaar_host import settings as host_settings
from bazaar_host.addresses import Address, check_each
from bazaar_host.admission import ConnectionLimits
from bazaar_host.local_network import LocalNetwork
from bazaar_host.settings import Loaded, setting
from bazaar_host.whereabouts import Whereabouts
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId, parse_agent
from bazaar_relay.homes import Home
from bazaar_relay.lists import NO_LISTS, Lists
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.carrying import LinkPolicy
from bazaar_relay.machine.difficulty import WorkPolicy
from bazaar_relay.machine.retention import DAYS_MAX, DAYS_MIN, DAYS_USUAL, Retention, parse_days
from bazaar_relay.serving.information import About
from bazaar_relay.storage.postgres_address import check_address

SECTION: Final = "relay"
OFF: Final = "off"
SQLITE: Final = "sqlite"
_PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class FileSettings:
    """The table ``[relay]`` of ``bazaar.toml``."""

    name: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)] = setting(
        "", "A name to show beside the key. It proves nothing."
    )
    description: Annotated[str, Meta(max_length=1024)] = setting("", "What the relay is for.")
    contact: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)] = setting(
        "", "How people reach whoever runs it."
    )
    listen: list[str] = setting(
        ["/ip4/127.0.0.1/tcp/4001"],
        "Where nodes dial; port 0 means any. /ip4/0.0.0.0/tcp/4001 serves everyone, and with "
        "/ws at its end, as /ip4/127.0.0.1/tcp/4002/ws, a reverse proxy that passes on WebSockets.",
    )
    announce: list[str] = setting(
        [], "The addresses to tell others, if they differ from where the relay listens."
    )
    mdns: bool = setting(
        False,
        "Whether to announce the relay on the local network, by multicast DNS, to nodes that look.",
    )
    mdns_interfaces: list[str] = setting(
        [], "The IPv4 addresses of the interfaces on which that is done; none for all of them."
    )
    http: str = setting(
        OFF, "HOST:PORT for the information document, health and metrics over HTTP; or off."
    )
    store: str = setting(
        SQLITE,
        "Where records are kept: sqlite, which is a file beside this one, or the address of a "
        "PostgreSQL database, as postgresql://user@host/database. Several relays with one key may "
        "share that, each in a home of its own. The password comes from PGPASSFILE or ~/.pgpass.",
    )
    keep_days: Annotated[int, Meta(ge=DAYS_MIN, le=DAYS_MAX)] = setting(
        DAYS_USUAL,
        "For how many days records stay that are no entries of logs, which stay for ever. Adverts "
        "and heartbeats stay as long as they mean something, posts so much longer than they last.",
    )
    keep_days_of: list[str] = setting([], "Other numbers for some kinds, as bid=31 or stamp=400.")
    records_per_s: Annotated[int, Meta(ge=1, le=1_000_000)] = setting(
        limits.RECORDS_PER_S_MAX, "How many records a second each identity may publish."
    )
    bytes_per_s: Annotated[int, Meta(ge=limits.KIB, le=1024 * limits.MIB)] = setting(
        limits.BYTES_PER_S_MAX, "How many bytes of records and letters a second each may send."
    )
    bytes_per_day: Annotated[int, Meta(ge=0)] = setting(
        0, "How many bytes of records are kept of each author in a day; 0 for any amount."
    )
    open_posts: Annotated[int, Meta(ge=1, le=limits.POSTS_OPEN_PER_AGENT_MAX)] = setting(
        limits.POSTS_OPEN_PER_AGENT_MAX, "How many posts of each author may be open at a time."
    )
    links: Annotated[int, Meta(ge=1, le=limits.LINKS_PER_AGENT_MAX)] = setting(
        limits.LINKS_PER_AGENT_MAX, "How many links each identity may have; the newest ones stay."
    )
    subscriptions: Annotated[int, Meta(ge=1, le=limits.LINKS_PER_AGENT_MAX)] = setting(
        limits.LINKS_PER_AGENT_MAX, "How many of them may hold a subscription."
    )
    newcomer_percent: Annotated[int, Meta(ge=1, le=100)] = setting(
        100,
        "How much of the bounds above an identity has at first. It has all of them when its log "
        "has grown_entries here; 10 is good for a relay that everyone may use.",
    )
    grown_entries: Annotated[int, Meta(ge=1, le=1_000_000)] = setting(
        1000, "With so many entries of its log here an identity is known, and needs no stamp."
    )
    address_records_per_s: Annotated[int, Meta(ge=1, le=10_000_000)] = setting(
        limits.ADDRESS_RECORDS_PER_S_MAX,
        "How many records a second may come from one address (of IPv6: from one /64).",
    )
    address_bytes_per_s: Annotated[int, Meta(ge=limits.KIB, le=10_240 * limits.MIB)] = setting(
        limits.ADDRESS_BYTES_PER_S_MAX, "How many bytes of records and letters likewise."
    )
    address_connections: Annotated[int, Meta(ge=1, le=limits.CONNECTIONS_MAX)] = setting(
        limits.CONNECTIONS_PER_ADDRESS_MAX, "How many connections one address may have."
    )
    connections: Annotated[int, Meta(ge=1, le=limits.CONNECTIONS_MAX)] = setting(
        limits.CONNECTIONS_MAX, "How many connections there may be altogether."
    )
    proxies: list[str] = setting(
        [],
        "The addresses of your own reverse proxies, as 127.0.0.1: what they write at the end of "
        "X-Forwarded-For is taken for the address that a node comes from. Never name others.",
    )
    pow_bits: Annotated[int, Meta(ge=0, le=limits.WORK_BITS_MAX)] = setting(
        0,
        "The proof of work that an identity has to show before it may write here, in bits: each "
        "doubles it, and 20 take a core a second or two. 0 asks for none, which is for a relay "
        "among people who know each other; set 18 to 22 where strangers come.",
    )
    pow_bits_max: Annotated[int, Meta(ge=0, le=limits.WORK_BITS_MAX)] = setting(
        24, "Up to where that rises while strangers are most of the load."
    )
    pow_days: Annotated[int, Meta(ge=1, le=30)] = setting(
        7, "For how many days a proof of work is good."
    )
    free_per_minute: Annotated[int, Meta(ge=0, le=60)] = setting(
        1, "What each identity may write in a minute without any, while there is room."
    )
    free_per_s: Annotated[int, Meta(ge=0, le=10_000)] = setting(
        10, "What all of those together may write in a second."
    )
    relayed_links: Annotated[int, Meta(ge=0, le=limits.RELAYED_LINKS_PER_AGENT_MAX)] = setting(
        LinkPolicy.links,
        "How many relayed links each identity may have, by which nodes that can only dial out "
        "fetch large results from each other, encrypted from end to end; 0 carries none.",
    )
    relayed_links_all: Annotated[int, Meta(ge=1, le=limits.RELAYED_LINKS_MAX)] = setting(
        LinkPolicy.links_all, "How many of these there may be altogether."
    )
    relayed_bytes_per_s: Annotated[int, Meta(ge=64 * limits.KIB, le=1024 * limits.MIB)] = setting(
        LinkPolicy.bytes_per_s,
        "How many bytes a second are carried for each identity, on the links that it opened.",
    )
    relayed_bytes_per_s_all: Annotated[int, Meta(ge=64 * limits.KIB, le=1024 * limits.MIB)] = (
        setting(LinkPolicy.bytes_per_s_all, "How many for all together.")
    )
    relayed_bytes_per_day: Annotated[int, Meta(ge=0)] = setting(
        LinkPolicy.bytes_per_day, "How many in a day for each identity; 0 for any amount."
    )
    relayed_minutes: Annotated[int, Meta(ge=1, le=24 * 60)] = setting(
        LinkPolicy.minutes, "After how many minutes such a link ends; nodes go on with a new one."
    )
    blocked: list[str] = setting(
        [],
        "Identities that are not served, as did:key or peer id; beside those in blocked.txt, "
        "which bazaar relay block writes.",
    )
    allowed: list[str] = setting(
        [],
        "Identities that have all bounds at once and need no proof of work; beside those in "
        "allowed.txt, one on each line.",
    )
    only_allowed: bool = setting(False, "Whether nobody else is served.")
    peers: list[str] = setting(
        [],
        "Relays to follow, /ip4/192.0.2.2/tcp/4001/p2p/12D3KooW... each: what they have, this one "
        "pulls and checks. Each of two has all from the other if each is the other's peer.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "What to log: debug, info, warning or error."
    )
    log_format: Literal["auto", "human", "json"] = setting(
        "auto", "auto, human or json; auto means lines for people on a terminal, else JSON."
    )

    def policy(self, lists: Lists = NO_LISTS) -> Policy:
        """Return what the operator decided about admission, here and in the lists.

        Raises:
            ConfigError: A blocked or an allowed identity is none.

        """
        return Policy(
            records_per_s=self.records_per_s,
            bytes_per_s=self.bytes_per_s,
            blocked=lists.blocked | _agents("blocked", self.blocked),
            peers=frozenset(map(_peer, self.peers)),
            allowed=lists.allowed | _agents("allowed", self.allowed),
            only_allowed=self.only_allowed,
            bytes_per_day=self.bytes_per_day,
            links=self.links,
            subscriptions=self.subscriptions,
            open_posts=self.open_posts,
            address_records_per_s=self.address_records_per_s,
            address_bytes_per_s=self.address_bytes_per_s,
            newcomer_percent=self.newcomer_percent,
            grown_entries=self.grown_entries,
            retention=Retention(self.keep_days, parse_days(self.keep_days_of)),
            work=WorkPolicy(
                self.pow_bits,
                self.pow_bits_max,
                self.pow_days,
                self.free_per_minute,
                self.free_per_s,
            ),
            carrying=LinkPolicy(
                links=self.relayed_links,
                links_all=self.relayed_links_all,
                bytes_per_s=self.relayed_bytes_per_s,
                bytes_per_s_all=self.relayed_bytes_per_s_all,
                bytes_per_day=self.relayed_bytes_per_day,
                minutes=self.relayed_minutes,
            ),
        )

    def connection_limits(self) -> ConnectionLimits:
        """Return what the operator decided about connections."""
        return ConnectionLimits(
            per_address_max=self.address_connections,
            total_max=self.connections,
            proxies=frozenset(map(_ip, self.proxies)),
        )

    def about(self) -> About:
        """Return what the relay says about itself."""
        return About(self.name, self.description, self.contact)

    def whereabouts(self, relay: AgentId, listening: Sequence[str]) -> Whereabouts:
        """Return where the relay can be dialed.

        Raises:
            ConfigError: What is announced is no address, or said to be another peer's.

        """
        place = Whereabouts(relay, listening, self.announce)
        place.addresses()
        return place

    def http_place(self) -> tuple[str, int] | None:
        """Return where to serve HTTP, if anywhere.

        Raises:
            ConfigError: It is no place.

        """
        if self.http == OFF:
            return None
        host, _, port = self.http.rpartition(":")
        if not host or not port.isdecimal() or int(port) > _PORT_MAX:
            raise ConfigError(f"--http is HOST:PORT, as 127.0.0.1:8001, or off; not {self.http!r}")
        return host.strip("[]"), int(port)

    def check(self) -> None:
        """Refuse what cannot work, before anything is opened.

        Raises:
            ConfigError: A setting is wrong.

        """
        if not self.listen:
            raise ConfigError("a relay listens somewhere: give --listen")
        check_each("listen", self.listen, Address.parse_place)
        check_each("announce", self.announce, Address.parse)
        self.connection_limits()
        LocalNetwork(self.mdns_interfaces)
        self.policy()
        self.http_place()
        if self.store != SQLITE:
            check_address(self.store)
        self.check_peers()
        if self.pow_bits_max < self.pow_bits:
            raise ConfigError(
                f"pow_bits_max is {self.pow_bits_max}, and must be at least pow_bits, which is "
                f"{self.pow_bits}"
            )

    def check_peers(self, relay: AgentId | None = None) -> None:
        """Refuse peers that cannot be followed; ``relay`` is who follows them, where that is known.

        Raises:
            ConfigError: They are too many, one is there twice, or one is the relay itself.

        """
        agents = list(map(_peer, self.peers))
        if relay in agents:
            raise ConfigError("peers: this relay itself is among them")
        if len(agents) > limits.PEERS_MAX:
            raise ConfigError(f"peers: at most {limits.PEERS_MAX}, not {len(agents)}")
        if len(set(agents)) < len(agents):
            raise ConfigError("peers: one of them is there twice")


def load(
    home: Path, *, flags: Mapping[str, object], environ: Mapping[str, str] = os.environ
) -> Loaded[FileSettings]:
    """Gather and check the settings of the relay in ``home``, and where each comes from.

    Raises:
        ConfigError: One of them is unknown or wrong.

    """
    loaded = host_settings.load(
        FileSettings,
        section=SECTION,
        flags=flags,
        environ=environ,
        files=host_settings.files(home),
    )
    loaded.values.check()
    Home(home).lists()
    return loaded


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ConfigError(f"proxies: not an IP address: {text!r}") from error


def _peer(text: str) -> AgentId:
    try:
        agent = Address.parse(text).peer
    except ConfigError as error:
        raise ConfigError(f"peers: {error}") from error
    if agent is None:
        raise ConfigError(f"peers: the address of a peer ends in /p2p/ and its peer id; not {text}")
    return agent


def _agents(name: str, texts: Sequence[str]) -> frozenset[AgentId]:
    try:
        return frozenset(map(parse_agent, texts))
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
