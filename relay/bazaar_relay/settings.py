"""What can be set about a relay, and where its files are.

``FileSettings`` is the table ``[relay]`` of ``bazaar.toml``; a flag wins over the environment, that
over ``./bazaar.toml``, that over the one in the relay's home, and that over the user's own.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from bazaar_host import settings as host_settings
from bazaar_host.addresses import Address
from bazaar_host.settings import Loaded, setting
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId, parse_agent
from bazaar_relay.machine.admission import Policy
from bazaar_relay.serving.information import About

SECTION: Final = "relay"
OFF: Final = "off"
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
        "Where nodes dial; port 0 means any. /ip4/0.0.0.0/tcp/4001 serves everyone.",
    )
    announce: list[str] = setting(
        [], "The addresses to tell others, if they differ from where the relay listens."
    )
    http: str = setting(
        OFF, "HOST:PORT for the information document, health and metrics over HTTP; or off."
    )
    records_per_s: Annotated[int, Meta(ge=1, le=1_000_000)] = setting(
        limits.RECORDS_PER_S_MAX, "How many records a second each identity may publish."
    )
    bytes_per_s: Annotated[int, Meta(ge=limits.KIB, le=1024 * limits.MIB)] = setting(
        limits.BYTES_PER_S_MAX, "How many bytes of records and letters a second each may send."
    )
    blocked: list[str] = setting([], "Identities that are not served, as did:key or peer id.")
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "What to log: debug, info, warning or error."
    )
    log_format: Literal["auto", "human", "json"] = setting(
        "auto", "auto, human or json; auto means lines for people on a terminal, else JSON."
    )

    def policy(self) -> Policy:
        """Return what the operator decided about admission.

        Raises:
            ConfigError: A blocked identity is none.

        """
        blocked = frozenset(map(parse_agent, self.blocked))
        return Policy(self.records_per_s, self.bytes_per_s, blocked)

    def about(self) -> About:
        """Return what the relay says about itself."""
        return About(self.name, self.description, self.contact)

    def addresses(self, relay: AgentId, listening: Sequence[str]) -> list[str]:
        """Return the addresses to tell others, each with the relay's identity.

        Raises:
            ConfigError: One of them is said to be another peer's.

        """
        told: list[str] = []
        for text in self.announce or listening:
            address = Address.parse(text)
            if address.peer not in (None, relay):
                raise ConfigError(f"--announce names another peer: {text}")
            told.append(str(replace(address, peer=relay)))
        return told

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
        for address in (*self.listen, *self.announce):
            Address.parse(address)
        self.policy()
        self.http_place()


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds all the relay has."""

    folder: Path

    @property
    def key_path(self) -> Path:
        """The file with the key that signs."""
        return self.folder / "relay.key"

    @property
    def recovery_key_path(self) -> Path:
        """The file with the key that can end this identity; it is meant to be moved away."""
        return self.folder / "recovery.key"

    @property
    def recovery_public_path(self) -> Path:
        """The file with the recovery key's public half, for the first record of the log."""
        return self.folder / "recovery.pub"

    @property
    def database_path(self) -> Path:
        """The database."""
        return self.folder / "relay.sqlite3"

    @property
    def running_path(self) -> Path:
        """What a running relay says of itself to the other commands."""
        return self.folder / "running.json"


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
    return loaded
