"""``bazaar relay info``: what a relay says about itself."""

import asyncio
import json
from pathlib import Path

import msgspec

from bazaar_protocol.untrusted import clean
from bazaar_relay.commands.common import NO_OPTIONS, Common, PassphraseFile, emit, passphrase_of

_VALUE_CHARS_MAX = 500


def info(
    address: str | None = None,
    *,
    passphrase_file: PassphraseFile = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Show the information document of a relay: the one at ADDRESS, or the one in --home.

    Of the one in --home also how things stand with its peers, while it runs.
    """
    # What the relay answers is a stranger's, but it was checked for its length.
    content = json.loads(_document(address, passphrase_file, common))
    peers = _peers(common) if address is None else []
    if common.json:
        emit(content | {"peers": peers} if address is None else content)
        return 0
    for name, value in content.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        print(f"{clean(name, _VALUE_CHARS_MAX)}: {clean(shown, _VALUE_CHARS_MAX)}")
    for peer in peers:
        shown = " ".join(f"{name}={value}" for name, value in peer.items() if name != "address")
        print(f"peer {peer['address']}: {clean(shown, _VALUE_CHARS_MAX)}")
    return 0


def _document(address: str | None, passphrase_file: Path | None, common: Common) -> bytes:
    # Imported here: each needs more than a short command should load for the other.
    if address is not None:
        from bazaar_relay.serving.process import fetch_information

        return asyncio.run(fetch_information(address))
    return _own_document(passphrase_file, common)


def _peers(common: Common) -> list[dict[str, object]]:
    """Return stage, lag and last trouble of each peer; nothing while the relay is not running."""
    from bazaar_protocol.errors import NotRunning
    from bazaar_relay import homes

    try:
        running = homes.find_running(homes.Home(common.folder))
    except NotRunning:
        return []
    return [msgspec.to_builtins(peer) for peer in running.peers]


def _own_document(passphrase_file: Path | None, common: Common) -> bytes:
    from bazaar_protocol.errors import NotRunning
    from bazaar_relay import homes, settings
    from bazaar_relay.serving import information

    home = homes.Home(common.folder)
    values = settings.load(common.folder, flags={}).values
    keys = home.keys.read(passphrase_of(passphrase_file))
    try:
        addresses = homes.find_running(home).addresses
    except NotRunning:
        addresses = ()
    return information.document(keys.agent, values.about(), values.policy(), addresses)
