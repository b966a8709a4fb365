"""All adversaries by name."""

from typing import Final

from bazaar_simulations import names, own_code
from bazaar_simulations.adversaries import colluders, posters, workers
from bazaar_simulations.adversaries.adversary import Adversary

ADVERSARIES: Final[dict[str, type[Adversary]]] = {
    adversary.name: adversary
    for adversary in (
        workers.Independent,
        colluders.Ring,
        colluders.Camouflage,
        colluders.Spies,
        workers.Traitor,
        workers.LongCon,
        workers.OnOff,
        workers.ValueImbalance,
        workers.Discriminator,
        workers.Whitewasher,
        colluders.Sybil,
        colluders.ManySybils,
        colluders.CopycatRaters,
        posters.Slanderer,
        posters.Retaliator,
        posters.NeverSigning,
        colluders.VouchSeller,
        colluders.WashTrader,
        workers.FalseCapability,
        workers.ClaimAndStall,
        workers.LeaseHog,
        workers.FalseCompletion,
        workers.Plagiarist,
        workers.Disputer,
        workers.Overclaimer,
        colluders.TraitorRing,
        colluders.SybilSlander,
    )
}


def adversary(name: str) -> Adversary:
    """Return a new adversary of that name, or of the class that it says (``FILE.py:Class``).

    Raises:
        ConfigError: There is none.

    """
    if own_code.is_own(name):
        return own_code.load(name, Adversary)()
    return ADVERSARIES[names.find(name, ADVERSARIES, "an adversary")]()
