"""A world: relays and nodes, the real ones, under virtual time and one seed.

    world = World(7, agents=8, weather=Weather(crash_every_s=60))
    world.run(seconds=600)

One seed gives one run, to the byte of its log. After every transaction of a process, and at every
message to or from a relay, the invariants are checked; the first that is broken ends the run.
"""

import asyncio
import contextlib
import gc
import os
from collections.abc import Callable, Generator, Sequence
from tempfile import TemporaryDirectory
from typing import Any, Final

from bazaar_host import logs
from bazaar_protocol.identity import AgentId
from bazaar_simulations.world import loop as virtual
from bazaar_simulations.world.adversaries.adversary import Adversary, Stranger
from bazaar_simulations.world.aftermath import LOOK_EVERY_S, Aftermath
from bazaar_simulations.world.bounds import check_bounds
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.cast import Cast, Names
from bazaar_simulations.world.chance import Chance
from bazaar_simulations.world.journal import Journal
from bazaar_simulations.world.known_records import KnownRecords
from bazaar_simulations.world.load import draw_request
from bazaar_simulations.world.loop import VirtualLoop
from bazaar_simulations.world.network import WeatherLink, WeatherNetwork
from bazaar_simulations.world.node_process import NodeProcess
from bazaar_simulations.world.processes import Ground, Process
from bazaar_simulations.world.relay_process import RelayProcess
from bazaar_simulations.world.storms import Storms
from bazaar_simulations.world.watching_nodes import NodeWatch
from bazaar_simulations.world.watching_relays import RelayWatch, Wire
from bazaar_simulations.world.weather import Weather

NAMES: Final = ("ada", "bo", "cy", "dee", "eli", "fay", "gus", "hal")
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 (a folder of its own is made in it)
_GARBAGE_MIN: Final = 200_000
_BEGIN_S: Final = 0.1
_PRICE_FIRST: Final = 10
_UNDERCUT: Final = 1
"""What adversaries ask for, who want to be chosen."""

MakeNode = Callable[..., NodeProcess]
MakeRelay = Callable[[Ground, str], RelayProcess]


