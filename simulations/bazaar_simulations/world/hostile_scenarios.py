"""Kinds of worlds with adversaries, and what has to come of each."""

from typing import Final

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
from bazaar_simulations.world.relay_process import GuardedRelay
from bazaar_simulations.world.scenario import Scenario
from bazaar_simulations.world.weather import Weather

_TWO_TOWNS: Final = {
    "ada": ("relay1",),
    "bo": ("relay1",),
    "dee": ("relay2",),
    "eli": ("relay2",),
}
"""Two relays, and only one honest node that uses both."""
_ECLIPSED: Final = Cast((Traitor,), (Eclipser, Eclipser), uses={VICTIM: ("eclipse", "eclipse2")})
_BREAKS: Final = Weather(break_every_s=20)
HOSTILE: Final = (
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
