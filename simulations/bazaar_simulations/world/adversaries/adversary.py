"""What an adversary of a world is: a process that is not honest, and what has to come of it.

Most are real nodes and relays that override one thing: the work, the clock, or what goes over the
wire (``lying.py``). A ``Stranger`` runs nothing of ours. Each says what those have to see whom it
attacks; the world looks on until they have, and breaks if they do not in time.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from bazaar_host.links import Link, Transport
from bazaar_host.surroundings import Surroundings
from bazaar_protocol.errors import BazaarError
from bazaar_simulations.world.processes import Ground, Process

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

Group: TypeAlias = Literal["work", "log", "relay", "resources", "time", "keys", "combined"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What there is to tell people about an adversary."""

    name: str
    group: Group
    source: str
    """Where the attack is described."""
    observable: str
    """What a defender has to see in order to stop it."""
    metric: str
    """Which figure says how far it got."""


class Adversary(ABC):
    """One of those that are not honest. To be named before ``NodeProcess`` or the like."""

    profile: ClassVar[Profile]
    is_honest = False
    acted_s: float | None = None
    """When it first did what it should not."""

    @abstractmethod
    def outstanding(self, world: "World") -> str:
        """Return what has not come out yet, for people; empty once all that has to has."""

    def harm(self, world: "World") -> str:
        """Return what it has brought about that must never be, for people; empty for nothing."""
        del world
        return ""

    def figures(self, world: "World") -> Mapping[str, float]:
        """Return how far it got."""
        del world
        return {}


class Stranger(Adversary, Process):
    """An adversary that runs nothing of ours: it has a key, and a wire.

    Args:
        ground: What all processes share.
        name: What it is called.
        relays: The addresses of all relays.

    """

    database_name = "nothing"

    def __init__(self, ground: Ground, name: str, relays: Sequence[str]) -> None:
        super().__init__(ground, name)
        self.relays = list(relays)
        self.surroundings = Surroundings()

    @property
    def is_settled(self) -> bool:
        """Whether it has started: there is nothing to wait for."""
        return True

    @abstractmethod
    async def attack(self, transport: Transport) -> None:
        """Do what it is there for; errors of links end it, and it begins again."""

    async def serve(self, surroundings: Surroundings, stopping: asyncio.Event) -> None:
        """Attack until ``stopping`` is set."""
        self.surroundings = surroundings
        async with self.open_transport(self.keys, (), (), Link.close) as transport:
            attacking = asyncio.get_running_loop().create_task(self._attack(transport))
            try:
                await stopping.wait()
            finally:
                attacking.cancel()
                await asyncio.wait((attacking,))
            if not attacking.cancelled():
                attacking.result()

    async def _attack(self, transport: Transport) -> None:
        while True:
            try:
                await self.attack(transport)
            except BazaarError as error:
                self.note(f"is stopped by {type(error).__name__}")
            await asyncio.sleep(_PAUSE_S)


_PAUSE_S = 0.5
