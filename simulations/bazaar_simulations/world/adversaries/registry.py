"""All adversaries of worlds by name."""

from typing import Final

from bazaar_simulations.world.adversaries import (
    clocks,
    combined,
    floods,
    keys,
    logs,
    relays,
    workers,
)
from bazaar_simulations.world.adversaries.adversary import Adversary

LIVE: Final[dict[str, type[Adversary]]] = {
    adversary.profile.name: adversary
    for adversary in (
        workers.FalseCompletion,
        workers.Plagiarist,
        workers.LeaseHog,
        workers.ClaimAndStall,
        logs.Forker,
        logs.Truncator,
        relays.Censor,
        relays.Withholder,
        relays.Tamperer,
        relays.Replayer,
        relays.Equivocator,
        floods.SignatureFlood,
        floods.StorageBomb,
        floods.SlowReader,
        floods.ConnectionFlood,
        clocks.AheadOfTime,
        clocks.BehindTime,
        clocks.BackDater,
        clocks.Parrot,
        keys.KeyThief,
        combined.Traitor,
        combined.Eclipser,
    )
}
