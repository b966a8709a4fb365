"""A relay in a world: the real one, on a disk and links in memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bazaar_host.links import RELAY_PROTOCOL
from bazaar_host.surroundings import Surroundings
from bazaar_protocol.identity import to_peer_id
from bazaar_protocol.log import recovery_hash
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Store
from bazaar_simulations.world.processes import Process

_NAME_BYTES = 32


class RelayProcess(Process):
    """A relay."""

    database_name = "relay.sqlite3"
    is_serving = False

    @property
    def is_settled(self) -> bool:
        """Whether it has started."""
        return self.is_serving

    @property
    def address(self) -> str:
        """Where nodes dial it."""
        return f"{self.place}/p2p/{to_peer_id(self.keys.agent)}"

    @asynccontextmanager
    async def open_store(self, surroundings: Surroundings) -> AsyncGenerator[Store]:
        """Open its store."""
        name = surroundings.entropy(_NAME_BYTES)
        async with SqliteStore.open(
            self.database, name=name, open_database=surroundings.open_database
        ) as store:
            yield store

    async def serve(self, surroundings: Surroundings, stopping: asyncio.Event) -> None:
        """Run until ``stopping`` is set."""
        options = Options(
            recovery=recovery_hash(self.chance.under("recovery").keys().agent),
            clock=surroundings.clock.now_ms,
            entropy=lambda: surroundings.entropy(32),
            verifies_in_threads=False,
        )
        async with (
            self.open_store(surroundings) as store,
            RelayService.open(self.keys, store, options) as service,
            self.open_transport(
                self.keys, [self.place], [RELAY_PROTOCOL], service.on_link
            ) as transport,
        ):
            service.addresses = transport.addresses
            self.is_serving = True
            try:
                await stopping.wait()
                await service.drain()
            finally:
                self.is_serving = False
