"""``bazaar init``: give an agent its keys and its settings."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bazaar_host import key_files
from bazaar_node import homes, outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_protocol.errors import ConfigError

PassphraseFile = Annotated[
    Path | None, Parameter(help="File with the passphrase; only you may be able to read it.")
]


def init(
    *,
    name: Annotated[str, Parameter(help="A name to show beside your key.")] = "",
    relay: Annotated[
        tuple[str, ...], Parameter(help="A relay's address; may be given again.")
    ] = (),
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[bool, Parameter(help="Leave the key files open.")] = False,
    common: Common = NO_OPTIONS,
) -> int:
    """Make a new agent: its key, its recovery key and its settings; nothing is overwritten.

    On a terminal it asks for a passphrase, unless you say --no-passphrase.
    """
    if passphrase_file is not None and no_passphrase:
        raise ConfigError("give --passphrase-file or --no-passphrase, not both")
    home = common.folder
    passphrase: bytes | None = None
    if passphrase_file is not None:
        passphrase = key_files.from_file(passphrase_file)()
    elif not no_passphrase and output.is_interactive():
        passphrase = key_files.from_terminal("New passphrase: ", confirm=True)()
    made = homes.create(home, name=name, relays=relay, passphrase=passphrase)
    if common.json:
        output.emit(made)
    else:
        output.show(made.agent)
    report(made, is_locked=passphrase is not None)
    output.suggest("bazaar up" if relay else "bazaar up --relay ADDR")
    return outcomes.OK


def report(made: homes.Made, *, is_locked: bool) -> None:
    """Say what was made, and what its owner should do about it."""
    output.say(f"made {made.key_file}: whoever has it is this agent")
    output.say(f"made {made.recovery_key_file}: move this offline; it alone can end a stolen key")
    output.say(f"made {made.settings_file}: every setting, explained")
    if not is_locked:
        output.say("The keys have no passphrase: whoever can read the files has them.")
