"""The stores of a relay, opened for tests that hold for each of them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from tests.postgres import Server
from tests.relay_records import NAME

from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_relay.storage.postgres_store import PostgresStore
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Store


class Opener(Protocol):
    """What a test does with the store besides using it."""

    store: Store

    async def merge(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.store: Store = MemoryStore(NAME)

    async def merge(self) -> None:
        """There is nothing to merge."""


class OnDisk:
    def __init__(self, store: SqliteStore) -> None:
        self.store: Store = store
        self.merge = store.merge


class OnServer:
    def __init__(self, store: PostgresStore) -> None:
        self.store: Store = store

    async def merge(self) -> None:
        """Its indexes are always complete."""


@asynccontextmanager
async def open_for_test(kind: str, path: Path, server: Server | None) -> AsyncGenerator[Opener]:
    """Open a store: ``memory``, ``sqlite``, or with a ``server`` one in PostgreSQL."""
    if server is not None:
        async with PostgresStore.open(await server.new_database(), name=NAME) as on_server:
            yield OnServer(on_server)
    elif kind == "memory":
        yield InMemory()
    else:
        async with SqliteStore.open(path, name=NAME) as on_disk:
            yield OnDisk(on_disk)
