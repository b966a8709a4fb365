"""A kind of world, which with a seed is a world."""

from dataclasses import dataclass, field

from bazaar_simulations.world.cast import Cast
from bazaar_simulations.world.relay_process import RelayProcess
from bazaar_simulations.world.weather import Weather
from bazaar_simulations.world.world import World


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of world: with a seed it is one."""

    name: str
    about: str
    weather: Weather = field(default_factory=Weather)
    agents: int = 4
    relays: int = 1
    task_every_s: float = 6.0
    seconds: float = 120.0
    cast: Cast = field(default_factory=Cast)
    accepted_min: float = 0
    """The share of tasks that have to be done well all the same."""
    median_s_max: float = 0
    """How long the median task may take; 0 for any time."""
    make_relay: type[RelayProcess] = RelayProcess

    def world(self, seed: int) -> World:
        """Make the world of this kind that ``seed`` stands for."""
        return World(
            seed,
            agents=self.agents,
            relays=self.relays,
            weather=self.weather,
            task_every_s=self.task_every_s,
            scenario=self.name,
            cast=self.cast,
            accepted_min=self.accepted_min,
            median_s_max=self.median_s_max,
            make_relay=self.make_relay,
        )

    def run(self, seed: int, *, seconds: float | None = None) -> World:
        """Run the world that ``seed`` stands for, and return it.

        Raises:
            BrokenInvariant: One does not hold.

        """
        world = self.world(seed)
        world.run(self.seconds if seconds is None else seconds)
        return world
