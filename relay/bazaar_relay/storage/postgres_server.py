"""The way to a PostgreSQL server: its connections, its passwords, and what it says of trouble."""

import ssl
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import asyncpg

from bazaar_protocol.errors import ConfigError, StorageError, StorageFull
from bazaar_relay.storage.postgres_address import PASSWORDS, check_address, place_of
from bazaar_relay.storage.postgres_schema import SCHEMA

CONNECT_S: Final = 5
STATEMENT_S: Final = 20
_CONNECTIONS_MAX: Final = 8
_SETTINGS: Final = {
    "search_path": SCHEMA,
    "application_name": "bazaar-relay",
    # Who holds the lock of a turn and does nothing was stopped or cut off: others go on.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "15s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class Server:
    """Connections to one database, made again when they break."""

    def __init__(self, address: str, pool: Any) -> None:
        self.place = place_of(address)
        self._address = address
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str) -> AsyncGenerator["Server"]:
        """Connect to the database at ``address``.

        Raises:
            ConfigError: The server does not let us in, or has no such database.
            StorageError: It cannot be reached.

        """
        check_address(address)
        with _understood(address):
            pool = await asyncpg.create_pool(
                address,
                min_size=1,
                max_size=_CONNECTIONS_MAX,
                timeout=CONNECT_S,
                command_timeout=STATEMENT_S,
                server_settings=_SETTINGS,
                reset=_leave_as_it_is,
            )
        try:
            yield cls(address, pool)
        finally:
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Any]:
        """Borrow a connection.

        Raises:
            StorageError: There is none, or what was done with it failed.

        """
        with self.translated():
            async with self._pool.acquire(timeout=CONNECT_S) as db:
                yield db

    async def lend(self) -> Any:
        """Return a connection to be given back by ``take_back``."""
        with self.translated():
            return await self._pool.acquire(timeout=CONNECT_S)

    async def take_back(self, db: Any) -> None:
        """Take a connection back; what it was in the midst of is undone."""
        try:
            if not db.is_closed() and db.is_in_transaction():
                await db.execute("ROLLBACK")
        except _TROUBLE:
            with suppress(asyncpg.InterfaceError):  # the pool has taken a broken one away itself
                db.terminate()
        finally:
            await self._pool.release(db)

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        """Return the rows of one statement, which sees one state."""
        async with self.connection() as db:
            rows: list[Any] = await db.fetch(statement, *values)
            return rows

    async def connect(self) -> Any:
        """Return a connection of one's own.

        Raises:
            StorageError: The server cannot be reached.

        """
        with self.translated():
            return await asyncpg.connect(
                self._address,
                timeout=CONNECT_S,
                command_timeout=STATEMENT_S,
                server_settings=_SETTINGS,
            )

    @contextmanager
    def translated(self) -> Generator[None]:
        """Raise what goes wrong with the server as a ``StorageError``."""
        try:
            yield
        except asyncpg.DiskFullError as error:
            raise StorageFull(f"{self.place} has no room left: {error}") from error
        except _TROUBLE as error:
            raise StorageError(f"{self.place}: {_reason(error)}") from error


_TROUBLE: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    ssl.SSLError,
)


async def _leave_as_it_is(_db: object) -> None:
    """Spare the question that would put settings back: nobody changes any."""


@contextmanager
def _understood(address: str) -> Generator[None]:
    place = place_of(address)
    try:
        yield
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise ConfigError(
            f"{place} does not let us in: {error}. The password comes from {PASSWORDS}"
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise ConfigError(f"{place} is missing: make it with createdb") from error
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise ConfigError(f"store: {error}") from error
    except _TROUBLE as error:
        raise StorageError(f"{place} cannot be reached: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return str(error) or type(error).__name__
