"""Measures speed, each figure beside its limit or a control of the same run: ``make bench``.

A missed goal is shown and fails nothing; only what does not work at all ends a run.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from tests.benchmarks import (
    auctions,
    catching_up,
    chains,
    claims,
    coordination,
    crowd,
    fanout,
    floods,
    intake,
    links,
    lookups,
    nodes,
    populations,
    report,
    reputation,
    stores,
    trades,
    worlds,
)
from tests.benchmarks.measuring import Bench, Row

_MEMORY = Path("/dev/shm")

SUBJECTS: Final[dict[str, Callable[[Bench], Coroutine[None, None, list[Row]]]]] = {
    "intake": intake.run,
    "fanout": fanout.run,
    "floods": floods.run,
    "claims": claims.run,
    "trades": trades.run,
    "auctions": auctions.run,
    "chains": chains.run,
    "catching-up": catching_up.run,
    "coordination": coordination.run,
    "crowd": crowd.run,
    "links": links.run,
    "lookups": lookups.run,
    "nodes": nodes.run,
    "reputation": reputation.run,
    "stores": stores.run,
    "worlds": worlds.run,
    "populations": populations.run,
}

app = App(name="benchmarks", help="Measure speed, each figure beside its limit or a control.")


@app.default
def main(
    *,
    rounds: Annotated[int | None, Parameter(help="Rounds of each comparison; usually 5.")] = None,
    only: Annotated[tuple[str, ...], Parameter(help="Subjects to measure; all if none.")] = (),
    quick: Annotated[
        bool, Parameter(help="See that everything works; figures mean little.")
    ] = False,
    json: Annotated[Path, Parameter(help="File for the figures.")] = Path("build/bench.json"),
) -> None:
    """Measure, print a table for each subject, and write all of it to a file."""
    names = only or tuple(SUBJECTS)
    if unknown := set(names) - set(SUBJECTS):
        raise SystemExit(f"no subject is called {', '.join(sorted(unknown))}; there are: "
                         f"{', '.join(SUBJECTS)}")  # fmt: skip
    place = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    rounds = rounds or (1 if quick else 5)
    done = report.begin(store=str(place), rounds=rounds, is_quick=quick)
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", dir=place) as folder:
            rows = asyncio.run(SUBJECTS[name](Bench(rounds, quick, Path(folder))))
        report.show(rows, f"{name} ({time.monotonic() - began:.0f} s)")
        done.rows.extend(rows)
        report.write(done, json)
    missed = sum(row.is_met is False for row in done.rows)
    met = sum(row.is_met is True for row in done.rows)
    print(f"{met} goals met, {missed} missed, stores in {place}; all figures: {json}")


if __name__ == "__main__":
    app()
