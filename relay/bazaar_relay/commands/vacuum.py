"""``bazaar relay vacuum``: make the file of a stopped relay as small as what is in it."""

from bazaar_protocol.errors import ConfigError
from bazaar_relay import settings
from bazaar_relay.commands.common import NO_OPTIONS, Common, emit, say
from bazaar_relay.homes import Home
from bazaar_relay.settings import SQLITE


def vacuum(*, common: Common = NO_OPTIONS) -> int:
    """Give the room of what was forgotten back to the file system. The relay must not run.

    A relay uses that room again by itself, so this is for one that has become smaller for good.
    """
    # Imported here, since most commands need no database.
    from bazaar_relay.storage import vacuuming

    home = Home(common.folder)
    if settings.load(common.folder, flags={}).values.store != SQLITE:
        raise ConfigError("the store is in PostgreSQL, whose autovacuum does it")
    before, after = vacuuming.vacuum(home.database_path)
    if common.json:
        emit({"bytes_before": before, "bytes": after})
    else:
        say(f"{before} bytes before, {after} now")
    return 0
