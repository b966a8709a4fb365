"""A running node: everything it is made of, put together and taken apart again."""

import asyncio
import shlex
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeAlias

from bazaar_host import key_files
from bazaar_host.addresses import Address
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import Link, OnLink, Transport
from bazaar_host.local_network import LocalNetwork
from bazaar_host.logs import logger
from bazaar_host.signals import stop_on_signals
from bazaar_host.surroundings import Surroundings
from bazaar_host.whereabouts import Whereabouts, is_loopback
from bazaar_node.api.api import serve_api
from bazaar_node.counters import count
from bazaar_node.desk import Desk, Parts
from bazaar_node.driver import Driver
from bazaar_node.errands import Errands
from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_offer
from bazaar_node.market.events import Logged
from bazaar_node.market.opinions import ScoredOpinions
from bazaar_node.market.policy import Policies
from bazaar_node.market.successions import Successions
from bazaar_node.market.turn import Pen
from bazaar_node.network.relays import RelayOffice
from bazaar_node.network.transfer import serve
from bazaar_node.service import Status
from bazaar_node.settings import NodeSettings
from bazaar_node.storage.blobs import BlobStore
from bazaar_node.storage.ended import read_ended
from bazaar_node.storage.market_memory import load_trust
from bazaar_node.storage.retention import forget_forever
from bazaar_node.storage.store import NodeStore
from bazaar_node.trust.archive import Archive
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.work.schemas import SchemaChecker
from bazaar_node.work.workshop import Handler, Workshop
from bazaar_protocol import limits
from bazaar_protocol.errors import BazaarError, OldBackup
from bazaar_protocol.frames import NODE_PROTOCOL
from bazaar_protocol.identity import AgentId, Keypair, parse_agent
from bazaar_protocol.log import recovery_hash
from bazaar_protocol.records import RecordId

OpenTransport: TypeAlias = Callable[
    [Keypair, Sequence[str], Sequence[str], OnLink], AbstractAsyncContextManager[Transport]
]

log = logger(__name__)


async def run_node(settings: NodeSettings, *, on_ready: Callable[[Status], None]) -> None:
    """Run a node until it is told to stop, answering its owner on its socket.

    ``on_ready`` is called once, when a relay has confirmed that our store is no old copy.

    Raises:
        LocalError: The node cannot run, or cannot go on.

    """
    stop = stop_on_signals()
    async with open_node(settings) as desk, asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_api(desk, settings.socket_path, stop, metrics=desk.metrics))
        tasks.create_task(_announce(desk, on_ready, stop))


@asynccontextmanager
async def open_node(
    settings: NodeSettings, handlers: Mapping[str, Handler] | None = None, *,
    open_transport: OpenTransport = Libp2pTransport.open, policies: Policies | None = None,
    surroundings: Surroundings | None = None,
) -> AsyncGenerator[Desk]:  # fmt: skip
    """Run a node inside this block.

    Args:
        settings: See ``NodeSettings``.
        handlers: Python functions that do the work of offers, by capability with version.
        open_transport: Opens what carries links; a simulation's stay in memory.
        policies: Whom to deal with, instead of what the settings say.
        surroundings: The time, chance and the disk; a simulation brings its own.

    Raises:
        LocalError: The node cannot run, or cannot go on: then the block is cancelled first.

    """
    around = surroundings or Surroundings()
    try:
        async with AsyncExitStack() as stack:
            evidence = await stack.enter_async_context(_opened(settings, around))
            store, me, blobs = evidence.store, evidence.keys, _blobs(settings, around)
            serving = await stack.enter_async_context(_Serving(blobs).open())
            listening = open_transport(me, settings.listen, (NODE_PROTOCOL,), serving.on_link)
            transport = await stack.enter_async_context(listening)
            place = _whereabouts(me.agent, transport, settings)
            build = _builder(evidence, settings, place, policies=policies, around=around)
            serving.driver = driver = Driver(store, build, around.clock)
            office = _office(transport, evidence, driver, settings=settings, around=around)
            serving.serve_through(office)
            archive = Archive(evidence, office)
            schemas = await stack.enter_async_context(SchemaChecker())
            workshop = Workshop(driver, blobs, schemas, settings.home / "work")
            workshop.handlers |= handlers or {}
            errands = Errands(driver, office, store, workshop)
            await driver.load(errands)
            office.check_offers(driver.agent.offers)
            await stack.enter_async_context(errands.serving())
            background = await stack.enter_async_context(_background())
            running = driver.run(), office.run(settings.relays), archive.run()
            lookouts = _lookouts(settings, place, driver, office)
            background.start(*running, *lookouts, forget_forever(store, around.clock))
            made = (settings, store, driver, office, errands, workshop)
            parts = Parts(*made, count(driver, office, store), archive)
            yield Desk(parts, started_ms=around.clock.now_ms(), entropy=around.entropy)
    except BaseExceptionGroup as group:
        raise _worst(group) from None


