"""All peers of a relay: who they are, what they hand to it, and what it hands to them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bazaar_host.links import Transport
from bazaar_protocol import frames
from bazaar_protocol.identity import AgentId, parse_agent
from bazaar_relay.machine.events import ConnectionId, Event, PassOn, Present, Pulled, Reply
from bazaar_relay.machine.federation import Federation
from bazaar_relay.peering.catching_up import Hand
from bazaar_relay.peering.forwarding import Forwarding
from bazaar_relay.peering.marks import Marks
from bazaar_relay.peering.peer_counters import PeerCounters
from bazaar_relay.peering.peer_session import Patience, PeerSession, Surroundings
from bazaar_relay.peering.peer_state import PeerState
from bazaar_relay.storage.store import Store

_SAVE_EVERY_S: Final = 2.0


@dataclass(frozen=True)
class Host:
    """What a relay lends to its office for peers."""

    me: AgentId
    store: Store
    federation: Federation
    run: Callable[[Event], None]
    """Lets the machine handle an event."""
    counters: PeerCounters
    clock: Callable[[], int]
    software: str


class PeerOffice:
    """Follows the peers of a relay.

    Args:
        host: The relay.
        tasks: Where its work runs.

    """

    def __init__(self, host: Host, tasks: asyncio.TaskGroup) -> None:
        self._host = host
        self._tasks = tasks
        self._pulls: dict[ConnectionId, asyncio.Future[tuple[str, ...]]] = {}
        self._count = 0
        self._sessions: dict[str, tuple[PeerSession, asyncio.Task[None]]] = {}
        self._around: Surroundings | None = None
        self._saving: asyncio.Task[None] | None = None

    async def open(
        self, transport: Transport, marks: Marks | None = None, patience: Patience | None = None
    ) -> None:
        """Be ready to follow peers over ``transport``."""
        host = self._host
        kept = marks or Marks()
        await kept.load(host.store.name, await host.store.cursor())
        self._around = Surroundings(
            host.me, transport, host.store, host.federation, kept, host.counters, self._hand,
            host.clock, host.software, patience or Patience(),
        )  # fmt: skip
        self._saving = self._tasks.create_task(self._save_now_and_then(kept))

    @property
    def me(self) -> AgentId:
        """The relay whose peers they are."""
        return self._host.me

    @property
    def states(self) -> list[PeerState]:
        """How things stand with each peer."""
        return [session.state for session, _ in self._sessions.values()]

    def follow(self, addresses: Sequence[str]) -> None:
        """Follow the peers at ``addresses``, and no others."""
        assert self._around is not None, "open comes first"
        for address in [one for one in self._sessions if one not in addresses]:
            self._sessions.pop(address)[1].cancel()
        for address in addresses:
            if address not in self._sessions:
                session = self._session(address, self._around)
                self._sessions[address] = (session, self._tasks.create_task(session.run()))

    def do(self, effect: PassOn | Present) -> None:
        """Carry out what the machine wants of peers."""
        for session, _ in self._sessions.values():
            match effect:
                case PassOn(peer=peer, agent=agent):
                    if session.agent == peer:
                        session.forwarding.pass_on(agent)
                case Present(agent=agent):
                    session.forwarding.present(agent)

    def answered(self, reply: Reply) -> None:
        """Take the statuses of records that were handed to the machine."""
        waiting = self._pulls.pop(reply.connection, None)
        if waiting is not None and not waiting.done():
            assert isinstance(reply.frame, frames.Published)
            waiting.set_result(reply.frame.statuses)

    def stop(self) -> None:
        """Follow nobody any more."""
        for _, task in self._sessions.values():
            task.cancel()
        self._sessions.clear()
        if self._saving is not None:
            self._saving.cancel()

    async def _hand(self, peer: AgentId, hand: Hand) -> tuple[str, ...]:
        self._count += 1
        number = ConnectionId(-self._count)
        answer: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        self._pulls[number] = answer
        try:
            self._host.run(Pulled(number, peer, hand.raws, hand.records, is_old=hand.is_old))
            return await answer
        finally:
            self._pulls.pop(number, None)

    def _session(self, address: str, around: Surroundings) -> PeerSession:
        agent = parse_agent(address.rpartition("/")[2])
        forwarding = Forwarding(
            agent,
            around.store,
            around.federation.whereabouts,
            on_forwarded=self._host.run,
            count=around.counters.letters.labels(address.rpartition("/")[2]),
        )
        return PeerSession(address, agent, around, forwarding)

    async def _save_now_and_then(self, marks: Marks) -> None:
        store = self._host.store
        save = partial(marks.save, store.name)
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            await save(await store.cursor())
