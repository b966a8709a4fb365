"""What runs in a world, and may be killed, started again, and given an old copy of its store."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bazaar_host.links import OnLink, Transport
from bazaar_host.memory_disk import MemoryDisk
from bazaar_host.surroundings import Surroundings
from bazaar_protocol.errors import BazaarError
from bazaar_protocol.identity import Keypair
from bazaar_simulations.world.chance import Chance
from bazaar_simulations.world.clocks import SkewedClock
from bazaar_simulations.world.journal import Journal
from bazaar_simulations.world.network import WeatherNetwork, WeatherTransport

_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class Ground:
    """What all processes of a world share."""

    chance: Chance
    network: WeatherNetwork
    journal: Journal
    true_s: Callable[[], float]
    on_commit: Callable[["Process"], None]
    """Called when a transaction of a process is durable, before the process knows."""


class Process(ABC):
    """A relay or a node: a disk that stays, and what runs on it from time to time."""

    database_name: str
    is_honest = True
    """Whether it does as it should; what others do breaks no promise of ours."""
    clock_is_ahead_s = 0.0
    """By how much its clock is wrong on purpose."""

    def __init__(self, ground: Ground, name: str) -> None:
        self.name = name
        self.ground = ground
        self.chance = ground.chance.under(name)
        self.keys: Keypair = self.chance.under("key").keys()
        self.home = Path(name)
        self.database = self.home / self.database_name
        """Where its database is on its disk."""
        self.disk = MemoryDisk(self._commit_s, lambda _: ground.on_commit(self), self._is_full)
        self.starts = 0
        self.failure: BaseException | None = None
        """What ended it, if nobody wanted it to end."""
        self._task: asyncio.Task[None] | None = None
        self._transport: WeatherTransport | None = None
        self._stopping = asyncio.Event()
        self._remains: list[asyncio.Task[None]] = []
        ground.network.names[self.keys.agent] = name
        self._number = len(ground.network.names)
        self.home.mkdir()

    @property
    def place(self) -> str:
        """Where it listens."""
        return f"/ip4/10.0.0.{self._number}/tcp/4001"

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether it has started; a full disk may keep it from that, and then it says so."""

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._task is not None

    def note(self, what: str) -> None:
        """Write down what happened to it."""
        self.ground.journal.note(self.name, what)

    def start(self) -> None:
        """Start it, with a clock that is wrong in a new way."""
        assert self._task is None
        self.starts += 1
        self._stopping = asyncio.Event()
        self.note(f"starts {self.starts}")
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)
        self._task.add_done_callback(self._ended)

    def crash(self, *, silently: bool) -> None:
        """Kill it: what is not durable is gone, and so is what it wanted to say."""
        assert self._task is not None
        self.note("is killed" + (" silently" if silently else ""))
        self.disk.pull_the_plug()
        if self._transport is not None:
            self._transport.vanish(silently=silently)
            self._transport = None
        task, self._task = self._task, None
        task.cancel()
        # It takes apart what is no longer connected to anything.
        self._remains.append(task)

    async def stop(self) -> None:
        """End it in good order."""
        if self._task is None:
            return
        self.note("stops")
        task, self._task = self._task, None
        self._stopping.set()
        self._remains.append(task)
        await asyncio.wait((task,))

    async def bury(self) -> None:
        """Wait until what was killed or told to stop has ended."""
        if self._remains:
            await asyncio.wait(self._remains)
        self._remains.clear()

    @asynccontextmanager
    async def open_transport(
        self, keys: Keypair, listen: Sequence[str], protocols: Sequence[str], on_link: OnLink
    ) -> AsyncGenerator[Transport]:
        """Open what carries its links."""
        async with self.ground.network.open(keys, listen, protocols, on_link) as transport:
            assert isinstance(transport, WeatherTransport)
            self._transport = transport
            yield transport

    @abstractmethod
    async def serve(self, surroundings: Surroundings, stopping: asyncio.Event) -> None:
        """Run until ``stopping`` is set."""

    async def _run(self) -> None:
        chance = self.chance.under(str(self.starts))
        weather = self.ground.network.weather
        offset_s = chance.rng.uniform(-weather.skew_s, weather.skew_s) + self.clock_is_ahead_s
        drift = chance.rng.uniform(-weather.drift, weather.drift)
        clock = SkewedClock(self.ground.true_s, int(offset_s * _MS_PER_S), drift)
        surroundings = Surroundings(
            clock, chance.entropy, open_database=self.disk.open, syncs_files=False
        )
        await self.serve(surroundings, self._stopping)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if task is self._task:  # nobody wanted that
            self._task = None
            if not self.is_honest and isinstance(error, BazaarError):
                self.note("is caught in its own lies")
                return
            self.failure = error or RuntimeError(f"{self.name} has ended by itself")
        elif error is not None and not isinstance(error, BazaarError):
            self.failure = error
        if error is not None:
            self.note(f"ends with {type(error).__name__}")

    def _is_full(self) -> bool:
        return self.is_settled and self.chance.happens(self.ground.network.weather.full_disk)

    def _commit_s(self) -> float:
        return self.ground.network.weather.commit_s * self.chance.rng.random()
