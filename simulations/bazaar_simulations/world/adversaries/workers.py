"""Adversaries that take work and do not do it."""

import asyncio
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from bazaar_node.work.workshop import Task
from bazaar_protocol.kinds import Heartbeat
from bazaar_protocol.records import parse
from bazaar_simulations.world import observing
from bazaar_simulations.world.adversaries.adversary import Adversary, Profile
from bazaar_simulations.world.adversaries.liars import Edition, LyingNode
from bazaar_simulations.world.lying import LyingLink
from bazaar_simulations.world.node_process import NodeProcess

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

_BEFORE_S: Final = 1.0
"""How long bad work takes: less than the honest need."""


class BadWorker(Adversary, NodeProcess):
    """Takes what work it can get; its kinds say what they do with it."""

    def outstanding(self, world: "World") -> str:
        cheated = [node for node in world.honest if self._has_cheated(node)]
        if not cheated:
            return "it has cheated nobody"
        unaware = [one.name for one in cheated if not observing.complaints(one, self.keys.agent)]
        return f"{', '.join(unaware)} hold nothing against it" if unaware else ""

    def figures(self, world: "World") -> Mapping[str, float]:
        ends = observing.attempts(world.honest, self.keys.agent)
        cheated = sum(self._has_cheated(node) for node in world.honest)
        bad = ends.total() - ends["accepted"]
        return {"attempts": ends.total(), "bad": bad, "bad per poster": bad / max(cheated, 1)}

    def act(self) -> None:
        """Take note that it has done what it should not."""
        if self.acted_s is None:
            self.acted_s = self.ground.true_s()
            self.note("cheats")

    def _has_cheated(self, node: NodeProcess) -> bool:
        ends = observing.attempts([node], self.keys.agent)
        return ends["rejected"] + ends["breach"] > 0


class FalseCompletion(BadWorker):
    """Says at once that it is done, and hands in anything."""

    profile = Profile(
        "false completion",
        "work",
        "Jøsang & Ismail 2002; Golle & Mironov 2001 (uncheatable computations)",
        "that the result is not the one wanted: every result is judged before it is accepted",
        "bad outcomes for each poster that it cheats",
    )

    async def _work(self, task: Task) -> str:
        self.act()
        await asyncio.sleep(_BEFORE_S)
        return f"garbage for {task.id}"


class Plagiarist(BadWorker):
    """Hands in the result of another task, which somebody did well."""

    profile = Profile(
        "plagiarist",
        "work",
        "Golle & Stubblebine 2001 (copying in distributed computing)",
        "that the result is right for another input",
        "bad outcomes for each poster that it cheats",
    )
    _copied = ""

    async def _work(self, task: Task) -> str:
        done, self._copied = self._copied, sha256(task.input).hexdigest()
        if not done:
            return await super()._work(task)
        self.act()
        await asyncio.sleep(_BEFORE_S)
        return done


class LeaseHog(BadWorker):
    """Takes tasks and sends heartbeats for ever."""

    profile = Profile(
        "lease hog",
        "work",
        "Gray & Cheriton 1989 (leases), turned against their granter",
        "that an attempt ends by start-to-close, however often its lease was renewed",
        "attempts that came to nothing",
    )

    async def _work(self, task: Task) -> str:
        self.act()
        while True:
            await asyncio.sleep(_BEFORE_S)
            task.progress(99, "nearly there")


class ClaimAndStall(LyingNode, BadWorker):
    """Takes tasks, and is not heard of any more."""

    profile = Profile(
        "claim and stall",
        "work",
        "Anderson 2004 (BOINC: results that never come)",
        "that no heartbeat comes",
        "attempts that came to nothing",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._edition = Edition(lambda _, raw: None if _is_heartbeat(raw) else raw)

    def says(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        return (self._edition.publish(link, body),)

    def hears(self, link: LyingLink, body: bytes) -> Iterable[bytes]:
        return (self._edition.published(link, body),)

    async def _work(self, task: Task) -> str:
        del task
        self.act()
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never


def _is_heartbeat(raw: bytes) -> bool:
    return isinstance(parse(raw)[0].body, Heartbeat)
