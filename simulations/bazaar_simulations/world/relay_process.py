"""A relay in a world: the real one, on a disk and links in memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bazaar_host.links import RELAY_PROTOCOL
from bazaar_host.surroundings import Surroundings
from bazaar_protocol import limits
from bazaar_protocol.identity import to_peer_id
from bazaar_protocol.log import recovery_hash
from bazaar_relay.machine.admission import Policy
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Store
from bazaar_simulations.world.processes import Process

_NAME_BYTES = 32


class RelayProcess(Process):
    """A relay."""

    database_name = "relay.sqlite3"
    is_serving = False
    policy = Policy()
    """What its operator has decided."""

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
            policy=self.policy,
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


class GuardedRelay(RelayProcess):
    """A relay whose operator expects floods."""

    policy = Policy(
        records_per_s=50,
        bytes_per_s=256 * limits.KIB,
        bytes_per_day=2 * limits.MIB,
        links=4,
        open_posts=32,
    )
