"""Opening the store that the settings name: a SQLite file in the relay's home, or a database."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from bazaar_host import file_lock
from bazaar_host.logs import logger
from bazaar_protocol.errors import ConfigError
from bazaar_protocol.identity import AgentId
from bazaar_relay.homes import Home
from bazaar_relay.settings import SQLITE
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Store

_NAME_BYTES: Final = 32


@asynccontextmanager
async def open_store(home: Home, address: str, relay: AgentId) -> AsyncGenerator[Store]:
    """Open the store of ``relay``, making it first when there is none.

    Raises:
        ConfigError: The server does not let us in, the store is another relay's, or asyncpg is
            not installed.
        StorageError: It cannot be used.

    """
    name = os.urandom(_NAME_BYTES)
    if address == SQLITE:
        async with SqliteStore.open(home.database_path, name=name, relay=relay) as store:
            yield store
        return
    try:
        # Imported here, since nobody else needs what comes with the extra `postgres`.
        from bazaar_relay.storage.postgres_store import PostgresStore
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a store in PostgreSQL needs {error.name}: pip install 'bazaar[postgres]'"
        ) from error
    # One process for one home, whatever the number of homes with this key.
    with file_lock.hold(home.database_path):
        async with PostgresStore.open(address, name=name, relay=relay) as shared:
            if shared.risk:
                logger("relay").warning("a power cut may lose what is acknowledged", at=shared.risk)
            yield shared
