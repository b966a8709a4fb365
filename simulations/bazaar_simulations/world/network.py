"""Links with a weather: they take time, break, clog, and fall silent."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from bazaar_host.links import RELAY_PROTOCOL, OnLink
from bazaar_host.memory import MemoryLink, MemoryNetwork, MemoryTransport
from bazaar_protocol import limits
from bazaar_protocol.errors import Unreachable
from bazaar_protocol.framing import Splitter, pack
from bazaar_protocol.identity import AgentId
from bazaar_simulations.world.chance import Chance
from bazaar_simulations.world.weather import Weather

if TYPE_CHECKING:
    from bazaar_simulations.world.journal import Journal

Way: TypeAlias = tuple[AgentId, AgentId]
"""From one party to another."""
Tap: TypeAlias = Callable[["WeatherLink", list[bytes]], None]
"""Sees the frames that a party sends on a link to or from a relay, before they are under way."""

# What a careless network or a careful sender may well send twice. An answer is never sent twice.
_REPEATABLE: Final = (b"\xa7publish", b"\xa4mail", b"\xa7collect", b"\xa5event", b"\xa6letter")
_TAG_AT: Final = slice(1, 9)
_HALF_OPEN_S: Final = 40.0


class WeatherNetwork(MemoryNetwork):
    """All parties of a world, and what is between them.

    Args:
        chance: Decides.
        weather: How bad it is; it may be replaced at any time.
        journal: What happened to links is written here.

    """

    def __init__(self, chance: Chance, weather: Weather, journal: "Journal") -> None:
        super().__init__()
        self.weather = weather
        self.names: dict[AgentId, str] = {}
        self.links: dict[WeatherLink, None] = {}
        """Our ends of those that somebody has dialed, in that order."""
        self.taps: list[Tap] = []
        self.chance = chance
        self.journal = journal
        self._stopped: dict[Way, int] = {}

    def make_transport(
        self, agent: AgentId, protocols: Sequence[str], on_link: OnLink
    ) -> "WeatherTransport":
        """Make what ``open`` opens."""
        return WeatherTransport(self, agent, protocols, on_link)

    def make_link(
        self, siblings: dict[MemoryLink, None], protocol: str, *, inbound: bool
    ) -> "WeatherLink":
        """Make one end of a link."""
        return WeatherLink(self, siblings, protocol, inbound=inbound)

    def latency_s(self) -> float:
        """Draw how long the next message is under way."""
        return self.weather.latency_s + self.weather.jitter_s * self.chance.rng.random()

    def is_stopped(self, sender: AgentId, receiver: AgentId) -> bool:
        """Tell whether nothing gets through this way now."""
        return (sender, receiver) in self._stopped

    def stop(self, *ways: Way) -> None:
        """Let nothing through these ways, until ``resume`` is called as often."""
        for way in ways:
            self._stopped[way] = self._stopped.get(way, 0) + 1

    def resume(self, *ways: Way) -> None:
        """Let what was held back go on."""
        for way in ways:
            self._stopped[way] -= 1
            if not self._stopped[way]:
                del self._stopped[way]
        for link in list(self.links):
            link.resume()

    def break_link(self, link: "WeatherLink") -> None:
        """Break a link of ``links``."""
        late_s = 0.0
        if self.chance.happens(self.weather.half_open):
            late_s = self.chance.rng.uniform(0, _HALF_OPEN_S)
        self.journal.note(f"{link.names}", f"breaks late={late_s:.3f}")
        link.snap(late_s, ours_first=self.chance.happens(0.5))


class WeatherTransport(MemoryTransport):
    """Dials through the weather."""

    def __init__(
        self,
        network: WeatherNetwork,
        agent: AgentId,
        protocols: Sequence[str],
        on_link: OnLink,
    ) -> None:
        super().__init__(network, agent, protocols, on_link)
        self._air = network

    async def dial(
        self, peer: AgentId | None, addresses: Sequence[str], protocol: str
    ) -> "WeatherLink":
        """Open a link, as any transport does.

        Raises:
            Unreachable: Nobody answered, or nothing gets through.

        """
        failures: list[str] = []
        for address in addresses:
            found = self._air.find(peer, address, protocol)
            if isinstance(found, str):
                await asyncio.sleep(self._air.latency_s())
                failures.append(f"{address}: {found}")
                continue
            if self._is_cut_off(found.agent):
                await asyncio.sleep(limits.DIAL_TIMEOUT_S)
                failures.append(f"{address}: no answer in time")
                continue
            await asyncio.sleep(2 * self._air.latency_s())
            if self._is_closed or self._air.find(peer, address, protocol) is not found:
                failures.append(f"{address}: it went away")
                continue
            link = self._connect(found, protocol)
            assert isinstance(link, WeatherLink)
            return link
        raise Unreachable("; ".join(failures) or "no addresses were given")

    def vanish(self, *, silently: bool) -> None:
        """End at once, as a killed process does: nothing more leaves, nothing is said."""
        self._is_closed = True
        self._network.unbind(self)
        for link in list(self._links):
            assert isinstance(link, WeatherLink)
            link.vanish(silently=silently)

    def _is_cut_off(self, other: AgentId) -> bool:
        there, back = (self.agent, other), (other, self.agent)
        return self._air.is_stopped(*there) or self._air.is_stopped(*back)


class WeatherLink(MemoryLink):
    """One end of a link through the weather."""

    def __init__(
        self,
        network: WeatherNetwork,
        siblings: dict[MemoryLink, None],
        protocol: str,
        *,
        inbound: bool,
    ) -> None:
        super().__init__(network, siblings, protocol, inbound=inbound)
        self.names = ""
        self._weather = network
        # Messages under way, in order; None is the end of the link.
        self._under_way: deque[bytes | None] = deque()
        self._held = 0
        self._lands_at = 0.0
        self._sent_at = -1.0

    @property
    def backlog_bytes(self) -> int:
        """How much of what was sent here has not arrived."""
        return sum(map(len, self._queue)) + sum(len(one) for one in self._under_way if one)

    @property
    def far_end(self) -> "WeatherLink":
        """The other end."""
        return self._other

    @property
    def sender(self) -> AgentId:
        """Whose end this is."""
        return self._other.peer

    def join(self, other: Self, peer: AgentId) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make ``other`` the far end, which belongs to ``peer``."""
        super().join(other, peer)
        if not self.inbound:
            self._weather.links[self] = None
        else:
            name = self._weather.names
            self.names = f"{name.get(other.peer, '?')}<-{name.get(peer, '?')}"
            other.names = f"{name.get(peer, '?')}->{name.get(other.peer, '?')}"

    def close(self) -> None:
        """End the link, after what is under way."""
        if not self._closed.is_set():
            self._launch(None)
            self.end(discard=True)

    def end(self, *, discard: bool) -> None:
        """Note that the link is gone."""
        super().end(discard=discard)
        if not self.inbound:
            self._weather.links.pop(self, None)

    def vanish(self, *, silently: bool) -> None:
        """End this end only; the other one hears of it at once, or never."""
        self.end(discard=True)
        if not silently:
            asyncio.get_running_loop().call_later(self._weather.latency_s(), self._other.end_late)

    def snap(self, late_s: float, *, ours_first: bool) -> None:
        """Break: both ends learn of it, one of them maybe late."""
        first, second = (self, self._other) if ours_first else (self._other, self)
        for end in (first, second):
            end.lose()
        first.end(discard=False)
        asyncio.get_running_loop().call_later(late_s, second.end_late)

    def lose(self) -> None:
        """Lose what is under way."""
        self._under_way = deque(b"" for _ in self._under_way)

    def end_late(self) -> None:
        """Learn that the link is gone."""
        if not self._closed.is_set():
            self.end(discard=False)

    def resume(self) -> None:
        """Let go on what was held back, both ways."""
        for end in (self, self._other):
            end.release()

    def release(self) -> None:
        """Let land what was held back this way, if nothing stops it."""
        while self._held and not self._weather.is_stopped(self.sender, self.peer):
            self._held -= 1
            self._arrive_next()

    def _enqueue(self, frames: bytes) -> None:
        self._gate.add(len(frames))
        network = self._weather
        if self.protocol == RELAY_PROTOCOL and network.taps:
            bodies = Splitter().feed(frames)
            for tap in network.taps:
                tap(self, bodies)
            if network.chance.happens(network.weather.duplicate):
                again = b"".join(pack(body) for body in bodies if _is_repeatable(body))
                self._gate.add(len(again))
                frames += again
        self._launch(frames)

    def _launch(self, frames: bytes | None) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        last = self._under_way[-1] if self._under_way else None
        if frames is not None and last and self._sent_at == now:
            self._under_way[-1] = last + frames  # one message, as one packet
            return
        self._sent_at = now
        self._lands_at = max(self._lands_at, now + self._weather.latency_s())
        self._under_way.append(frames)
        loop.call_at(self._lands_at, self._land)

    def _land(self) -> None:
        if self._held or self._weather.is_stopped(self.sender, self.peer):
            self._held += 1
        else:
            self._arrive_next()

    def _arrive_next(self) -> None:
        frames = self._under_way.popleft()
        if frames is None:
            self._other.end_late()
        elif self._closed.is_set():
            self._other.arrive(frames)  # what was sent before we closed
        elif frames:
            self._queue.append(frames)
            self.flow()


def _is_repeatable(body: bytes) -> bool:
    return body[_TAG_AT].startswith(_REPEATABLE)
