"""The folder of a node: what is made once, when an agent comes to be."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bazaar_host.addresses import Address
from bazaar_host.key_folder import new_keys
from bazaar_host.settings import FILE_NAME, render_toml
from bazaar_node import policy_settings
from bazaar_node.policy_settings import PolicySettings
from bazaar_node.settings import SECTION, FileSettings, NodeSettings
from bazaar_protocol import identity
from bazaar_protocol.errors import ConfigError

_HEADER = """\
# Settings of a bazaar node. Each line that begins with "# " and a name shows a default: remove
# the sign to change it. A flag wins over the environment (BAZAAR_NODE_SLOTS=8), and that over
# this file. No secret belongs here.

"""
_OFFERS = """
# What to offer whenever the node runs: one such table for each capability. The program reads the
# task as JSON on its standard input, and what it writes is the result; there is no shell.
# [[node.offers]]
# capability = "text.count"
# command = "./count.py"
# description = "Counts words"
# price = 5
# eta = "10s"
"""


class Made(msgspec.Struct, frozen=True):
    """What ``create`` made."""

    agent: str
    key_file: str
    recovery_key_file: str
    settings_file: str


def exists(home: Path) -> bool:
    """Tell whether an agent lives in ``home``."""
    return NodeSettings(home=home).keys.key_path.exists()


def create(home: Path, *, name: str, relays: Sequence[str], passphrase: bytes | None) -> Made:
    """Make an agent: its key, the recovery key that can end it, and its settings file.

    Raises:
        ConfigError: There is one already, an address is none, or the folder cannot be written.

    """
    for relay in relays:
        if Address.parse(relay).peer is None:
            raise ConfigError(f"{relay}: the address of a relay ends in /p2p/ and its peer id")
    paths = NodeSettings(home=home)
    settings_file = home / FILE_NAME
    for path in (paths.keys.key_path, paths.keys.recovery_key_path, settings_file):
        if path.exists():
            raise ConfigError(f"{path} exists already, and is left as it is; choose another --home")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings_file.write_text(_settings_text(name, relays), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{home}: {error.strerror or error}") from error
    # Last, since an agent exists once its key does.
    keys = new_keys()
    paths.keys.write(keys, new_keys(), passphrase)
    return Made(
        identity.to_did(keys.agent),
        str(paths.keys.key_path),
        str(paths.keys.recovery_key_path),
        str(settings_file),
    )


def _settings_text(name: str, relays: Sequence[str]) -> str:
    text = render_toml(FileSettings, SECTION)
    for field, value in (("name", name), ("relays", list(relays))):
        if value:
            shown = msgspec.json.encode(value).decode()
            text = text.replace(f"\n# {field} = ", f"\n{field} = {shown}  # default: ", 1)
    policy = render_toml(PolicySettings, policy_settings.SECTION)
    return f"{_HEADER}{text}\n# Whom the node deals with.\n{policy}{_OFFERS}"
