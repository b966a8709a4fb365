"""``bazaar recover``: catch up with one's own log after an old backup."""

import asyncio
import shlex
from typing import Annotated

from cyclopts import Parameter

from bazaar_node import homes, outcomes, settings
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.init import PassphraseFile
from bazaar_protocol.errors import ConfigError


def recover(
    *,
    relay: Annotated[
        tuple[str, ...], Parameter(help="A relay to ask besides those known; may be given again.")
    ] = (),
    passphrase_file: PassphraseFile = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Learn from the relays what this node signed after its backup, and let it sign again.

    For a folder that bazaar key restore made, or any old copy. The node must not run, here or
    elsewhere. The relays' entries are checked as one chain and put into the store, with their
    tasks; then a reset is signed as the next entry. What a relay that is away now still has of
    the old log can never be held against you after that; but that relay will not be of use again.
    For a stolen key there is bazaar key recover.
    """
    home = common.folder
    if not homes.exists(home):
        raise ConfigError(f"there is no agent in {home}; see: bazaar key restore --help")
    values = settings.load(home, flags={}).values
    values.relays.extend(relay)
    node = settings.at_home(values, home, passphrase_file=passphrase_file)
    # Imported here: libp2p takes a second to load, and a wrong option should not have to wait.
    from bazaar_host import logs
    from bazaar_node.network.dialing import over_libp2p
    from bazaar_node.recovering import recover as recover_log

    logs.set_up("error", "human")  # what it finds is said below
    done = asyncio.run(recover_log(node, over_libp2p))
    if common.json:
        output.emit(done)
    else:
        output.show(f"{done.entries} entries")
    for address, why in {**done.away, **done.unusable}.items():
        output.say(f"not asked: {address}: {why}")
    if done.reset_seq:
        output.say(
            f"The log ended at entry {done.backup_seq}; the relays had {done.entries} more, about "
            f"{done.tasks} tasks. It goes on after a reset, entry {done.reset_seq}."
        )
    else:
        output.say(f"Nothing to do: the log is whole, and ends with a reset at {done.backup_seq}.")
    output.suggest(f"bazaar up --home {shlex.quote(str(home))}")
    return outcomes.OK
