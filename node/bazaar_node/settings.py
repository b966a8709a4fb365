"""What can be set about a node, and where its files are.

``FileSettings`` is the table ``[node]`` of ``bazaar.toml``, which ``bazaar init`` writes into the
node's home; a flag wins over the environment, that over ``./bazaar.toml``, that over the one in
the home, and that over the user's own. ``NodeSettings`` adds what no file says: where the home is,
and who knows the passphrase.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from bazaar_host import key_files, settings as host_settings
from bazaar_host.addresses import Address, check_each
from bazaar_host.key_files import Passphrase
from bazaar_host.key_folder import KeyFolder
from bazaar_host.local_network import LocalNetwork
from bazaar_host.settings import Loaded, Seconds, setting
from bazaar_node.api import api_socket
from bazaar_node.policy_settings import PolicySettings
from bazaar_node.service import OfferRequest
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError

SECTION: Final = "node"

_MS_PER_S: Final = 1000


class OfferSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table ``[[node.offers]]``: a capability that the node offers whenever it runs."""

    capability: str
    command: str | None = None
    description: str = ""
    price: Annotated[int, Meta(ge=0, le=limits.INTEGER_MAX)] = 0
    eta: Seconds = Seconds(60)
    confidence: Annotated[int, Meta(ge=0, le=10_000)] = 9_000
    input_schema: str = ""
    output_schema: str = ""
    media_type: str = "application/json"
    tags: tuple[str, ...] = ()

    def request(self) -> OfferRequest:
        """Return it as the node is asked for it."""
        return OfferRequest(
            capability=self.capability,
            command=self.command,
            description=self.description,
            price=self.price,
            eta_ms=round(self.eta * _MS_PER_S),
            confidence=self.confidence,
            input_schema=self.input_schema.encode(),
            output_schema=self.output_schema.encode(),
            media_type=self.media_type,
            tags=self.tags,
        )


@dataclass(frozen=True, slots=True)
class FileSettings:
    """The table ``[node]`` of ``bazaar.toml``."""

    name: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)] = setting(
        "", "A name to show beside the key. It proves nothing: anyone may take the same one."
    )
    relays: list[str] = setting(
        [],
        "The relays to trade through, as multiaddrs that end in /p2p/ID: "
        '["/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW..."]',
    )
    pow_bits_max: Annotated[int, Meta(ge=0, le=limits.WORK_BITS_MAX)] = setting(
        limits.WORK_BITS_DONE_MAX,
        "The most work that is done for a relay which asks for it before it takes anything, in "
        "bits: 20 are a second or two of one core, and each more doubles it.",
    )
    listen: list[str] = setting(
        ["/ip4/127.0.0.1/tcp/0"],
        "Where other nodes fetch large inputs and results from; port 0 means any. With [] the node "
        "listens nowhere, and they fetch through a relay, encrypted from end to end.",
    )
    announce: list[str] = setting(
        [], "The addresses to tell others, if they differ from where the node listens."
    )
    mdns: bool = setting(
        False,
        "Whether to use relays as well that announce themselves on the local network, by "
        "multicast DNS. Anybody there may announce one; none is trusted more for it.",
    )
    mdns_interfaces: list[str] = setting(
        [], "The IPv4 addresses of the interfaces on which to look; none for all of them."
    )
    slots: Annotated[int, Meta(ge=0, le=1024)] = setting(
        4, "How many tasks to work on at once; 0 means none, for now."
    )
    price_min: Annotated[int, Meta(ge=0, le=limits.INTEGER_MAX)] = setting(
        0, "Do no task that pays less."
    )
    blob_bytes_max: Annotated[int, Meta(ge=limits.MIB)] = setting(
        4 * 1024 * limits.MIB, "How much room inputs and results may take on the disk, in bytes."
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "What to log: debug, info, warning or error."
    )
    log_format: Literal["auto", "human", "json"] = setting(
        "auto", "auto, human or json; auto means lines for people on a terminal, else JSON."
    )
    offers: list[OfferSettings] = setting(
        [],
        "What to offer; better written as tables, at the end of the file. "
        "See [[node.offers]] below.",
    )


@dataclass(frozen=True, slots=True)
class NodeSettings(FileSettings):
    """Everything that ``run_node`` has to know."""

    home: Path = Path()
    """The folder that holds all the node has: its keys, its database, its blobs, its socket."""
    passphrase_file: Path | None = None
    """Where the passphrase of a locked key is; asked for on the terminal if it is nowhere."""
    policy: PolicySettings = dataclasses.field(default_factory=PolicySettings)
    """Whom the node deals with."""

    def passphrase(self) -> Passphrase:
        """Return where the passphrase of the key comes from, if it needs one."""
        if self.passphrase_file is None:
            return key_files.from_terminal()
        return key_files.from_file(self.passphrase_file)

    @property
    def keys(self) -> KeyFolder:
        """The files with its keys."""
        return KeyFolder(self.home, "node", "bazaar init")

    @property
    def database_path(self) -> Path:
        """The database."""
        return self.home / "node.sqlite3"

    @property
    def blobs_path(self) -> Path:
        """The folder of inputs and results."""
        return self.home / "blobs"

    @property
    def socket_path(self) -> Path:
        """The Unix socket on which the node answers its owner."""
        return self.home / api_socket.NAME


AnySettings = TypeVar("AnySettings", bound=FileSettings)


def load(
    home: Path, *, flags: Mapping[str, object], environ: Mapping[str, str] = os.environ
) -> Loaded[FileSettings]:
    """Gather the settings of the node in ``home``, and where each comes from.

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
    _check_offers(loaded.values.offers)
    _check_places(loaded.values)
    return loaded


def at_home(
    values: FileSettings,
    home: Path,
    *,
    passphrase_file: Path | None,
    policy: PolicySettings | None = None,
) -> NodeSettings:
    """Return the settings ``values`` for the node in ``home``."""
    fields = {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
    return NodeSettings(
        **fields,
        home=home,
        passphrase_file=passphrase_file,
        policy=PolicySettings() if policy is None else policy,
    )


def with_offers(values: AnySettings, offers: Sequence[OfferSettings]) -> AnySettings:
    """Return ``values`` with ``offers`` added; one of the same capability is replaced."""
    said = {offer.capability: offer for offer in [*values.offers, *offers]}
    return dataclasses.replace(values, offers=list(said.values()))


def _check_places(values: FileSettings) -> None:
    check_each("listen", values.listen, Address.parse_place)
    check_each("announce", values.announce, Address.parse)
    check_each("relays", values.relays, Address.parse)
    LocalNetwork(values.mdns_interfaces)


def _check_offers(offers: list[OfferSettings]) -> None:
    seen: set[str] = set()
    for offer in offers:
        if offer.capability in seen:
            raise ConfigError(f"[[node.offers]]: {offer.capability} is offered twice")
        seen.add(offer.capability)
