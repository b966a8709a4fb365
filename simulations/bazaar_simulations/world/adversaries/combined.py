"""Adversaries that work together: a traitor, and relays that let one node hear of nobody else."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from bazaar_node.work.workshop import Task
from bazaar_protocol import frames
from bazaar_protocol.frames import encode_frame
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import parse
from bazaar_simulations.world import observing
from bazaar_simulations.world.adversaries.adversary import Profile
from bazaar_simulations.world.adversaries.liars import from_relay
from bazaar_simulations.world.adversaries.relays import HostileRelay
from bazaar_simulations.world.adversaries.workers import BadWorker
from bazaar_simulations.world.lying import LyingLink

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

VICTIM: Final = "ada"
_GOOD_S: Final = 60.0
_BEFORE_S: Final = 1.0


class Traitor(BadWorker):
    """Works well until it is known, and badly from then on."""

    profile = Profile(
        "traitor",
        "combined",
        "Marti & Garcia-Molina 2006; Hoffman, Zage & Nita-Rotaru 2009",
        "that it works worse than it did, seen by oneself where nobody else can tell",
        "bad outcomes for each poster that it cheats, the eclipsed one among them",
    )

    async def _work(self, task: Task) -> str:
        if self.ground.true_s() < _GOOD_S:
            return await super()._work(task)
        self.act()
        await asyncio.sleep(_BEFORE_S)
        return f"garbage for {task.id}"

    def figures(self, world: "World") -> Mapping[str, float]:
        return {**super().figures(world), "bad for victim": self._bad_for_victim(world)}

    def _bad_for_victim(self, world: "World") -> int:
        victim = [node for node in world.honest if node.name == VICTIM]
        ends = observing.attempts(victim, self.keys.agent)
        return ends["rejected"] + ends["breach"]


class Eclipser(HostileRelay):
    """Lets its victim hear of its accomplices alone, and nobody of its victim."""

    profile = Profile(
        "eclipse",
        "combined",
        "Singh, Ngan, Druschel & Wallach 2006; Heilman et al. 2015",
        "own experience: what one has seen oneself needs no relay",
        "bad outcomes of the eclipsed; harm to all others",
    )

    honest_s = 0.0

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        frame = from_relay(body)
        match frame:
            case frames.Event(_, raw) if not self._may_pass(link, raw):
                return ()
            case frames.Segment(_, raws) | frames.Adverts(_, raws):
                kept = tuple(raw for raw in raws if self._may_pass(link, raw))
                # An empty page is the last one.
                is_cut = isinstance(frame, frames.Segment) and not kept
                changed = {"more": False} if is_cut else {}
                return (encode_frame(msgspec.structs.replace(frame, records=kept, **changed)),)
            case _:
                return (body,)

    def _may_pass(self, link: LyingLink, raw: bytes) -> bool:
        author = parse(raw)[0].author
        may_pass = author in {link.peer, self.keys.agent} or (
            (self._name(link.peer) != VICTIM or self._name(author).startswith("traitor"))
            and (self._name(author) != VICTIM or self._name(link.peer).startswith("traitor"))
        )
        if not may_pass:
            self.act()
        return may_pass

    def _name(self, agent: AgentId) -> str:
        return self.ground.network.names.get(agent, "")