def read_keys(settings: NodeSettings) -> Keypair:
    """Read the node's key, asking for its passphrase if it has one.

    Raises:
        KeyFileError: It is missing, damaged, readable by others, or locked by another passphrase.

    """
    source = settings.passphrase_file
    ask = key_files.from_terminal() if source is None else key_files.from_file(source)
    return settings.keys.read(ask)


@asynccontextmanager
async def _opened(settings: NodeSettings, around: Surroundings) -> AsyncGenerator[EvidenceStore]:
    """Open the store, which has our log from now on, and the evidence in it."""
    keys = read_keys(settings)
    async with NodeStore.open(settings.database_path, around.open_database) as store:
        await _begin_log(store, settings, keys, around)
        seeds = settings.policy.seed_agents()
        yield await EvidenceStore.load(store, keys, around.clock.now_ms, seeds=seeds)


def _blobs(settings: NodeSettings, around: Surroundings) -> BlobStore:
    return BlobStore(settings.blobs_path, settings.blob_bytes_max, syncs=around.syncs_files)


async def _begin_log(
    store: NodeStore, settings: NodeSettings, keys: Keypair, around: Surroundings
) -> None:
    await store.claim_identity(keys.agent)
    if await store.backup_ms() is not None:
        raise OldBackup(
            f"{settings.home} was restored from a backup, so only the relays know what was signed "
            f"since. To learn it from them and go on, type: {_recover_command(settings)}"
        )
    head = await store.head()
    if head.seq == 0:
        recovery = settings.keys.recovery_agent()
        pen = Pen(keys, head, around.entropy)
        await store.write([Logged(pen.begin(recovery_hash(recovery), around.clock.now_ms()))])


def _office(
    transport: Transport, evidence: EvidenceStore, driver: Driver, *, settings: NodeSettings,
    around: Surroundings,
) -> RelayOffice:  # fmt: skip
    office = RelayOffice(evidence.keys, transport, evidence.store, driver)
    office.rng, office.entropy = around.rng(), around.entropy
    office.name = settings.name
    office.stamper.bits_max = settings.pow_bits_max
    office.recover_command = _recover_command(settings)
    return office


def _whereabouts(me: AgentId, transport: Transport, settings: NodeSettings) -> Whereabouts:
    # What we tell goes to all relays alike, and from there to whoever asks.
    is_local = all(map(is_loopback, settings.relays)) and not settings.mdns
    return Whereabouts(me, transport.addresses, settings.announce, tells_loopback=is_local)


def _lookouts(
    settings: NodeSettings, place: Whereabouts, driver: Driver, office: RelayOffice
) -> list[Coroutine[None, None, None]]:
    """Return what watches the network around us, as far as that is wanted."""
    works: list[Coroutine[None, None, None]] = []
    if settings.mdns:
        works.append(LocalNetwork(settings.mdns_interfaces).find(office.find))
    if place.may_change:
        works.append(place.follow(partial(_move, driver, office)))
    return works


def _move(driver: Driver, office: RelayOffice, addresses: tuple[str, ...]) -> None:
    """Tell others where we are now."""
    log.info("addresses changed", addresses=addresses)
    driver.agent.addresses = addresses
    office.readvertise()


def _recover_command(settings: NodeSettings) -> str:
    return f"bazaar recover --home {shlex.quote(str(settings.home))}"


