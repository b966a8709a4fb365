"""Many worlds, one after the other in several processes, until one breaks or the time is up."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from typing import Final

from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.scenarios import find

_AHEAD: Final = 4
"""How many worlds wait for each process, so that none has to wait."""
_BROKEN_MAX: Final = 5
"""After so many no new world is begun."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One world that was run."""

    scenario: str
    seed: int
    virtual_s: float
    broken: str = ""
    """What to read when an invariant did not hold; else empty."""


@dataclass(slots=True)
class Swept:
    """What came of many worlds."""

    worlds: int = 0
    virtual_s: float = 0.0
    real_s: float = 0.0
    broken: list[Ran] = field(default_factory=list)


def run_one(scenario: str, seed: int) -> Ran:
    """Run one world to its end, and say what came of it."""
    gc.collect()  # what is left of the world before holds databases, and is seldom looked for
    world = find(scenario).world(seed)
    try:
        world.run(find(scenario).seconds)
    except BrokenInvariant as broken:
        return Ran(scenario, seed, world.loop.time(), str(broken))
    return Ran(scenario, seed, world.loop.time())


def sweep(
    scenarios: Sequence[str],
    seeds: range,
    *,
    processes: int = 2,
    limit_s: float = 600.0,
    on_ran: Callable[[Ran], None] = lambda _: None,
) -> Swept:
    """Run every seed of every scenario, as many as there is time for.

    Args:
        scenarios: Their names; each seed is tried in all of them before the next one.
        seeds: The seeds.
        processes: How many worlds run at the same time.
        limit_s: After so many seconds no new world is begun.
        on_ran: Called after each.

    """
    began_s = time.monotonic()
    swept = Swept()
    todo = ((scenario, seed) for seed in seeds for scenario in scenarios)
    # Fresh processes: a forked one would share what this one has under way.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running = _begin(pool, todo, processes * _AHEAD)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                ran = future.result()
                swept.worlds += 1
                swept.virtual_s += ran.virtual_s
                swept.broken += [ran] if ran.broken else []
                on_ran(ran)
            is_over = time.monotonic() - began_s > limit_s or len(swept.broken) >= _BROKEN_MAX
            if is_over:
                running = {future for future in running if not future.cancel()}
            else:
                running |= _begin(pool, todo, len(done))
    swept.real_s = time.monotonic() - began_s
    return swept


def _begin(
    pool: ProcessPoolExecutor, todo: Iterator[tuple[str, int]], count: int
) -> set[Future[Ran]]:
    return {pool.submit(run_one, *one) for one in islice(todo, count)}