class World:
    """Some relays and nodes, and all that happens to them.

    Args:
        seed: Everything follows from it.
        agents: How many nodes there are.
        relays: How many relays; every node uses all of them.
        weather: How bad things are.
        task_every_s: How often some node posts a task, on average.
        scenario: What to call this kind of world in the command that runs it again.
        cast: Who is there beside those.
        accepted_min: The share of the tasks of the honest that have to be done well.
        median_s_max: How long the median of them may take; 0 for any time.
        make_node: Makes a node, maybe one that is not honest.
        make_relay: Makes a relay.

    """

    def __init__(
        self,
        seed: int,
        *,
        agents: int = 8,
        relays: int = 1,
        weather: Weather | None = None,
        task_every_s: float = 10.0,
        scenario: str = "calm",
        cast: Cast | None = None,
        accepted_min: float = 0,
        median_s_max: float = 0,
        make_node: MakeNode = NodeProcess,
        make_relay: MakeRelay = RelayProcess,
    ) -> None:
        self.seed = seed
        self.scenario = scenario
        self.weather = weather or Weather()
        self.task_every_s = task_every_s
        self.loop = VirtualLoop()
        self.journal = Journal(self.loop.time)
        self.nodes: list[NodeProcess] = []
        self.relays: list[RelayProcess] = []
        self.strangers: list[Stranger] = []
        self.accepted_min = accepted_min
        self.median_s_max = median_s_max
        self.figures: dict[str, float] = {}
        """What came of it; there once it has run."""
        self._cast = cast or Cast()
        self._counts = (agents, relays)
        self._aftermath = Aftermath(self)
        self._seconds = 0.0
        self._makers = (make_node, make_relay)
        self._chance = Chance(seed)
        self._network = WeatherNetwork(self._chance.under("network"), self.weather, self.journal)
        honest: dict[AgentId, str] = {}
        self._honest = honest
        self._known = KnownRecords(honest, awards_are_unique=relays + len(self._cast.relays) == 1)
        self._wire = Wire(self._known)
        self._network.taps.append(self._see)
        self._watches: dict[str, NodeWatch | RelayWatch] = {}
        self._storms: Storms | None = None
        self._broken: asyncio.Future[BrokenInvariant]

    @property
    def everything_is_known(self) -> bool:
        """Whether whoever comes back can learn all that it ever signed.

        With several relays, an old copy may be caught up while the one that matters is away.
        """
        relays = self._counts[1] + len(self._cast.relays)
        return relays == 1 or not self.weather.restore_every_s

    @property
    def honest(self) -> list[NodeProcess]:
        """The nodes that do as they should."""
        return [node for node in self.nodes if node.is_honest]

    @property
    def adversaries(self) -> list[Adversary]:
        """Those who do not."""
        return [one for one in self._all if isinstance(one, Adversary)]

    def disown(self, agent: AgentId) -> None:
        """Hold nobody to what is signed by ``agent`` from now on: its key was stolen."""
        self._honest.pop(agent, None)
        self._wire.nodes.pop(agent, None)

    def run(self, seconds: float = 600.0, *, days: float = 0.0) -> None:
        """Let so much time pass with tasks and weather, and then all come to an end.

        Raises:
            BrokenInvariant: One does not hold. It says which, when, and how to see it again.

        """
        seconds += days * 86_400
        self._seconds = seconds
        # Relative paths, since whatever a process says of its files has to be the same.
        with (
            TemporaryDirectory(dir=_fast_folder()) as folder,
            contextlib.chdir(folder),
            logs.silenced(),
            _seldom_collecting(),
        ):
            virtual.run(self._run(seconds), self.loop)

    async def _run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_error)
        self._broken = loop.create_future()
        self.loop.on_stuck = lambda why: self._break(BrokenInvariant("nobody waits for ever", why))
        story = loop.create_task(self._live(seconds))
        try:
            await asyncio.wait((story, self._broken), return_when=asyncio.FIRST_COMPLETED)
            if not self._broken.done():
                await story
        except BrokenInvariant as error:
            self._break(error)
        finally:
            story.cancel()
            self._network.taps.clear()
            self._storms = None
            await self._put_away()
        if self._broken.done():
            raise self._explained(self._broken.result())

    async def _live(self, seconds: float) -> None:
        await self._begin()
        self._storms = storms = Storms(
            self._chance.under("storms"),
            self.weather,
            self._network,
            nodes=self.nodes,
            relays=self.relays,
            on_restore=lambda node: self._watch_of(node).look_back(),
        )
        storms.begin()
        loop = asyncio.get_running_loop()
        checks = loop.create_task(self._look_on())
        try:
            await self._post_tasks(seconds)
            await storms.end()
            self._network.weather = Weather()
            self.journal.note("world", "the weather is fine")
            await self._aftermath.wait()
            for relay in self.relays:
                watch = self._watches.get(relay.name)
                if isinstance(watch, RelayWatch):
                    watch.check_kept()
            self.figures = self._aftermath.reckon()
            for what, figure in self.figures.items():
                self.journal.note("figure", f"{what} = {figure:g}")
        finally:
            checks.cancel()

    async def _begin(self) -> None:
        agents, relays = self._counts
        make_node, make_relay = self._makers
        names = Names()
        relay_kinds: list[MakeRelay] = [*[make_relay] * relays, *self._cast.relays]
        for number, make in enumerate(relay_kinds, start=1):
            relay = make(self._ground, names.of(make, f"relay{number}"))
            self.relays.append(relay)
            if relay.is_honest:
                self._watches[relay.name] = watch = RelayWatch(relay, self._known)
                self._wire.relays[relay.keys.agent] = watch
            relay.start()
        await asyncio.sleep(_BEGIN_S)
        node_kinds: list[MakeNode] = [*[make_node] * agents, *self._cast.nodes]
        for number, kind in enumerate(node_kinds):
            usual = NAMES[number] if number < len(NAMES) else f"agent{number}"
            name = names.of(kind, usual)
            price = _PRICE_FIRST + number if number < agents else _UNDERCUT
            node = kind(self._ground, name, self._addresses(name), price=price)
            self.nodes.append(node)
            self._watches[name] = watching = NodeWatch(node, self._known)
            if node.is_honest:
                self._wire.nodes[node.keys.agent] = watching
            node.start()
        for stranger in self._cast.strangers:
            name = names.of(stranger, "")
            self.strangers.append(stranger(self._ground, name, self._addresses(name)))
            self.strangers[-1].start()
        self._honest |= {one.keys.agent: one.name for one in self._all if one.is_honest}

    def _addresses(self, node: str) -> list[str]:
        used = self._cast.uses.get(node)
        known = sorted(self.relays, key=lambda relay: relay.is_honest is self._cast.relays_first)
        return [relay.address for relay in known if used is None or relay.name in used]

    async def _post_tasks(self, seconds: float) -> None:
        chance = self._chance.under("load")
        loop = asyncio.get_running_loop()
        end_s = loop.time() + seconds
        while (wait_s := chance.wait_s(self.task_every_s)) < end_s - loop.time():
            await asyncio.sleep(wait_s)
            poster = chance.rng.choice(self.honest)
            others = [node for node in self.nodes if node is not poster]
            poster.post(draw_request(chance, poster, others))
        await asyncio.sleep(end_s - loop.time())

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self._aftermath.look()
                check_bounds(self.honest, self._network)
            except BrokenInvariant as error:
                self._break(error)
            for process in self._all:
                if process.failure is not None:
                    self._on_failure(process, process.failure)

    @property
    def _ground(self) -> Ground:
        return Ground(self._chance, self._network, self.journal, self.loop.time, self._on_commit)

    @property
    def _all(self) -> Sequence[Process]:
        return [*self.relays, *self.nodes, *self.strangers]

    def _watch_of(self, node: NodeProcess) -> NodeWatch:
        watch = self._watches[node.name]
        assert isinstance(watch, NodeWatch)
        return watch

    def _on_commit(self, process: Process) -> None:
        try:
            if process.is_honest:
                self._watches[process.name].look()
        except BrokenInvariant as error:
            self._break(error)
        if self._storms is not None:
            self._storms.on_commit(process)

    def _see(self, link: WeatherLink, bodies: list[bytes]) -> None:
        try:
            self._wire.see(link, bodies)
        except BrokenInvariant as error:
            self._break(error)

    def _on_failure(self, process: Process, error: BaseException) -> None:
        broken = BrokenInvariant("no process ends by itself", f"{process.name}: {error!r}")
        broken.__cause__ = error
        self._break(broken)

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        broken = BrokenInvariant("nothing fails unseen", f"{context['message']}: {error!r}")
        broken.__cause__ = error
        self._break(broken)

    def _break(self, error: BrokenInvariant) -> None:
        if self._broken.done():
            return
        error.step = self.loop.steps
        error.at_s = self.loop.time()
        error.lines = list(self.journal.lines)
        self._broken.set_result(error)

    async def _put_away(self) -> None:
        for process in self._all:
            if self._broken.done() and process.is_up:
                process.crash(silently=True)
            else:
                await process.stop()
            await process.bury()

    def _explained(self, error: BrokenInvariant) -> BrokenInvariant:
        error.seed = self.seed
        named = f"--scenario {self.scenario} --seconds {self._seconds:g}"
        error.replay = f"bazaar simulate replay {self.seed} {named}"
        return error


def _fast_folder() -> str | None:
    """Return a folder in memory, where the system has one: nothing here has to last."""
    return _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None


@contextlib.contextmanager
def _seldom_collecting() -> Generator[None]:
    """Look for garbage seldom: there is little that nobody refers to, and looking takes time."""
    before = gc.get_threshold()
    gc.set_threshold(_GARBAGE_MIN)
    try:
        yield
    finally:
        gc.set_threshold(*before)
