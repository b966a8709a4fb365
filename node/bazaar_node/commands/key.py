"""``bazaar key``: the keys that make the node this agent."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bazaar_host import key_files
from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.init import PassphraseFile
from bazaar_node.settings import NodeSettings
from bazaar_protocol import identity

app = App(
    name="key",
    help="Show the node's keys, or back them up.",
    help_epilogue="Example: bazaar key show",
)


@app.command(help_epilogue="Example: bazaar key show --json")
def show(*, passphrase_file: PassphraseFile = None, common: Common = NO_OPTIONS) -> int:
    """Show who this node is; the secret half is not shown."""
    paths = NodeSettings(home=common.folder, passphrase_file=passphrase_file)
    keys = key_files.read(paths.key_path, paths.passphrase())
    is_away = not paths.recovery_key_path.exists()
    facts = {
        "agent": identity.to_did(keys.agent),
        "peer_id": identity.to_peer_id(keys.agent),
        "key_file": str(paths.key_path),
        "recovery_key_is_away": is_away,
    }
    if common.json:
        output.emit(facts)
    else:
        output.facts([(name.replace("_", " "), str(value)) for name, value in facts.items()])
    if not is_away:
        output.say(f"{paths.recovery_key_path} is still here: move this offline")
    output.suggest("bazaar key backup FILE")
    return outcomes.OK


@app.command(help_epilogue="Example: bazaar key backup ada.key --new-passphrase-file secret.txt")
def backup(
    to: Annotated[Path, Parameter(help="File to make; it must not exist.")],
    /,
    *,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None, Parameter(help="Passphrase of the copy; asked for on a terminal.")
    ] = None,
    no_passphrase: Annotated[bool, Parameter(help="Leave the copy open.")] = False,
    common: Common = NO_OPTIONS,
) -> int:
    """Copy the key to another file, locked by a passphrase.

    It is the key alone: what the node signed is in its database. A node that starts with the key
    and an old database asks the relays first, lest it signs one position of its log twice.
    """
    paths = NodeSettings(home=common.folder, passphrase_file=passphrase_file)
    keys = key_files.read(paths.key_path, paths.passphrase())
    passphrase: bytes | None = None
    if new_passphrase_file is not None:
        passphrase = key_files.from_file(new_passphrase_file)()
    elif not no_passphrase:
        passphrase = key_files.from_terminal("Passphrase of the copy: ", confirm=True)()
    key_files.write(to.absolute(), keys, passphrase)
    if common.json:
        output.emit({"agent": identity.to_did(keys.agent), "file": str(to)})
    else:
        output.show(str(to))
    if passphrase is None:
        output.say("The copy has no passphrase: whoever can read it has the key.")
    output.suggest("bazaar key show")
    return outcomes.OK
