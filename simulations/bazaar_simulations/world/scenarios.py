"""Kinds of worlds that are worth running again and again, each by its name."""

from typing import Final

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.world.hostile_scenarios import HOSTILE
from bazaar_simulations.world.scenario import Scenario
from bazaar_simulations.world.weather import Weather

_HONEST: Final = (
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
SCENARIOS: Final = {scenario.name: scenario for scenario in (*_HONEST, *HOSTILE)}


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
