"""All adversaries by name."""

from typing import Final

from bazaar_protocol.errors import ConfigError
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
        workers.Disputer,
        workers.Overclaimer,
        colluders.SybilSlander,
    )
}


def adversary(name: str) -> Adversary:
    """Return a new adversary of that name.

    Raises:
        ConfigError: There is none.

    """
    kind = ADVERSARIES.get(name)
    if kind is None:
        raise ConfigError(f"no adversary is called {name}; there are {', '.join(ADVERSARIES)}")
    return kind()
