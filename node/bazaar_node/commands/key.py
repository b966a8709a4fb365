"""``bazaar key``: the keys that make the node this agent, and what to do when they are lost."""

import shlex
import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bazaar_host import key_files
from bazaar_node import backups, outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.init import PassphraseFile
from bazaar_node.commands.succession import recover
from bazaar_node.settings import NodeSettings
from bazaar_protocol import identity

app = App(
    name="key",
    help="Show the node's keys, back them up, restore them, or end a stolen one.",
    help_epilogue="Example: bazaar key show",
)
app.command(recover, help_epilogue="Example: bazaar key recover --recovery-key recovery.key --look")


@app.command(help_epilogue="Example: bazaar key show --json")
def show(*, passphrase_file: PassphraseFile = None, common: Common = NO_OPTIONS) -> int:
    """Show who this node is; the secret half is not shown."""
    paths = NodeSettings(home=common.folder, passphrase_file=passphrase_file)
    keys = paths.keys.read(paths.passphrase())
    is_away = not paths.keys.recovery_key_path.exists()
    facts = {
        "agent": identity.to_did(keys.agent),
        "peer_id": identity.to_peer_id(keys.agent),
        "key_file": str(paths.keys.key_path),
        "recovery_key_is_away": is_away,
    }
    if common.json:
        output.emit(facts)
    else:
        output.facts([(name.replace("_", " "), str(value)) for name, value in facts.items()])
    if not is_away:
        output.say(f"{paths.keys.recovery_key_path} is still here: move this offline")
    output.suggest("bazaar key backup FILE")
    return outcomes.OK


@app.command(help_epilogue="Example: bazaar key backup ada.backup --passphrase-file secret.txt")
def backup(
    to: Annotated[Path, Parameter(help="File to make; it must not exist.")],
    /,
    *,
    key_only: Annotated[bool, Parameter(help="Leave out settings, log and tasks.")] = False,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None,
        Parameter(help="Passphrase of the key in the backup, if it is to be another one."),
    ] = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Copy all it takes to carry on elsewhere into one file; the node may run meanwhile.

    The key in it is always locked by a passphrase: that of --new-passphrase-file, else that of
    --passphrase-file, else the one you are asked for. What you keep in it grows old: after
    bazaar key restore, bazaar recover asks the relays for what you signed since. Inputs and
    results of tasks are not in it, nor is the recovery key, which belongs offline.
    """
    node = NodeSettings(home=common.folder, passphrase_file=passphrase_file)
    source = new_passphrase_file or passphrase_file
    if source is not None:
        passphrase = key_files.from_file(source)()
    else:
        passphrase = key_files.from_terminal("Passphrase of the backup: ", confirm=True)()
    write = backups.write_key if key_only else backups.write
    made = write(node, to.absolute(), passphrase, now_ms=_now_ms())
    if common.json:
        output.emit({"agent": made.agent, "file": str(to), "log_seq": made.log_seq})
    else:
        output.show(str(to))
    if key_only:
        output.say("It is the key alone: whoever restores it gets the log back from the relays.")
    else:
        output.say(f"It has the log up to entry {made.log_seq}; make a new one now and then.")
    output.suggest(f"bazaar key restore {shlex.quote(str(to))} --home DIR  (when you need it)")
    return outcomes.OK


@app.command(help_epilogue="Example: bazaar key restore ada.backup --home ~/ada")
def restore(
    file: Annotated[Path, Parameter(help="What bazaar key backup made.")],
    /,
    *,
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[bool, Parameter(help="Leave the restored key open.")] = False,
    common: Common = NO_OPTIONS,
) -> int:
    """Bring a backup back into a folder where no agent lives yet; nothing is overwritten.

    The node signs nothing until bazaar recover has asked the relays what was signed since. Make
    sure that the node it is a backup of runs no more: two that sign with one key contradict each
    other, and that is held against you for ever.
    """
    home = common.folder
    source = (
        key_files.from_terminal("Passphrase of the backup: ")
        if passphrase_file is None
        else key_files.from_file(passphrase_file)
    )
    made = backups.restore(file.expanduser(), home, source, leave_open=no_passphrase)
    age_ms = _now_ms() - made.made_ms if made.made_ms else None
    if common.json:
        output.emit(
            {"agent": made.agent, "home": str(home), "age_ms": age_ms, "log_seq": made.log_seq}
        )
    else:
        output.show(made.agent)
    if age_ms is None:
        output.say("This is a key alone, with no log: nobody knows how old it is.")
    else:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(made.made_ms / 1000))
        age = output.ago(made.made_ms)
        output.say(f"This backup is {age} old ({when}); its log ends at entry {made.log_seq}.")
    output.say("Before it may sign, the node has to learn from its relays what was signed since.")
    output.suggest(f"bazaar recover --home {shlex.quote(str(home))}")
    return outcomes.OK


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
