"""Kinds of worlds that are worth running again and again, each by its name."""

from dataclasses import dataclass, field
from typing import Final

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.world.adversaries.clocks import (
    AheadOfTime,
    BackDater,
    BehindTime,
    Parrot,
)
from bazaar_simulations.world.adversaries.combined import VICTIM, Eclipser, Traitor
from bazaar_simulations.world.adversaries.floods import (
    ConnectionFlood,
    SignatureFlood,
    SlowReader,
    StorageBomb,
)
from bazaar_simulations.world.adversaries.keys import KeyThief
from bazaar_simulations.world.adversaries.logs import Forker, Truncator
from bazaar_simulations.world.adversaries.relays import (
    Censor,
    Equivocator,
    Replayer,
    Tamperer,
    Withholder,
)
from bazaar_simulations.world.adversaries.workers import (
    ClaimAndStall,
    FalseCompletion,
    LeaseHog,
    Plagiarist,
)
from bazaar_simulations.world.cast import Cast
from bazaar_simulations.world.relay_process import GuardedRelay, RelayProcess
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


_TWO_TOWNS: Final = {
    "ada": ("relay1",),
    "bo": ("relay1",),
    "dee": ("relay2",),
    "eli": ("relay2",),
}
"""Two relays, and only one honest node that uses both."""
_ECLIPSED: Final = Cast((Traitor,), (Eclipser, Eclipser), uses={VICTIM: ("eclipse", "eclipse2")})
_BREAKS: Final = Weather(break_every_s=20)
_HOSTILE: Final = (
    Scenario(
        "censor",
        "one relay of two keeps nothing of some authors",
        _BREAKS,
        cast=Cast(relays=(Censor,)),
        accepted_min=0.5,
    ),
    Scenario(
        "withholder",
        "one relay of two gives receipts and then shows less",
        _BREAKS,
        cast=Cast(relays=(Withholder,)),
        seconds=300,
        accepted_min=0.5,
    ),
    Scenario(
        "equivocator",
        "one relay of two signs two logs of its own",
        _BREAKS,
        cast=Cast(relays=(Equivocator,), relays_first=True),
        seconds=240,
        accepted_min=0.4,
    ),
    Scenario(
        "tamperer",
        "one relay of two changes records on their way",
        cast=Cast(relays=(Tamperer,)),
        accepted_min=0.5,
    ),
    Scenario(
        "replayer",
        "one relay of two says old things again, out of order",
        cast=Cast(relays=(Replayer,)),
        accepted_min=0.5,
    ),
    Scenario(
        "hostile-relays",
        "two relays of three lie, each in its own ways",
        Weather(break_every_s=30, crash_every_s=60, duplicate=0.02, failing_work=0.05),
        cast=Cast(relays=(Tamperer, Replayer)),
        accepted_min=0.3,
    ),
    Scenario(
        "bad-workers",
        "four of eight take work and do not do it",
        Weather(judged_by_owner=1),
        seconds=240,
        cast=Cast((FalseCompletion, Plagiarist, LeaseHog, ClaimAndStall)),
    ),
    Scenario(
        "eclipse",
        "a node that has only hostile relays hears of nobody but a traitor",
        Weather(judged_by_owner=1, failing_work=0.05),
        seconds=240,
        task_every_s=4,
        cast=_ECLIPSED,
        accepted_min=0.3,
    ),
    Scenario(
        "floods",
        "strangers send, open and keep as much as they can",
        agents=4,
        cast=Cast(strangers=(SignatureFlood, StorageBomb, SlowReader, ConnectionFlood)),
        accepted_min=0.7,
        median_s_max=15,
        make_relay=GuardedRelay,
    ),
    Scenario(
        "false-times",
        "nodes lie about when something was, and say again what was before",
        Weather(break_every_s=30, skew_s=5),
        seconds=180,
        cast=Cast((AheadOfTime, BehindTime, BackDater, Parrot)),
    ),
    Scenario(
        "key-thief",
        "a key is stolen, and its owner ends the identity by the recovery key",
        Weather(break_every_s=40),
        relays=2,
        seconds=180,
        cast=Cast((KeyThief,)),
        accepted_min=0.5,
    ),
    Scenario(
        "forker",
        "a node shows two relays two logs; crashes, and old copies of the honest, go on beside it",
        Weather(crash_every_s=40, backup_every_s=15, restore_every_s=60),
        agents=5,
        relays=2,
        cast=Cast((Forker,), uses=_TWO_TOWNS),
    ),
    Scenario(
        "truncator",
        "a node shows its second relay a log that ends early",
        agents=5,
        relays=2,
        seconds=400,
        cast=Cast((Truncator,), uses=_TWO_TOWNS),
    ),
)
_ALL: Final = (
    Scenario("calm", "nothing goes wrong", Weather(cancelled=0.1)),
    Scenario(
        "lossy",
        "links break, clog and say things twice",
        Weather(
            break_every_s=8, duplicate=0.05, clog_every_s=25, failing_work=0.05, cancelled=0.05
        ),
    ),
    Scenario(
        "partitions",
        "the parties do not hear each other, or only one way, through two relays",
        Weather(
            partition_every_s=40,
            partition_s=30,
            break_every_s=30,
            failing_work=0.05,
            cancelled=0.05,
        ),
        relays=2,
    ),
    Scenario(
        "crashes",
        "nodes and relays are killed, also the moment something is durable",
        Weather(
            crash_every_s=12, crash_at_commit=0.004, down_s=8, failing_work=0.05, cancelled=0.05
        ),
    ),
    Scenario(
        "disks",
        "disks are full for a moment, again and again, and slow",
        Weather(full_disk=0.03, commit_s=0.2, break_every_s=40, failing_work=0.05, cancelled=0.05),
    ),
    Scenario(
        "restore",
        "nodes come back with old copies of their stores",
        Weather(
            backup_every_s=8, restore_every_s=25, break_every_s=40, clog_every_s=60, cancelled=0.05
        ),
    ),
    Scenario(
        "skewed",
        "clocks are wrong by up to a minute, run fast or slow, and jump at each start",
        Weather(skew_s=50, drift=3e-4, crash_every_s=40, failing_work=0.05, cancelled=0.05),
    ),
    Scenario(
        "everything",
        "all of it at once",
        Weather(
            break_every_s=20,
            duplicate=0.02,
            clog_every_s=60,
            partition_every_s=90,
            crash_every_s=25,
            crash_at_commit=0.002,
            backup_every_s=15,
            restore_every_s=60,
            skew_s=20,
            drift=1e-4,
            full_disk=0.005,
            failing_work=0.05,
            cancelled=0.05,
        ),
        relays=2,
    ),
)
SCENARIOS: Final = {scenario.name: scenario for scenario in (*_ALL, *_HOSTILE)}


def find(name: str) -> Scenario:
    """Return the scenario called ``name``.

    Raises:
        ConfigError: There is none.

    """
    try:
        return SCENARIOS[name]
    except KeyError:
        raise ConfigError(
            f"no scenario is called {name}; there are {', '.join(SCENARIOS)}"
        ) from None
