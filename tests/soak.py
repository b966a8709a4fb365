"""``make soak``: kill relay and nodes at random for a while, and print what became of it.

The seed that it prints brings the same kills in the same order (``--seed``); their moments within
a program differ in every run.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.crashes import crash_at_random
from tests.town import show, town


def main() -> int:
    """Run it; the exit status is 1 when anything was lost, stuck, or done twice."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--limit", type=float, default=900.0, help="seconds until it gives up")
    parser.add_argument("--schedule-to-start-ms", type=int, default=4_000)
    options = parser.parse_args()
    show(f"seed {options.seed}, {options.kills} kills, at most {options.limit:.0f} s")
    with tempfile.TemporaryDirectory(prefix="bazaar-soak-") as folder:
        faults = asyncio.run(_soak(Path(folder), options))
    return 1 if faults else 0


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
