"""``bazaar relay backup`` and ``restore``: copy what a relay keeps, and let another one have it."""

import os
from pathlib import Path

import msgspec

from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId
from bazaar_relay import settings
from bazaar_relay.commands.common import (
    NO_OPTIONS,
    Common,
    PassphraseFile,
    emit,
    passphrase_of,
    say,
)
from bazaar_relay.homes import Home
from bazaar_relay.settings import SQLITE

_NAME_BYTES = 32


def backup(file: Path, /, *, common: Common = NO_OPTIONS) -> int:
    """Copy the relay's store to FILE, while the relay runs or not.

    Its keys and settings are not in it: copy relay.key and bazaar.toml by hand, once. A store in
    PostgreSQL is backed up by PostgreSQL's own means, as pg_dump or pg_basebackup.
    """
    # Imported here, since most commands need no database.
    from bazaar_host import clock
    from bazaar_relay.storage import backups

    home = Home(common.folder)
    if settings.load(common.folder, flags={}).values.store != SQLITE:
        raise ConfigError(
            "the store is in PostgreSQL: back it up with pg_dump or pg_basebackup, while the relay "
            "runs or not; after bringing it back, see bazaar relay restore --help"
        )
    made = backups.write(home.database_path, file.absolute(), now_ms=clock.now_ms())
    if common.json:
        emit(msgspec.to_builtins(made))
    else:
        say(f"copied everything up to record {made.cursor} to {file}")
    return 0


def restore(
    file: Path | None = None,
    /,
    *,
    passphrase_file: PassphraseFile = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Let the relay in --home, which is a new one, have what an old one kept.

    FILE is what bazaar relay backup wrote. Without it, it is the PostgreSQL database that the
    settings name and that was brought back from a backup. The new relay has a key of its own, made
    now if there is none: what the old one signed after the backup cannot be known, and to sign it
    once more would convict it. Tell people the new address; who asks the old one finds nobody.
    """
    # Imported here, since most commands need no database.
    from bazaar_relay import homes

    home = Home(common.folder)
    store = settings.load(common.folder, flags={}).values.store
    if (file is None) == (store == SQLITE):
        raise ConfigError(
            "a FILE is brought back where store is sqlite; a database by PostgreSQL's own means, "
            "and then it is given to a new relay without a FILE"
        )
    keys, _ = homes.open_keys(home, passphrase_of(passphrase_file))
    if file is None:
        _adopt(store, keys.agent)
    else:
        from bazaar_relay.storage import backups

        name = os.urandom(_NAME_BYTES)
        backups.restore(file.absolute(), home.database_path, relay=keys.agent, name=name)
    if common.json:
        emit({"home": str(home.folder)})
    else:
        say(f"the relay in {home.folder} has it now. Next: bazaar relay up --home {home.folder}")
    return 0


def _adopt(store: str, relay: AgentId) -> None:
    import asyncio

    from bazaar_relay.storage.postgres_adoption import adopt

    asyncio.run(adopt(store, relay=relay, name=os.urandom(_NAME_BYTES)))