def _builder(
    evidence: EvidenceStore,
    settings: NodeSettings,
    place: Whereabouts,
    *,
    policies: Policies | None,
    around: Surroundings,
) -> Callable[[], Awaitable[Agent]]:
    store, keys = evidence.store, evidence.keys
    opinions = ScoredOpinions(evidence.scorer)
    chosen = settings.policy.policies() if policies is None else policies

    async def build() -> Agent:
        configured = [draft_offer(offer.request()) for offer in settings.offers]
        offers = await store.offers() | {offer.capability: offer for offer in configured}
        opened = {bid: terms for bid, (_, terms) in (await store.opened()).items()}
        agent = Agent(
            Pen(keys, await store.head(), around.entropy),
            await store.live(),
            past=await store.past(),
            opened=opened,
            offers=offers,
            slots=settings.slots,
            price_min=settings.price_min,
            trust=await load_trust(store, chosen, opinions),
        )
        agent.addresses = place.addresses()
        agent.successions = Successions(await read_ended(store))
        peers = (Address.parse(relay).peer for relay in settings.relays)
        agent.relays = tuple(peer for peer in peers if peer)[: limits.ADDRESSES_MAX]
        return agent

    return build


class _Serving:
    """Lets peers fetch what they may have."""

    def __init__(self, blobs: BlobStore) -> None:
        self.driver: Driver | None = None
        self._blobs = blobs
        self._links: dict[asyncio.Task[None], AgentId] = {}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["_Serving"]:
        try:
            yield self
        finally:
            for link in self._links:
                link.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)

    def on_link(self, link: Link) -> None:
        if link.protocol != NODE_PROTOCOL or not self._has_room(link.peer):
            link.close()
            return
        task = asyncio.create_task(serve(link, self._blobs, self._may_fetch))
        self._links[task] = link.peer
        task.add_done_callback(self._links.pop)

    def serve_through(self, office: RelayOffice) -> None:
        """Take links through relays as well."""
        office.on_link, office.has_dealings = self.on_link, self.has_dealings

    def has_dealings(self, peer: AgentId) -> bool:
        """Tell whether ``peer`` may have anything to fetch from us."""
        agent = None if self.driver is None else self.driver.agent
        return bool(agent and agent.involves(peer) and not agent.successions.has_ended(peer))

    def _has_room(self, peer: AgentId) -> bool:
        """Tell whether one more link may fetch; one peer must not keep all others out."""
        if len(self._links) >= limits.LINKS_SERVED_MAX:
            return False
        return list(self._links.values()).count(peer) < limits.LINKS_SERVED_PER_PEER_MAX

    def _may_fetch(self, peer: bytes, task: bytes, digest: bytes) -> bool:
        if self.driver is None:
            return False
        return self.driver.agent.may_fetch(parse_agent(peer.hex()), RecordId(task), digest)


class _Background:
    """Tasks that run beside a block and end with it; when one fails, so does the block."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._started: list[asyncio.Task[None]] = []

    def start(self, *works: Coroutine[None, None, None]) -> None:
        """Run ``works`` until the block ends."""
        self._started += [self._tasks.create_task(work) for work in works]

    def stop(self) -> None:
        """Cancel what was started."""
        for task in self._started:
            task.cancel()


@asynccontextmanager
async def _background() -> AsyncGenerator[_Background]:
    async with asyncio.TaskGroup() as tasks:
        background = _Background(tasks)
        try:
            yield background
        finally:
            background.stop()


async def _announce(desk: Desk, on_ready: Callable[[Status], None], stop: asyncio.Event) -> None:
    ready, stopped = asyncio.ensure_future(desk.ready()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((ready, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            on_ready(await desk.status())
        await stopped
    finally:
        ready.cancel()
        stopped.cancel()


def _worst(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error that says most: a fault of ours, which nobody raised on purpose."""
    flat = [
        _worst(error) if isinstance(error, BaseExceptionGroup) else error
        for error in group.exceptions
    ]
    bugs = [error for error in flat if not isinstance(error, BazaarError)]
    return (bugs or flat)[0]
