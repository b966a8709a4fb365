"""Letters for agents that listen at a peer, and word of those that listen here.

What waits is known by its addressee alone; the letters themselves stay in the store until the peer
has taken them. What is forwarded was mailed here; the other side passes it no further.
"""

import asyncio
from collections.abc import Callable

from prometheus_client import Counter

from bazaar_protocol import limits
from bazaar_protocol.errors import Refused
from bazaar_protocol.identity import AgentId
from bazaar_protocol.peering_frames import Forward
from bazaar_relay.machine.events import Forwarded
from bazaar_relay.machine.whereabouts import Whereabouts
from bazaar_relay.peering.peer_link import PeerLink
from bazaar_relay.storage.store import Store


class Forwarding:
    """What one peer is still to be told or given.

    Args:
        peer: Which.
        store: Has the letters.
        whereabouts: Says who listens where.
        on_forwarded: Called when the peer has a letter.
        count: Counts them.

    """

    def __init__(
        self, peer: AgentId, store: Store, whereabouts: Whereabouts,
        *, on_forwarded: Callable[[Forwarded], None], count: Counter,
    ) -> None:  # fmt: skip
        self._peer = peer
        self._store = store
        self._whereabouts = whereabouts
        self._on_forwarded = on_forwarded
        self._count = count
        self._waiting: dict[AgentId, None] = {}
        """Whose letters are to be forwarded."""
        self._present: dict[AgentId, None] = {}
        """Who is to be said to listen here."""
        self._is_due = asyncio.Event()

    def pass_on(self, agent: AgentId) -> None:
        """Forward what waits for an agent."""
        if len(self._waiting) < limits.WHEREABOUTS_MAX:
            self._waiting[agent] = None
            self._is_due.set()

    def present(self, agent: AgentId) -> None:
        """Say that an agent listens here."""
        if len(self._present) < limits.WHEREABOUTS_MAX:
            self._present[agent] = None
            self._is_due.set()

    async def run(self, link: PeerLink) -> None:
        """Do so, until cancelled.

        Raises:
            RemoteError: The peer does not answer.
            StorageError: Our store cannot be read.

        """
        self._present = dict.fromkeys(self._whereabouts.all_here())
        self._is_due.set()
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            while self._present:
                some = list(self._present)[: limits.AGENTS_PER_FRAME_MAX]
                await link.here(tuple(some))
                for agent in some:
                    self._present.pop(agent, None)
            while self._waiting:
                agent = next(iter(self._waiting))
                await self._forward(link, agent)
                self._waiting.pop(agent, None)

    async def _forward(self, link: PeerLink, agent: AgentId) -> None:
        if self._whereabouts.peer_of(agent) != self._peer:
            return  # it has moved on meanwhile
        letters = await self._store.letters(agent)
        senders = await self._store.senders(agent) if letters else []
        for (number, sealed), sender in zip(letters, senders, strict=False):
            try:
                await link.request(Forward(0, agent, sender or b"", sealed))
            except Refused:
                return  # it has not been there for long, or has a full mailbox: it waits here
            self._on_forwarded(Forwarded(agent, number))
            self._count.inc()
