"""What goes wrong in a world, and when."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from bazaar_simulations.world.chance import Chance
from bazaar_simulations.world.network import Way, WeatherNetwork
from bazaar_simulations.world.node_process import NodeProcess
from bazaar_simulations.world.processes import Process
from bazaar_simulations.world.relay_process import RelayProcess
from bazaar_simulations.world.weather import Weather

_STOPS_IN_GOOD_ORDER: Final = 0.2
_DOWN_S_MIN: Final = 0.5
_BACKUPS_KEPT: Final = 3
_MARKED: Final = 0.5


class Storms:
    """Makes happen what the weather says.

    Args:
        chance: Decides.
        weather: How often what happens.
        network: Where links break.
        nodes: Who may be killed.
        relays: Who may be killed, too.
        on_restore: Called when a node got an old copy of its store.

    """

    def __init__(
        self,
        chance: Chance,
        weather: Weather,
        network: WeatherNetwork,
        *,
        nodes: list[NodeProcess],
        relays: list[RelayProcess],
        on_restore: Callable[[NodeProcess], None],
    ) -> None:
        self._chance = chance
        self._weather = weather
        self._network = network
        self._nodes = nodes
        self._relays = relays
        self._on_restore = on_restore
        self._copies: dict[str, list[tuple[float, bytes]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._returns: dict[str, asyncio.Task[None]] = {}
        self._stopped: list[tuple[Way, ...]] = []
        self._is_over = False

    def begin(self) -> None:
        """Let it begin."""
        weather = self._weather
        for name, every_s, strike in (
            ("break", weather.break_every_s, self._break_link),
            ("clog", weather.clog_every_s, self._clog),
            ("partition", weather.partition_every_s, self._partition),
            ("crash", weather.crash_every_s, self._crash_somebody),
            ("backup", weather.backup_every_s, self._back_up),
            ("restore", weather.restore_every_s, self._restore),
        ):
            if every_s:
                work = self._strike(self._chance.under(name), every_s, strike)
                self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def end(self) -> None:
        """Let it end: all links are whole, and everybody is up again."""
        self._is_over = True
        for task in [*self._tasks, *self._returns.values()]:
            task.cancel()
        await asyncio.sleep(0)
        for ways in list(self._stopped):
            self._let_through(ways)
        for process in (*self._relays, *self._nodes):
            if not process.is_up:
                await process.bury()
                process.start()

    def on_commit(self, process: Process) -> None:
        """Kill a process at the moment when something became durable, if it has to be."""
        if not self._is_over and process.is_up:
            chance = self._chance
            if chance.happens(self._weather.crash_at_commit):
                self._crash(process, chance)

    async def _strike(
        self, chance: Chance, every_s: float, strike: Callable[[Chance], None]
    ) -> None:
        while True:
            await asyncio.sleep(chance.wait_s(every_s))
            strike(chance)

    def _break_link(self, chance: Chance) -> None:
        links = list(self._network.links)
        if links:
            self._network.break_link(chance.rng.choice(links))

    def _clog(self, chance: Chance) -> None:
        one = chance.rng.choice(self._nodes)
        other = chance.rng.choice(
            [*self._relays, *(node for node in self._nodes if node is not one)]
        )
        self._hold_back(chance, ((one, other),), self._weather.clog_s, "clog")

    def _partition(self, chance: Chance) -> None:
        parties: list[Process] = [*self._relays, *self._nodes]
        chance.rng.shuffle(parties)
        size = chance.rng.randrange(1, len(parties))
        pairs = tuple((one, other) for one in parties[:size] for other in parties[size:])
        self._hold_back(chance, pairs, self._weather.partition_s, "partition")

    def _hold_back(
        self, chance: Chance, pairs: tuple[tuple[Process, Process], ...], mean_s: float, what: str
    ) -> None:
        there = tuple((one.keys.agent, other.keys.agent) for one, other in pairs)
        back = tuple((other.keys.agent, one.keys.agent) for one, other in pairs)
        ways = there if chance.happens(self._weather.one_way) else there + back
        lasts_s = chance.wait_s(mean_s)
        names = "+".join(dict.fromkeys(one.name for one, _ in pairs))
        others = "+".join(dict.fromkeys(other.name for _, other in pairs))
        self._network.journal.note(what, f"{names} | {others} ways={len(ways)} for={lasts_s:.3f}")
        self._network.stop(*ways)
        self._stopped.append(ways)
        asyncio.get_running_loop().call_later(lasts_s, self._let_through, ways)

    def _let_through(self, ways: tuple[Way, ...]) -> None:
        if any(ways is one for one in self._stopped):
            self._stopped = [one for one in self._stopped if one is not ways]
            self._network.resume(*ways)

    def _crash_somebody(self, chance: Chance) -> None:
        hits_relay = chance.happens(self._weather.relay_share)
        up = [one for one in (self._relays if hits_relay else self._nodes) if one.is_up]
        if not up:
            return
        process = chance.rng.choice(up)
        if chance.happens(_STOPS_IN_GOOD_ORDER):
            self._come_back_later(process, chance, first=process.stop())
        else:
            self._crash(process, chance)

    def _crash(self, process: Process, chance: Chance) -> None:
        process.crash(silently=chance.happens(self._weather.silent_crash))
        self._come_back_later(process, chance)

    def _come_back_later(
        self, process: Process, chance: Chance, first: "Coroutine[None, None, None] | None" = None
    ) -> None:
        down_s = _DOWN_S_MIN + chance.wait_s(self._weather.down_s)

        async def come_back() -> None:
            if first is not None:
                await first
            await asyncio.sleep(down_s)
            if not process.is_up:
                process.start()

        self._returns[process.name] = asyncio.get_running_loop().create_task(come_back())

    def _back_up(self, chance: Chance) -> None:
        node = chance.rng.choice(self._nodes)
        if node.disk.look(node.database) is not None and node.is_up:
            node.note("is copied")
            copies = self._copies.setdefault(node.name, [])
            copies.append((asyncio.get_running_loop().time(), node.disk.save(node.database)))
            del copies[:-_BACKUPS_KEPT]

    def _restore(self, chance: Chance) -> None:
        honest = (node for node in self._nodes if node.is_honest)
        nodes = [node for node in honest if node.is_up and self._copies.get(node.name)]
        if not nodes:
            return
        node = chance.rng.choice(nodes)
        copied_s, copy = chance.rng.choice(self._copies[node.name])
        self._crash(node, chance)
        # With several relays, the one that knows what is lost may be away; only a backup is safe.
        is_marked = len(self._relays) > 1 or chance.happens(_MARKED)
        node.restore(copy, copied_s=copied_s, is_marked=is_marked)
        if len(self._relays) > 1:
            # One from before a recovery may be given to another relay than the one that has the
            # reset of it, and then be reset there as well: two branches, and none can go on.
            del self._copies[node.name]
        self._on_restore(node)
