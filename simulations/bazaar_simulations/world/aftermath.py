"""How a world comes to its end: tasks, what adversaries have done, and the figures of it."""

import asyncio
from typing import TYPE_CHECKING, Final

from bazaar_simulations.world import observing
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.processes import Process
from bazaar_simulations.world.watching_nodes import (
    check_agreement,
    check_results,
    check_terminal,
    states_of,
)

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

LOOK_EVERY_S: Final = 5.0
_QUIET_LOOKS: Final = 13
"""So long nothing may be under way: longer than it takes to find out that a link is half open."""
_END_S_MAX: Final = 7_200.0
"""How long the tasks may take to come to an end once the weather is fine."""
_OUT_S_MAX: Final = 900.0
"""How long it may take after that until all has come out that adversaries have done."""


class Aftermath:
    """Looks on until all is over and known.

    Args:
        world: Whose end it is.

    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._noticed: dict[Process, float] = {}

    async def wait(self) -> None:
        """Let all come to an end, and check that it is the right one.

        Raises:
            BrokenInvariant: It is not.

        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _END_S_MAX
        quiet = 0
        while loop.time() < until_s and quiet < _QUIET_LOOKS:
            await asyncio.sleep(LOOK_EVERY_S)
            quiet = 0 if self._is_under_way() else quiet + 1
        check_terminal(self._world.honest)
        check_results(self._world.honest)
        self._check_market()
        if self._world.everything_is_known:
            check_agreement(self._world.honest)
        await self._wait_until_all_is_out()

    def look(self) -> list[str]:
        """Return what adversaries have done and those have not seen who must.

        Raises:
            BrokenInvariant: One of them has got farther than any may.

        """
        missing: list[str] = []
        for one in self._world.adversaries:
            assert isinstance(one, Process)
            if harm := one.harm(self._world):
                raise BrokenInvariant("no adversary does more than this", f"{one.name}: {harm}")
            if one in self._noticed:
                continue
            if said := one.outstanding(self._world):
                missing.append(f"{one.name}: {said}")
            elif one.acted_s is not None:
                self._noticed[one] = self._world.loop.time() - one.acted_s
                one.note(f"is found out after {self._noticed[one]:.0f} s")
        return missing

    def reckon(self) -> dict[str, float]:
        """Return what came of the world."""
        honest = self._world.honest
        figures = {f"tasks {state}": float(n) for state, n in observing.outcomes(honest).items()}
        figures["median s"] = observing.median_s(honest)
        for one in self._world.adversaries:
            assert isinstance(one, Process)
            found = dict(one.figures(self._world))
            if one in self._noticed:
                found["s until out"] = self._noticed[one]
            figures |= {f"{one.name} {what}": round(n, 3) for what, n in sorted(found.items())}
        return figures

    def _check_market(self) -> None:
        found = observing.outcomes(self._world.honest)
        if found["accepted"] < self._world.accepted_min * found.total():
            what = f"{found['accepted']} of {found.total()} tasks were done well"
            raise BrokenInvariant("the market goes on", what)
        took_s, most_s = observing.median_s(self._world.honest), self._world.median_s_max
        if most_s and took_s > most_s:
            raise BrokenInvariant("the market goes on", f"the median task took {took_s:.1f} s")

    def _is_under_way(self) -> bool:
        honest = self._world.honest
        if not all(node.desk and node.desk.parts.office.is_ready.is_set() for node in honest):
            return True
        return any(
            role == "poster" and not is_over
            for node in honest
            for role, _, is_over in states_of(node).values()
        )

    async def _wait_until_all_is_out(self) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _OUT_S_MAX
        while missing := self.look():
            if loop.time() >= until_s:
                raise BrokenInvariant("what an adversary does comes out", "; ".join(missing))
            await asyncio.sleep(LOOK_EVERY_S)
