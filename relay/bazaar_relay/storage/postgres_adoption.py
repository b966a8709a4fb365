"""Giving a database that was brought back from a backup to a relay with a new key."""

from typing import Final

from bazaar_protocol.errors import ConfigError, RestoredStore
from bazaar_protocol.identity import AgentId
from bazaar_relay.storage.postgres_server import Server

_ADOPT: Final = "UPDATE store SET name = $1, relay = $2, covered = cursor"
_IN_USE: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'bazaar-relay'
        AND pid <> pg_backend_pid()
"""


async def adopt(address: str, *, relay: AgentId, name: bytes) -> None:
    """Make the store at ``address`` that of ``relay``, under a new ``name``.

    Raises:
        RestoredStore: It is what ``relay`` itself has signed.
        ConfigError: A relay is using it, or the server does not let us in.
        StorageError: It cannot be reached, or is no store.

    """
    async with Server.open(address) as server, server.connection() as db:
        if await db.fetchval(_IN_USE):
            raise ConfigError(f"{server.place} is in use by a relay; stop all its processes first")
        async with db.transaction():
            await db.execute("SELECT FROM store FOR UPDATE")
            owner = await db.fetchval("SELECT relay FROM store")
            own = await db.fetchval("SELECT seq FROM head WHERE author = $1", relay)
            if own is not None or owner == relay:
                raise RestoredStore(
                    f"{server.place} is the store of this very relay. If it was brought back from "
                    "a backup, what was signed since is not in it, and to go on would fork the "
                    "log; name a home with a new key"
                )
            await db.execute("DELETE FROM receipt")
            await db.execute(_ADOPT, name, relay)
