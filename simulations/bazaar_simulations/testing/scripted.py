"""A world whose story is told by a test: real nodes and a relay, virtual time, trouble on demand.

    ada, bo = world.agent("ada"), world.agent("bo")

    @ada.offer("text.count", price=5)
    async def count(task: Task) -> object:
        return {"words": len(task.input.split())}

    async def story() -> None:
        task = await bo.post(PostRequest(capability="text.count", input=b"one two"))
        world.crash("ada")
        await world.sleep(60)
        world.start("ada")
        assert await bo.result(task) == b'{"words":2}'

    world.play(story)

What the story does not forbid goes on to its end; every invariant is checked meanwhile, as in all
worlds. The same seed gives the same run, as long as the test draws no chance of its own and reads
no clock but ``world.now_s``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from bazaar_node.desk import Desk
from bazaar_node.library import Node, OpenNode
from bazaar_node.service import PostRequest
from bazaar_node.work.workshop import Handler
from bazaar_protocol.errors import ConfigError
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.network import Way
from bazaar_simulations.world.node_process import NodeProcess
from bazaar_simulations.world.processes import Ground, Process
from bazaar_simulations.world.weather import Weather
from bazaar_simulations.world.world import NAMES, World

Story = Callable[[], Awaitable[None]]

_READY_S: Final = 120.0
"""So long a node may take until it is there for a test that asks it for something."""
_LOOK_S: Final = 0.1
_LINES_SHOWN: Final = 20
_ENDS_S: Final = 3_600.0


class Agent:
    """A node of a world, as a test uses it.

    Args:
        world: Its world.
        name: Its name there.

    """

    def __init__(self, world: "ScriptedWorld", name: str) -> None:
        self.name = name
        self.node = Node(name)
        """What it offers, and does: a test may put its own in place of it."""
        self._world = world

    def offer(self, capability: str, **terms: Any) -> Callable[[Handler], Handler]:
        """Offer ``capability``, done by the decorated ``async`` function (``Node.offer``).

        Raises:
            ConfigError: It is offered already, or a value makes no sense.

        """
        return self.node.offer(capability, **terms)

    @property
    def desk(self) -> Desk | None:
        """What answers for it while it runs."""
        process = self._world.process(self.name)
        assert isinstance(process, NodeProcess)
        return process.desk

    async def post(self, request: PostRequest) -> str:
        """Post a task and return its id, as soon as this agent is up and ready.

        Raises:
            BazaarError: It cannot be posted.
            TimeoutError: The agent does not get ready.

        """
        return await (await self._open()).post(request)

    async def result(self, task: str, *, timeout_s: float = _ENDS_S) -> bytes:
        """Wait until a task of this agent is accepted, and return its result.

        Raises:
            Refused: It ended in another way.
            TimeoutError: It is not over after so many virtual seconds.

        """
        return await (await self._open()).result(task, timeout_s=timeout_s)

    async def _open(self) -> OpenNode:
        async with asyncio.timeout(_READY_S):
            # It has just begun, or was crashed meanwhile; no time of ours passes.
            while (desk := self.desk) is None:  # noqa: ASYNC110 (it may be killed at any moment)
                await asyncio.sleep(_LOOK_S)
            await desk.ready()
        return OpenNode(desk)


class ScriptedWorld(World):
    """A world in which there happens what a test says.

    Args:
        seed: Everything follows from it.
        nodes: How many agents there are; they are called ``NAMES``, in this order.
        relays: How many relays: ``relay1``, ``relay2``, …
        weather: How bad things are besides.
        replay: The command that runs the same test with the same seed.
        on_failure: Told what to show when the story fails.

    """

    def __init__(
        self,
        seed: int = 0,
        *,
        nodes: int = 3,
        relays: int = 1,
        weather: Weather | None = None,
        replay: str = "",
        on_failure: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__(
            seed, agents=nodes, relays=relays, weather=weather, make_node=self._make_agent
        )
        self.replay = replay or f"the same test with seed {seed}"
        self.agents = {
            name: Agent(self, name)
            for name in (NAMES[number] if number < len(NAMES) else f"agent{number}"
                         for number in range(nodes))
        }  # fmt: skip
        self._tell = on_failure
        self._story: Story | None = None
        self._parted: list[tuple[Way, ...]] = []

    @property
    def now_s(self) -> float:
        """Virtual time since the world began, in seconds."""
        return self.loop.time()

    def agent(self, name: str) -> Agent:
        """Return the agent of that name.

        Raises:
            ConfigError: There is none.

        """
        if name not in self.agents:
            raise ConfigError(f"no agent is called {name}; there are {', '.join(self.agents)}")
        return self.agents[name]

    def adopt(self, name: str, node: Node) -> Agent:
        """Let an agent of this world offer and do what ``node`` does, which is not started.

        Raises:
            ConfigError: There is no agent of that name.

        """
        agent = self.agent(name)
        agent.node = node
        return agent

    def play(self, story: Story) -> None:
        """Let the world begin, run ``story`` in it, and then let everything come to its end.

        Raises:
            BrokenInvariant: One does not hold. It says which, when, and how to see it again.

        """
        self._story = story
        try:
            self.run(0.0)
        except BrokenInvariant:
            raise  # it says all that there is to say
        except BaseException:
            self._tell(self._told())
            raise

    async def sleep(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        await asyncio.sleep(seconds)

    def process(self, name: str) -> Process:
        """Return the node or relay of that name.

        Raises:
            ConfigError: There is none, or the world has not begun.

        """
        for process in (*self.nodes, *self.relays):
            if process.name == name:
                return process
        raise ConfigError(f"nobody is called {name} in this world, or it has not begun yet")

    def crash(self, name: str, *, silently: bool = False) -> None:
        """Kill a node or a relay at once: what it had not yet written to its disk is gone.

        Args:
            name: Whom.
            silently: Whether its machine is gone too, so that nobody is told.

        Raises:
            ConfigError: There is none of that name, or it does not run.

        """
        process = self.process(name)
        if not process.is_up:
            raise ConfigError(f"{name} does not run")
        process.crash(silently=silently)

    def start(self, name: str) -> None:
        """Start what was crashed.

        Raises:
            ConfigError: There is none of that name, or it runs.

        """
        process = self.process(name)
        if process.is_up:
            raise ConfigError(f"{name} runs already")
        process.start()

    def part(self, *names: str) -> None:
        """Let nothing through between these and all others, until ``heal``.

        Raises:
            ConfigError: There is none of such a name.

        """
        inside = [self.process(name) for name in names]
        outside = [one for one in (*self.nodes, *self.relays) if one not in inside]
        pairs = [(one.keys.agent, other.keys.agent) for one in inside for other in outside]
        ways = (*pairs, *((other, one) for one, other in pairs))
        self.journal.note("partition", f"{'+'.join(names)} | all others")
        self._network.stop(*ways)
        self._parted.append(ways)

    def heal(self) -> None:
        """Let everything through again that ``part`` has stopped."""
        while self._parted:
            self._network.resume(*self._parted.pop())

    async def _post_tasks(self, seconds: float) -> None:
        del seconds
        assert self._story is not None
        try:
            await self._story()
        finally:
            self.heal()

    def _make_agent(
        self, ground: Ground, name: str, relays: Sequence[str], *, price: int
    ) -> NodeProcess:
        return _AgentProcess(ground, name, relays, price=price, node=self.agents[name].node)

    def _explained(self, error: BrokenInvariant) -> BrokenInvariant:
        error.seed = self.seed
        error.replay = self.replay
        return error

    def _told(self) -> str:
        lines = "\n".join(self.journal.lines[-_LINES_SHOWN:])
        return f"{lines}\nseed {self.seed}, {self.now_s:.6f} s\nto see it again: {self.replay}"


class _AgentProcess(NodeProcess):
    """A node that offers what a test says, and nothing else."""

    def __init__(
        self, ground: Ground, name: str, relays: Sequence[str], *, price: int, node: Node
    ) -> None:
        super().__init__(ground, name, relays, price=price)
        self._node = node
        self.settings.offers[:] = node.offers

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What does its work."""
        return self._node.handlers
