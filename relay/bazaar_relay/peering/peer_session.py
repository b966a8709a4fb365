"""Following one peer, through all that a network does to it: pull what is lacking, then go on live.

Who is behind by little, and knows the peer's store, reads the news from its cursor and compares
afterwards; else it compares first, and pulls logs by segments. A peer that shows what it cannot
have checked is sent away for a while, which doubles each time.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from bazaar_host.links import RELAY_PROTOCOL, Link, Transport
from bazaar_host.logs import logger
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import (
    LinkClosed,
    MalformedRecord,
    PeerLied,
    Refused,
    RemoteError,
    StorageError,
)
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId, to_did
from bazaar_relay.machine.federation import Federation
from bazaar_relay.peering.catching_up import CatchingUp, Hand, Settled
from bazaar_relay.peering.forwarding import Forwarding
from bazaar_relay.peering.marks import Marks
from bazaar_relay.peering.peer_counters import FAULTS, PeerCounters
from bazaar_relay.peering.peer_link import PeerLink
from bazaar_relay.peering.peer_state import PeerState, Stage
from bazaar_relay.storage.store import Store

FEATURE: Final = "peer"
_LIES: Final = ("malformed", "signature", "too-large")
"""Statuses that a record cannot have which a peer has checked."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what. The defaults are for networks; tests hurry."""

    backoff_first_s: float = limits.BACKOFF_FIRST_S
    backoff_s_max: float = limits.PEER_BACKOFF_S_MAX
    shunned_s: float = limits.PEER_SHUNNED_S
    compare_every_s: float = limits.COMPARE_EVERY_S


@dataclass(frozen=True)
class Surroundings:
    """What all sessions of a relay share."""

    me: AgentId
    transport: Transport
    store: Store
    federation: Federation
    marks: Marks
    counters: PeerCounters
    hand: Callable[[AgentId, Hand], Awaitable[tuple[str, ...]]]
    """Has the relay judge records that a peer has."""
    clock: Callable[[], int]
    software: str
    patience: Patience


