"""Relays on one database that are killed at random while workers claim, and what has to hold.

Posts go to whichever process there is, each worker stays with one until that dies, and goes to
another then. Every claim that was granted counts, every record that was acknowledged has to be
there afterwards, under one receipt at most, and the relay's log has to be one chain.
"""

import asyncio
import random
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.market_records import Trader
from tests.postgres import Server
from tests.processes import LISTEN, Daemon, kill, start
from tests.relay_client import Client

from bazaar_host.addresses import Address
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.clock import now_ms
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import frames
from bazaar_protocol.errors import BazaarError
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Award, Lease
from bazaar_protocol.log import check_segment
from bazaar_protocol.records import Record, RecordId, unseal
from bazaar_relay.storage.postgres_store import PostgresStore
from bazaar_relay.storage.store import ID_BYTES

_POSTS_AT_ONCE = 20
_POSTS_EACH = 500
_LOG_PAGE = 1000
# No award is replaced because its worker was slow: then two grants of a task are two by mistake.
_PATIENT = Lease(600_000, 3_600_000, 600_000, 3)


@dataclass
class Outcome:
    """What was done, and what was found; ``faults`` has to stay empty."""

    posts: int = 0
    granted: int = 0
    """Claims that were answered with an award."""
    acknowledged: int = 0
    kills: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.posts} posts, {self.granted} claims granted, {self.acknowledged} records "
            f"acknowledged, {self.kills} processes killed, in {self.seconds:.1f} s: "
            f"{self.granted / self.seconds:.0f} claims/s; {len(self.faults)} faults"
        )


@dataclass
class Scene:
    """The processes, and what they have said."""

    address: str
    relay: AgentId
    processes: list[Daemon]
    told: dict[RecordId, None] = field(default_factory=dict)
    """Acknowledged records."""
    granted: dict[RecordId, set[RecordId]] = field(default_factory=lambda: defaultdict(set))
    """Awards by task, as workers were told."""
    open: list[Record] = field(default_factory=list)
    has_granted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def alive(self) -> list[Daemon]:
        return [one for one in self.processes if one.is_alive]


async def claim_at_random(
    server: Server, folder: Path, *, processes: int, workers: int, claims: int, kills: int
) -> Outcome:
    """Start relays, have ``claims`` posts claimed by ``workers``, and kill some meanwhile."""
    outcome = Outcome()
    address = await server.new_database()
    async with relays(address, folder, processes) as scene:
        begun = time.monotonic()
        posted = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_post(scene, claims, posted))
            for number in range(workers):
                tasks.create_task(_work(scene, number, claims, posted))
            tasks.create_task(_kill(scene, claims, kills, outcome))
        outcome.seconds = time.monotonic() - begun
        await _judge(scene, claims, outcome)
        for one in scene.alive:
            status = await one.stop()
            if status:
                outcome.faults.append(f"a relay ended with {status}: {one.log()[-2000:]}")
    return outcome


@asynccontextmanager
async def relays(address: str, folder: Path, count: int, *more: str) -> AsyncGenerator[Scene]:
    """Run processes of one relay, each in a home of its own with the same key."""
    begun: list[Daemon] = []
    try:
        for number in range(count):
            home = folder / f"relay-{number}"
            if begun:
                home.mkdir(mode=0o700)
                for name in ("relay.key", "recovery.pub"):
                    shutil.copy(begun[0].home / name, home / name)
            else:
                home.mkdir(mode=0o700)
            (home / "bazaar.toml").write_text(f'[relay]\nstore = "{address}"\n')
            begun.append(await start(home, "relay", "up", "--listen", LISTEN, *more))
        relay = Address.parse(begun[0].address).peer
        assert relay is not None
        yield Scene(address, relay, begun)
    finally:
        for one in begun:
            await kill(one.process)


class _Agent:
    """A trader that goes on at another process when its own is gone."""

    def __init__(self, scene: Scene, trader: Trader, stack: AsyncExitStack) -> None:
        self.trader = trader
        self._scene = scene
        self._stack = stack
        self._client: Client | None = None
        self._transport: Libp2pTransport | None = None

    async def publish(self, *records: Record) -> None:
        """Publish until all are acknowledged."""
        while True:
            answer = await self._ask(frames.Publish, tuple(record.raw for record in records))
            if isinstance(answer, frames.Published):
                if set(answer.statuses) <= {"accepted", "duplicate"}:
                    self._scene.told |= dict.fromkeys(record.id for record in records)
                    return
                assert all(
                    status.startswith(("accepted", "duplicate", "storage:", "rate-limited:"))
                    for status in answer.statuses
                ), answer.statuses

    async def claim(self, post: Record) -> Record | None:
        """Return the award, or None if somebody else has the task."""
        while True:
            answer = await self._ask(frames.Claim, post.id)
            if isinstance(answer, frames.Claimed):
                return unseal(answer.record)
            if isinstance(answer, frames.Error) and answer.code in {"taken", "expired"}:
                return None
            assert isinstance(answer, frames.Error | None), answer
            assert answer is None or answer.code in {"storage", "rate-limited"}, answer

    async def _ask(self, kind: type, *parts: object) -> object:
        try:
            async with asyncio.timeout(20):
                client = await self._connected()
                return await client.ask(kind, *parts)
        except (BazaarError, TimeoutError):
            self._client = None
            await asyncio.sleep(0.05)
            return None

    async def _connected(self) -> Client:
        if self._client is None:
            if self._transport is None:
                opened = Libp2pTransport.open(
                    self.trader.keys, [], [RELAY_PROTOCOL], lambda link: link.close()
                )
                self._transport = await self._stack.enter_async_context(opened)
            chosen = random.choice(self._scene.alive)
            link = await self._transport.dial(self._scene.relay, [chosen.address], RELAY_PROTOCOL)
            client = Client(link)
            await client.hello()
            self._client = client
        return self._client


