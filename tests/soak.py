"""``make soak``: kill relay and nodes at random for a while, and print what became of it.

With ``--promises`` the tests of docs/promises.md run in their long versions instead.

The seed that it prints brings the same kills in the same order (``--seed``); their moments within
a program differ in every run.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests import postgres
from tests.crashes import crash_at_random
from tests.promises import show_promises
from tests.shared_claims import Outcome, claim_at_random
from tests.town import show, town


def main() -> int:
    """Run it; the exit status is 1 when anything was lost, stuck, or done twice."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--limit", type=float, default=900.0, help="seconds until it gives up")
    parser.add_argument("--schedule-to-start-ms", type=int, default=4_000)
    parser.add_argument(
        "--shared-claims", type=int, default=0,
        help="instead: so many claims at four relays on one PostgreSQL, of which two are killed",
    )  # fmt: skip
    parser.add_argument("--promises", action="store_true", help="show the other promises at length")
    options = parser.parse_args()
    if options.promises:
        return show_promises()
    if options.shared_claims:
        return _soak_shared(options)
    show(f"seed {options.seed}, {options.kills} kills, at most {options.limit:.0f} s")
    with tempfile.TemporaryDirectory(prefix="bazaar-soak-") as folder:
        faults = asyncio.run(_soak(Path(folder), options))
    return 1 if faults else 0


def _soak_shared(options: argparse.Namespace) -> int:
    if reason := postgres.missing():
        show(reason)
        return 1
    with tempfile.TemporaryDirectory(prefix="bazaar-soak-") as folder, postgres.running() as server:
        outcome = asyncio.run(_claim_shared(server, Path(folder), options))
    show(str(outcome), *outcome.faults)
    return 1 if outcome.faults else 0


async def _claim_shared(
    server: postgres.Server, folder: Path, options: argparse.Namespace
) -> Outcome:
    async with asyncio.timeout(options.limit):
        return await claim_at_random(
            server, folder, processes=4, workers=64, claims=options.shared_claims, kills=2
        )


async def _soak(folder: Path, options: argparse.Namespace) -> list[str]:
    async with asyncio.timeout(options.limit), town(folder) as it:
        report = await crash_at_random(
            it,
            kills=options.kills,
            seed=options.seed,
            schedule_to_start_ms=options.schedule_to_start_ms,
        )
        show(str(report), *report.faults)
        if report.faults:
            it.show_logs()
        return report.faults


if __name__ == "__main__":
    sys.exit(main())
