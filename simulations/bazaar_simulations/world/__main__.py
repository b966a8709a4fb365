"""``python -m bazaar_simulations.world``: run many worlds, as ``make simulate`` does."""

import argparse
import sys
from typing import Final

from bazaar_simulations.world.scenarios import SCENARIOS
from bazaar_simulations.world.sweep import Ran, sweep

_SEEDS: Final = 10_000
_TELL_EVERY: Final = 100


def main() -> int:
    """Do what the command line says; 1 when an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="bazaar_simulations.world", description=__doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="default: all")
    parser.add_argument("--seeds", type=int, default=_SEEDS, help="worlds of each scenario")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=600.0, help="when to begin no new world")
    parser.add_argument("--processes", type=int, default=2)
    wanted = parser.parse_args()
    names = wanted.scenario or list(SCENARIOS)
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    told = _Teller()
    swept = sweep(
        names, seeds, processes=wanted.processes, limit_s=wanted.seconds, on_ran=told.tell
    )
    rate = swept.virtual_s / swept.real_s
    print(
        f"{swept.worlds} worlds, {len(swept.broken)} broken; {swept.virtual_s:.0f} s of virtual "
        f"time in {swept.real_s:.0f} s: {rate:.0f} a second"
    )
    return 1 if swept.broken else 0


class _Teller:
    """Says how it goes on."""

    def __init__(self) -> None:
        self._count = 0

    def tell(self, ran: Ran) -> None:
        """Take note of a world that was run."""
        self._count += 1
        if ran.broken:
            print(f"{ran.scenario} {ran.seed}: {ran.broken}", flush=True)
        elif self._count % _TELL_EVERY == 0:
            print(f"{self._count} worlds, up to seed {ran.seed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
