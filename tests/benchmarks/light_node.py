"""An agent on a link, without a disk: the node's own machine, and hands that do things at once."""

import asyncio
import itertools
import os
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from bazaar_host.clock import now_ms
from bazaar_host.links import Link
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_offer, draft_post
from bazaar_node.market.events import (
    Action,
    AgentEvent,
    Arrived,
    Asked,
    ClaimTask,
    FetchInput,
    FetchResult,
    InputReady,
    Judge,
    Judged,
    KeepData,
    LetterArrived,
    Outgoing,
    ResultArrived,
    StartWork,
    Ticked,
    WorkDone,
)
from bazaar_node.market.turn import Pen, Turn
from bazaar_node.service import OfferRequest, PostRequest
from bazaar_protocol import frames, letters
from bazaar_protocol.frames import Filter, ToRelay, decode_from_relay, encode_frame
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head, recovery_hash
from bazaar_protocol.records import RecordId, unseal
from bazaar_protocol.sealing import open_sealed
from bazaar_protocol.task import State

RESULT: Final = b'{"rows": 3}'
LIFETIME_MS: Final = 3_600_000
TICK_S: Final = 0.004
ACKNOWLEDGEMENTS: Final = (
    frames.Published, frames.Mailed, frames.Collect, frames.Collected, frames.CaughtUp,
    frames.Welcome, frames.Hello, frames.Subscribe,
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What nodes and relay have said to each other."""

    messages: int = 0
    """Frames in both directions, without acknowledgements and without what opens a link."""
    bytes: int = 0
    """The bytes of these, lengths included."""
    all_frames: int = 0
    all_bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Begin again."""
        self.messages = self.bytes = self.all_frames = self.all_bytes = 0
        self.kinds.clear()

    def add(self, frame: frames.Frame, size: int) -> None:
        """Count a frame."""
        self.all_frames += 1
        self.all_bytes += size
        if not isinstance(frame, ACKNOWLEDGEMENTS):
            self.messages += 1
            self.bytes += size
            self.kinds[type(frame).__name__] += 1


class LightNode:
    """One agent: what it wants done is done at once; nothing outlives the process."""

    def __init__(self, keys: Keypair, link: Link, relay: AgentId, tally: Tally) -> None:
        self.keys = keys
        self._pen = Pen(keys, Head.empty(), os.urandom)
        self._agent = Agent(self._pen, slots=64)
        self._relay = relay
        self._link = link
        self._tally = tally
        self._requests = itertools.count(1)
        self._arrived: set[bytes] = set()
        self._awaited: dict[bytes, RecordId] = {}
        self._changed = asyncio.Condition()

    async def begin(self, capability: str | None) -> None:
        """Say hello, begin a log, subscribe, and offer ``capability``."""
        genesis = self._pen.begin(recovery_hash(bytes(32)), now_ms())
        await self._send(frames.Hello(frames.VERSION, "light", ()))
        await self._send(frames.Publish(next(self._requests), (genesis.raw,)))
        subscribe = frames.Subscribe(next(self._requests), (Filter(to=(self.keys.agent,)),), 0)
        await self._send(subscribe)
        if capability is not None:
            offer = draft_offer(OfferRequest(capability=capability, price=40))
            self._agent.offers[offer.capability] = offer
            advert = self._agent.advert(
                name="", relays=(), expires_in_ms=LIFETIME_MS, now_ms=now_ms()
            )
            await self._send(frames.Publish(next(self._requests), (advert.raw,)))
        while True:
            for body in await self._link.receive():
                if isinstance(decode_from_relay(body), frames.CaughtUp):
                    return

    async def serve(self) -> None:
        """React to what the relay says, until cancelled."""
        while True:
            for body in await self._link.receive():
                frame = decode_from_relay(body)
                self._tally.add(frame, len(pack(body)))
                await self._hear(frame)
            async with self._changed:
                self._changed.notify_all()

    async def tick(self) -> None:
        """Let the agent notice its deadlines, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            wake_ms = self._agent.wake_ms()
            if wake_ms is not None and wake_ms <= now_ms():
                await self._tell(Ticked())

    async def trade(self, request: PostRequest) -> None:
        """Post a task and wait until its result is accepted."""
        body = draft_post(
            request,
            poster=self.keys.agent,
            relay=self._relay,
            addresses=(),
            nonce=os.urandom(8).hex(),
        )
        task = (await self._tell(Asked(body))).begun()
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self._is_accepted(task))

    def _is_accepted(self, task: RecordId) -> bool:
        entry = self._agent.entry(task)
        return entry is None or entry.task.state is State.ACCEPTED

    async def _hear(self, frame: frames.FromRelay) -> None:
        match frame:
            case frames.Event(_, raw) | frames.Claimed(_, raw):
                await self._tell(Arrived(unseal(raw)))
            case frames.Letter(number, sealed):
                sender, content = open_sealed(self.keys, sealed)
                await self._tell(LetterArrived(sender, letters.decode_letter(content)))
                await self._send(frames.Collect(next(self._requests), (number,)))
            case frames.Published(_, statuses):
                assert set(statuses) <= {"accepted"}, statuses
            case _:
                pass

    async def _tell(self, event: AgentEvent) -> Turn:
        turn = self._agent.handle(event, now_ms())
        run: list[bytes] = []
        for change in turn.changes:
            if isinstance(change, Outgoing) and change.to is not None:
                await self._publish(run)
                await self._send(frames.Mail(next(self._requests), change.to, change.raw))
            elif isinstance(change, Outgoing):
                run.append(change.raw)
        await self._publish(run)
        for action in turn.actions:
            await self._act(action)
        return turn

    async def _publish(self, run: list[bytes]) -> None:
        if run:
            await self._send(frames.Publish(next(self._requests), tuple(run)))
            run.clear()

    async def _act(self, action: Action) -> None:
        match action:
            case ClaimTask(task, _):
                await self._send(frames.Claim(next(self._requests), task))
            case FetchInput(task, epoch, _):
                await self._tell(InputReady(task, epoch))
            case StartWork(task, epoch, _, _):
                digest = sha256(RESULT).digest()
                done = WorkDone(task, epoch, digest, len(RESULT), "application/json", RESULT)
                await self._tell(done)
            case KeepData(task, _):
                self._arrived.add(task)
                await self._judge_if_here(task)
            case FetchResult(task, deliver):
                digest = getattr(deliver.body, "hash")  # noqa: B009
                self._awaited[task] = RecordId(digest)
                await self._judge_if_here(task)
            case Judge(task, _, deliver):
                await self._tell(Judged(task, deliver.id, accepted=True, reason=""))
            case _:
                pass

    async def _judge_if_here(self, task: RecordId) -> None:
        if task in self._arrived and task in self._awaited:
            await self._tell(ResultArrived(task, self._awaited.pop(task)))

    async def _send(self, frame: ToRelay) -> None:
        packed = pack(encode_frame(frame))
        self._tally.add(frame, len(packed))
        await self._link.send(packed)
