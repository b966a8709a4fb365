"""Drives the relay's machine without its shell: what it asks for is done at once, in order."""

from dataclasses import dataclass, field
from typing import Any

from tests.market_records import NOW_MS, Trader

from bazaar_protocol import frames, records
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.records import Record
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.events import (
    Commit,
    CommitFailed,
    Committed,
    Connected,
    ConnectionId,
    Deliver,
    DeliverLetter,
    Effect,
    Event,
    Read,
    Received,
    Reply,
    Tick,
    Verified,
    Verify,
)
from bazaar_relay.machine.machine import RelayMachine
from bazaar_relay.machine.verifying import verify
from bazaar_relay.serving import reading
from bazaar_relay.storage.memory_store import MemoryStore

RELAY = Keypair.from_name("relay")


@dataclass
class Driver:
    """A machine with its store, a clock that stands still, and everything that it said."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore(bytes(range(32))))
    now_ms: int = NOW_MS + 1_000
    policy: Policy = field(default_factory=Policy)
    fails: str = ""
    """Why the store refuses to commit, if it does."""
    said: list[tuple[AgentId, Any]] = field(default_factory=list)
    """Whom an answer, an event's record or a letter went to, in order."""
    effects: list[Effect] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)

    async def start(self) -> "Driver":
        self.machine = RelayMachine(
            RELAY, recovery=bytes(32), entropy=lambda: bytes(range(32)), policy=self.policy
        )
        self.links: dict[AgentId, ConnectionId] = {}
        await self.handle(await reading.start(self.store, RELAY.agent, self.now_ms))
        return self

    async def handle(self, event: Event) -> None:
        """Let the machine handle ``event``, and do what it answers until there is nothing left."""
        queue = self.machine.handle(event, self.now_ms)
        while queue:
            effect = queue.pop(0)
            self.effects.append(effect)
            answer = await self._do(effect)
            if answer is not None:
                queue += self.machine.handle(answer, self.now_ms)

    async def _do(self, effect: Effect) -> Event | None:
        match effect:
            case Verify(work=work, raws=raws):
                return Verified(work, [verify(raw) for raw in raws])
            case Read():
                return await reading.read(self.store, effect)
            case Commit(batch=batch):
                self.commits.append(effect)
                if self.fails:
                    return CommitFailed(self.fails)
                return Committed(await self.store.commit(batch))
            case Reply(connection=connection, frame=frame):
                self.said.append((self.peer(connection), frame))
            case Deliver(connections=connections, events=events):
                for event in events:
                    heard = records.unseal(event.raw)
                    self.said += [(self.peer(one), heard) for one in connections]
            case DeliverLetter(connections=connections, number=number, sealed=sealed):
                letter = frames.Letter(number, sealed)
                self.said += [(self.peer(one), letter) for one in connections]
            case _:
                pass
        return None

    def peer(self, connection: ConnectionId) -> AgentId:
        return next(agent for agent, number in self.links.items() if number == connection)

    async def join(self, *traders: Trader) -> None:
        """Connect agents that listen for what is addressed to them, and keep their genesis."""
        for trader in traders:
            connection = self.links[trader.agent] = ConnectionId(len(self.links) + 1)
            await self.handle(Connected(connection, trader.agent))
            await self.send(trader, frames.Hello(frames.VERSION, "", ()))
            await self.subscribe(trader, Filter(to=(trader.agent,)))
            if trader.head.seq == 0:
                assert await self.publish(trader, trader.genesis()) == "accepted"

    async def subscribe(self, trader: Trader, *filters: Filter) -> None:
        await self.send(trader, frames.Subscribe(0, filters, 0))

    async def send(self, trader: Trader, frame: frames.ToRelay) -> None:
        await self.handle(Received(self.links[trader.agent], frame))

    async def publish(self, trader: Trader, *given: Record) -> str:
        """Publish records and return their statuses, one on each line."""
        await self.send(trader, frames.Publish(1, tuple(record.raw for record in given)))
        agent, answer = next(
            one for one in reversed(self.said) if isinstance(one[1], frames.Published)
        )
        assert agent == trader.agent
        return "\n".join(answer.statuses)

    async def claim(self, trader: Trader, post: Record) -> Record | frames.Error:
        await self.send(trader, frames.Claim(2, post.id))
        kinds = (frames.Claimed, frames.Error)
        answer = next(said for _, said in reversed(self.said) if isinstance(said, kinds))
        return records.unseal(answer.record) if isinstance(answer, frames.Claimed) else answer

    async def tick(self, milliseconds: int) -> None:
        """Let time pass, stopping wherever the machine wants to be woken."""
        until_ms = self.now_ms + milliseconds
        while (wake_ms := self.machine.wake_ms()) is not None and wake_ms <= until_ms:
            self.now_ms = max(self.now_ms, wake_ms)
            await self.handle(Tick())
        self.now_ms = until_ms

    def heard(self, trader: Trader) -> list[Record]:
        """Return the records that an agent was sent, and forget them."""
        mine = [one for one in self.said if one[0] == trader.agent and isinstance(one[1], Record)]
        self.said = [one for one in self.said if one not in mine]
        return [record for _, record in mine]