async def _post(scene: Scene, claims: int, posted: asyncio.Event) -> None:
    for begin in range(0, claims, _POSTS_EACH):
        async with AsyncExitStack() as stack:
            poster = _Agent(scene, Trader.named(f"poster {begin}", now_ms()), stack)
            end = min(claims, begin + _POSTS_EACH)
            for first in range(begin, end, _POSTS_AT_ONCE):
                numbers = range(first, min(end, first + _POSTS_AT_ONCE))
                some = [_make_post(poster.trader, scene.relay, number) for number in numbers]
                await poster.publish(*some)
                scene.open += some
    posted.set()


def _make_post(poster: Trader, relay: AgentId, number: int) -> Record:
    return poster.claim_post(
        relay, idempotency_key=str(number), expires_in_ms=3_600_000, lease=_PATIENT
    )


async def _work(scene: Scene, number: int, claims: int, posted: asyncio.Event) -> None:
    """Claim whatever is there, mostly what others claim as well, and accept what is granted."""
    async with AsyncExitStack() as stack:
        agent = _Agent(scene, Trader.named(f"worker {number}", now_ms()), stack)
        await agent.publish(agent.trader.genesis())
        order = random.Random(number)
        seen: set[bytes] = set()
        while len(scene.granted) < claims:
            unseen = [post for post in scene.open if post.id not in seen]
            free = [post for post in unseen if post.id not in scene.granted] or unseen
            if not free:
                if posted.is_set() and len(seen) == claims:
                    return
                await asyncio.sleep(0.02)
                continue
            post = order.choice(free[:8])
            seen.add(post.id)
            award = await agent.claim(post)
            if award is not None:
                scene.granted[post.id].add(award.id)
                scene.has_granted.set()
                await agent.publish(agent.trader.accept(award))


async def _kill(scene: Scene, claims: int, kills: int, outcome: Outcome) -> None:
    for number in range(1, kills + 1):
        while len(scene.granted) < claims * number // (kills + 1):
            scene.has_granted.clear()
            await scene.has_granted.wait()
        chosen = random.choice(scene.alive)
        await kill(chosen.process)
        outcome.kills += 1


async def _judge(scene: Scene, claims: int, outcome: Outcome) -> None:
    outcome.posts, outcome.granted = len(scene.open), len(scene.granted)
    outcome.acknowledged = len(scene.told)
    faults = outcome.faults
    async with PostgresStore.open(scene.address, name=bytes(32)) as store:
        kept: dict[RecordId, tuple[Record, int]] = {}
        after = 0
        while after < await store.cursor():
            page, after = await store.scan([Filter()], after=after, limit=_LOG_PAGE)
            for one in page:
                record = unseal(one.raw)
                kept[record.id] = record, one.cursor
        lost = [record for record in scene.told if record not in kept]
        own = [record for record, _ in kept.values() if record.author == scene.relay]
        awards = Counter(one.body.task for one in own if isinstance(one.body, Award))
        covered = await store.covered()
        receipts = Counter(
            RecordId(ids[start : start + ID_BYTES])
            for (ids,) in await store._fetch("SELECT ids FROM receipt")
            for start in range(0, len(ids), ID_BYTES)
        )
    if lost:
        faults.append(f"{len(lost)} acknowledged records are lost")
    check_segment([record.raw for record in own], author=scene.relay)
    twice = [task for task, count in awards.items() if count > 1]
    if twice:
        faults.append(f"{len(twice)} tasks were awarded twice")
    if len(scene.granted) != claims:
        faults.append(f"{len(scene.granted)} of {claims} were granted")
    if any(len(awards) > 1 for awards in scene.granted.values()):
        faults.append("two awards of one task were told")
    unknown = [one for some in scene.granted.values() for one in some if one not in kept]
    if unknown:
        faults.append(f"{len(unknown)} awards that were told are not kept")
    due = [
        one.id for one, cursor in kept.values() if one.author != scene.relay and cursor <= covered
    ]
    if receipts != Counter(due):
        faults.append("receipts are not one for each record")
