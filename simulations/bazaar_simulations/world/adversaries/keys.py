"""A thief of a key: signs as somebody else, until the owner ends that identity."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bazaar_host.links import Link, Transport
from bazaar_host.surroundings import Surroundings
from bazaar_node.network.calling import call
from bazaar_node.network.relay_session import RelaySession
from bazaar_protocol import limits
from bazaar_protocol.errors import BazaarError
from bazaar_protocol.evidence_kinds import Succession, Vouch
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import Advert, Body, Genesis
from bazaar_protocol.log import Head, recovery_hash
from bazaar_protocol.records import Record, seal, unseal
from bazaar_simulations.world import observing
from bazaar_simulations.world.adversaries.adversary import Adversary, Profile
from bazaar_simulations.world.node_process import NodeProcess

if TYPE_CHECKING:
    from bazaar_simulations.world.world import World

_STOLEN_S: Final = 50.0
_ENDED_S: Final = 90.0
_HEARD_S: Final = 30.0
"""So long after the end of the identity everybody in reach has heard of it."""
_EVERY_S: Final = 3.0
_RETRY_S: Final = 2.0


class KeyThief(Adversary, NodeProcess):
    """A node like any other, whose key is stolen: its owner stops it, and the thief goes on.

    After a while the recovery key ends the identity at the last honest entry, and names an heir,
    who agrees by a vouch in its own log.
    """

    profile = Profile(
        "key thief",
        "keys",
        "Smith 2019 (KERI: key events and pre-rotated keys)",
        "a succession signed by the recovery key that the first entry of the log names",
        "what the thief has taken of it by those who heard of the succession",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.statuses: Counter[str] = Counter()
        self._heir = self.chance.under("heir").keys()
        self._rng = random.Random(self.chance.entropy(32))
        self._last: Record | None = None
        self._head = Head.empty()
        self._ended_s = 0.0

    async def serve(self, surroundings: Surroundings, stopping: asyncio.Event) -> None:
        """Trade until the key is stolen; then be thief and owner at once."""
        if self._last is None:
            stolen = asyncio.Event()
            asyncio.get_running_loop().call_at(_STOLEN_S, stolen.set)
            await super().serve(surroundings, stolen)
        async with self.open_transport(self.keys, (), (), Link.close) as transport:
            crime = asyncio.get_running_loop().create_task(self._rob(transport, surroundings))
            try:
                await stopping.wait()
            finally:
                crime.cancel()
                await asyncio.wait((crime,))
            if not crime.cancelled():
                crime.result()

    def outstanding(self, world: "World") -> str:
        heir = self._heir.agent
        unaware = [
            node.name for node in world.honest if observing.successor(node, self.keys.agent) != heir
        ]
        if unaware:
            return f"{', '.join(unaware)} have not heard who carries on"
        return "" if self.statuses["blocked"] else "the thief was refused by nobody"

    def harm(self, world: "World") -> str:
        del world
        taken = self.statuses["accepted afterwards"]
        return f"{taken} records of the thief were accepted after the end" if taken else ""

    def figures(self, world: "World") -> Mapping[str, float]:
        del world
        return {"thief " + status: float(n) for status, n in self.statuses.items()}

    def _is_known_to(self, node: NodeProcess) -> bool:
        return observing.successor(node, self.keys.agent) == self._heir.agent

    async def _rob(self, transport: Transport, surroundings: Surroundings) -> None:
        while True:
            try:
                async with call(transport, self.settings.relays, rng=self._rng) as relays:
                    await self._learn_head(relays.sessions[0])
                    while self.is_up:
                        await self._steal(relays.sessions, surroundings)
                        if self.ground.true_s() > _ENDED_S and not self._ended_s:
                            await self._end(relays.sessions, surroundings)
                        await asyncio.sleep(_EVERY_S)
            except BazaarError as error:
                self.note(f"is stopped by {type(error).__name__}")
            await asyncio.sleep(_RETRY_S)

    async def _learn_head(self, session: RelaySession) -> None:
        raw = await session.head(self.keys.agent)
        assert raw is not None
        if self._last is None:
            self._last = unseal(raw)
            self.acted_s = self.ground.true_s()
            self.note("is robbed of its key")
        self._head = Head.of(unseal(raw))

    async def _steal(self, sessions: Sequence[RelaySession], surroundings: Surroundings) -> None:
        """Say something in the name of the robbed, in its log and beside it."""
        now_ms = surroundings.clock.now_ms()
        crony = Vouch(self._heir.agent, is_withdrawn=True)
        entry = self._sign(self.keys, crony, now_ms, self._head)
        advert = Advert(now_ms, "", (), (), (), 1, 0, limits.HOUR_MS)
        said = [entry.raw, seal(self.keys, advert, time_ms=now_ms).raw]
        for session in sessions:
            for status in await session.publish(said):
                self._count(status.partition(":")[0])
        if self.statuses["blocked"] == 0:
            self._head = Head.of(entry)

    def _count(self, prefix: str) -> None:
        # What was under way when the identity ended may still be taken.
        is_over = self._ended_s and self.ground.true_s() > self._ended_s + _HEARD_S
        self.statuses[f"{prefix} afterwards" if is_over else prefix] += 1

    async def _end(self, sessions: tuple[RelaySession, ...], surroundings: Surroundings) -> None:
        """Do what the owner does with the recovery key."""
        assert self._last is not None
        now_ms = surroundings.clock.now_ms()
        recovery = self.chance.under("recovery").keys()
        new, last = self._heir, self._last
        ended = Succession(self.keys.agent, last.seq, last.id, new.agent)
        begun = Genesis(recovery_hash(AgentId(recovery.agent)))
        genesis = self._sign(new, begun, now_ms, Head.empty())
        agreed = self._sign(
            new, Vouch(self.keys.agent, is_withdrawn=False), now_ms, Head.of(genesis)
        )
        said = [seal(recovery, ended, time_ms=now_ms).raw, genesis.raw, agreed.raw]
        for session in sessions:
            statuses = await session.publish(said)
            self.note(f"has its identity ended: {' '.join(statuses)}")
        self._ended_s = self.ground.true_s()

    @staticmethod
    def _sign(keys: Keypair, body: Body, now_ms: int, head: Head) -> Record:
        return seal(keys, body, time_ms=now_ms, seq=head.seq + 1, prev=head.id)
