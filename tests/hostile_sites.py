"""Hostile relays on real sockets: those of the worlds, in this process, where nodes dial them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.processes import LISTEN

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import Link, OnLink, Transport
from bazaar_host.surroundings import Surroundings
from bazaar_protocol.identity import Keypair
from bazaar_simulations.world.adversaries.relays import HostileRelay
from bazaar_simulations.world.chance import Chance
from bazaar_simulations.world.journal import Journal
from bazaar_simulations.world.lying import to_liar
from bazaar_simulations.world.network import WeatherNetwork
from bazaar_simulations.world.processes import Ground
from bazaar_simulations.world.weather import Weather


class OnSockets(HostileRelay):
    """Comes before a kind of hostile relay: it listens where real nodes dial."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._links: list[Link] = []

    @asynccontextmanager
    async def open_transport(
        self, keys: Keypair, listen: Sequence[str], protocols: Sequence[str], on_link: OnLink
    ) -> AsyncGenerator[Transport]:
        def admit(link: Link) -> None:
            self._links.append(link)
            to_liar(self, on_link)(link)

        async with Libp2pTransport.open(keys, [LISTEN], protocols, admit) as transport:
            self.listening.set_result(transport.addresses[0])
            yield transport

    def hang_up(self) -> None:
        """End every link, so that nodes dial anew."""
        for link in self._links:
            link.close()
        self._links.clear()


def ground(seed: int) -> Ground:
    """Return what a relay of a world stands on, under the time of this loop."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()

    def true_s() -> float:
        return loop.time() - begun_s

    chance, journal = Chance(seed), Journal(true_s)
    network = WeatherNetwork(chance.under("network"), Weather(commit_s=0), journal)
    return Ground(chance, network, journal, true_s, lambda _: None)


@asynccontextmanager
async def serving(relay: OnSockets) -> AsyncGenerator[str]:
    """Have a relay serve, and return its address."""
    stopping = asyncio.Event()
    around = Surroundings(open_database=relay.disk.open, syncs_files=False)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(relay.serve(around, stopping))
        try:
            yield await relay.listening
        finally:
            relay.hang_up()
            stopping.set()