class PeerSession:
    """A connection to one peer that mends itself.

    Args:
        address: A multiaddr that ends in ``/p2p/…``.
        agent: Who has to answer there.
        around: What all sessions share.
        forwarding: The letters for those who listen there.

    """

    def __init__(
        self, address: str, agent: AgentId, around: Surroundings, forwarding: Forwarding
    ) -> None:
        self.agent = agent
        self.address = address
        self.forwarding = forwarding
        self.state = PeerState(address, to_did(agent))
        self._around = around
        self._settled = Settled()
        self._rng = random.Random()
        self._shunned = 0
        """How often in a row it was sent away."""
        self._contradictions = 0
        self._compare_now = asyncio.Event()
        self._is_caught_up = asyncio.Event()
        self._events = 0
        """How many records came live."""

    async def run(self) -> None:
        """Follow the peer until cancelled."""
        attempt = 0
        while True:
            began_at = asyncio.get_running_loop().time()
            try:
                await self._connect_and_follow()
            except PeerLied as lie:
                await self._shun(lie.fault, str(lie))
            except MalformedRecord as error:
                await self._shun("malformed", str(error))
            except (RemoteError, StorageError) as error:
                self._note(str(error).removeprefix(f"{self.address}: "))
            patience = self._around.patience
            if asyncio.get_running_loop().time() - began_at > patience.backoff_s_max:
                attempt = 0
            delay_s = min(patience.backoff_first_s * 2**attempt, patience.backoff_s_max)
            await asyncio.sleep(delay_s * self._rng.uniform(0.5, 1))
            attempt = min(attempt + 1, 16)

    def compare_soon(self) -> None:
        """Compare all logs again."""
        self._compare_now.set()

    async def _shun(self, fault: str, trouble: str) -> None:
        self._note(trouble)
        self.state.faults += 1
        name = fault if fault in FAULTS else "broken"
        self._around.counters.faults.labels(self._label, name).inc()
        self._enter("shunned")
        shunned_s = self._around.patience.shunned_s * 2**self._shunned
        self._shunned = min(self._shunned + 1, 16)
        await asyncio.sleep(min(shunned_s, limits.PEER_SHUNNED_S_MAX))

    def _note(self, trouble: str) -> None:
        if trouble != self.state.trouble:  # once, and not with each of its repetitions
            logger("peers").warning("peer not followed", peer=self.address, trouble=trouble)
        self.state.trouble = trouble
        self._enter("connecting")

    @property
    def _label(self) -> str:
        return self.address.rpartition("/")[2]

    def _enter(self, stage: Stage) -> None:
        self.state.stage = stage
        self._around.counters.up.labels(self._label).set(int(stage == "live"))

    async def _connect_and_follow(self) -> None:
        async with self._dialed() as link:
            welcome, early = await self._shake_hands(link)
            peer = PeerLink(link, early)
            self._compare_now.clear()
            self._is_caught_up.clear()
            try:
                await _first_to_fail(
                    peer.read(),
                    peer.keep_alive(),
                    self._follow(peer, welcome),
                    self.forwarding.run(peer),
                )
            finally:
                peer.close()

    @asynccontextmanager
    async def _dialed(self) -> AsyncGenerator[Link]:
        link = await self._around.transport.dial(None, [self.address], RELAY_PROTOCOL)
        try:
            yield link
        finally:
            link.close()

    async def _shake_hands(self, link: Link) -> tuple[frames.Welcome, list[bytes]]:
        hello = frames.Hello(frames.VERSION, self._around.software, (FEATURE,))
        try:
            async with asyncio.timeout(limits.REQUEST_TIMEOUT_S):
                await link.send(pack(frames.encode_frame(hello)))
                first, *early = await link.receive()
        except TimeoutError as error:
            raise LinkClosed("the peer did not say welcome") from error
        match frames.decode_from_relay(first):
            case frames.Welcome() as welcome:
                return welcome, early
            case frames.Error(_, code, reason):
                raise Refused(code, reason)
            case other:
                raise MalformedRecord(f"a {type(other).__name__.lower()} instead of a welcome")

    async def _follow(self, link: PeerLink, welcome: frames.Welcome) -> None:
        around = self._around
        self._enter("catching-up")
        catching_up = CatchingUp(
            link, around.store, around.federation.logs, self._hand,
            me=around.me, settled=self._settled,
        )  # fmt: skip
        since = around.marks.get(self.agent, welcome.store)
        behind = welcome.cursor - (since or 0)
        self._show_behind(behind)
        if since is None or not 0 <= behind <= limits.PEER_BEHIND_MAX:
            await self._compare(catching_up)
            await catching_up.pull_loose(since or 0 if behind >= 0 else 0, welcome.cursor)
            since = welcome.cursor
            around.marks.put(self.agent, welcome.store, since)
        else:
            self._compare_now.set()  # once the news are here
        await link.subscribe(since)
        await _first_to_fail(
            self._take_news(link, welcome), self._compare_now_and_then(catching_up)
        )

    async def _take_news(self, link: PeerLink, welcome: frames.Welcome) -> None:
        while True:
            news = await link.news()
            events = [one for one in news if isinstance(one, frames.Event)]
            if events:
                raws = tuple(event.record for event in events)
                self._events += len(raws)
                await self._hand(Hand(raws, is_old=not self._is_caught_up.is_set()))
                self._around.marks.put(self.agent, welcome.store, events[-1].cursor)
                self._show_behind(welcome.cursor - events[-1].cursor)
            if any(isinstance(one, frames.CaughtUp) for one in news):
                self._show_behind(0)
                self._enter("live")
                self.state.trouble = ""
                self._is_caught_up.set()

    async def _compare_now_and_then(self, catching_up: CatchingUp) -> None:
        await self._is_caught_up.wait()
        while True:
            try:
                async with asyncio.timeout(self._around.patience.compare_every_s):
                    await self._compare_now.wait()
            except TimeoutError:
                pass
            self._compare_now.clear()
            await self._compare(catching_up)

    async def _compare(self, catching_up: CatchingUp) -> None:
        before = (self._events, self._around.federation.logs.changes)
        is_same = await catching_up.compare()
        after = (self._events, self._around.federation.logs.changes)
        self.state.compared_ms = self._around.clock()
        outcome = "same" if is_same else "different"
        self._around.counters.comparisons.labels(self._label, outcome).inc()
        if catching_up.knows_more_of_us:
            logger("peers").error(
                "a peer has entries of this relay's log that are not in its store: it runs on an "
                "old copy, or somebody else signs with its key", peer=self.address,
            )  # fmt: skip
        # While nothing happens, what a peer says of its logs and what it names have to agree.
        is_lie = catching_up.is_contradicted and before == after
        self._contradictions = self._contradictions + 1 if is_lie else 0
        if self._contradictions >= limits.FRUITLESS_COMPARISONS_MAX:
            self._contradictions = 0
            raise PeerLied("contradiction", "its logs are never what it says of them")
        if is_lie:
            asyncio.get_running_loop().call_later(2.0**self._contradictions, self.compare_soon)
        elif is_same:
            self._shunned = 0

    async def _hand(self, hand: Hand) -> tuple[str, ...]:
        statuses = await self._around.hand(self.agent, hand)
        records = self._around.counters.records
        words = [status.partition(":")[0] for status in statuses]
        for word in dict.fromkeys(words):
            records.labels(self._label, word).inc(words.count(word))
        self.state.pulled += words.count("accepted")
        for word, status in zip(words, statuses, strict=True):
            if word in _LIES:
                raise PeerLied(word, status)
            if word == "storage":
                raise LinkClosed(f"our own store failed, so it has to be pulled again: {status}")
            is_parted = word == "fork" and "continues another" in status
            if word == "gap" or is_parted:
                self._compare_now.set()
        return statuses

    def _show_behind(self, behind: int) -> None:
        self.state.behind = max(0, behind)
        self._around.counters.behind.labels(self._label).set(self.state.behind)


async def _first_to_fail(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one fails, which is raised; the others are cancelled."""
    # No task group: before Python 3.13 one that fails while it is cancelled forgets the latter.
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    ended = [task.exception() for task in done if not task.cancelled()]
    errors = [error for error in ended if error is not None]
    ours = [error for error in errors if not isinstance(error, RemoteError)]
    lies = [error for error in errors if isinstance(error, PeerLied)]
    raise [*ours, *lies, *errors, LinkClosed("nothing is left to do")][0]
