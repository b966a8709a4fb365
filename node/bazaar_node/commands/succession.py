"""``bazaar key recover``: end a stolen key, and carry on with a new one."""

import asyncio
import shlex
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bazaar_host import key_files
from bazaar_node import outcomes, settings, succeeding
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.init import PassphraseFile
from bazaar_node.succeeding import Entry, Succeeded, Wanted
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import Keypair, parse_agent


def recover(
    *,
    recovery_key: Annotated[Path, Parameter(help="The recovery key that init made.")],
    last_seq: Annotated[
        int | None, Parameter(help="The last entry of the log that you signed yourself.")
    ] = None,
    look: Annotated[bool, Parameter(help="Show what would be ended, and end nothing.")] = False,
    old: Annotated[
        str | None, Parameter(help="Whose key was stolen, if its folder is gone: did:key:…")
    ] = None,
    to: Annotated[
        Path | None, Parameter(help="Make the new agent in this folder, and leave the old one.")
    ] = None,
    relay: Annotated[
        tuple[str, ...], Parameter(help="A relay to tell besides those known; may be given again.")
    ] = (),
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None, Parameter(help="Passphrase of the new keys; the same as before if not given.")
    ] = None,
    no_passphrase: Annotated[bool, Parameter(help="Leave the new key files open.")] = False,
    common: Common = NO_OPTIONS,
) -> int:
    """End a stolen key with the recovery key, and carry on under a new one.

    The relays are told which entry of the old log was the last honest one: the last in this
    folder's store, or the one you name. Up to there its history is yours; what the old key signs
    beyond it means nothing to anybody who has heard. This cannot be taken back, so --look first.
    Stop the node before. The new keys replace the old ones, which stay beside them as *.old.
    """
    if new_passphrase_file is not None and no_passphrase:
        raise ConfigError("give --new-passphrase-file or --no-passphrase, not both")
    values = settings.load(common.folder, flags={}).values
    values.relays.extend(relay)
    node = settings.at_home(values, common.folder, passphrase_file=None)
    recovery = key_files.read(recovery_key.expanduser(), _source(passphrase_file))
    new_passphrase: bytes | None = None
    if not (no_passphrase or look):
        new_passphrase = _new_passphrase(new_passphrase_file or passphrase_file)
    folder = None if to is None else to.expanduser().absolute()
    wanted = Wanted(None if old is None else parse_agent(old), last_seq, folder, new_passphrase)
    done = _run(node, recovery, wanted, is_look=look)
    if common.json:
        output.emit(done)
    else:
        output.show(done.new or done.old)
    _explain(done)
    return outcomes.OK


def _run(
    node: settings.NodeSettings, recovery: Keypair, wanted: Wanted, *, is_look: bool
) -> Succeeded:
    # Imported here: libp2p takes a second to load, and a wrong option should not have to wait.
    from bazaar_host import logs
    from bazaar_node.network.dialing import over_libp2p

    logs.set_up("error", "human")  # what it finds is said by the command
    act = succeeding.look if is_look else succeeding.succeed
    return asyncio.run(act(node, recovery, wanted, over_libp2p))


def _explain(done: Succeeded) -> None:
    verb = "would end" if not done.new else "has ended"
    output.say(f"{done.old} {verb} with entry {done.last.seq}: {_line(done.last)}")
    for entry in done.cut:
        output.say(f"  not counted: entry {entry.seq}: {_line(entry)}")
    for address, status in done.told.items():
        output.say(f"told {address}: {status}")
    for address, why in done.away.items():
        output.say(f"not told yet: {address}: {why}")
    if not done.new:
        output.suggest("bazaar key recover --recovery-key FILE  (without --look)")
        return
    output.say(f"made {done.home}/recovery.key: move this offline; it replaces the one you used")
    output.suggest(f"bazaar up --home {shlex.quote(done.home)}")


def _line(entry: Entry) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(entry.time_ms / 1000))
    return f"{entry.kind}, {when}, {output.short_id(entry.id)}"


def _source(file: Path | None) -> key_files.Passphrase:
    return key_files.from_terminal() if file is None else key_files.from_file(file)


def _new_passphrase(file: Path | None) -> bytes | None:
    if file is not None:
        return key_files.from_file(file)()
    if output.is_interactive():
        return key_files.from_terminal("New passphrase: ", confirm=True)()
    return None
