"""A node's dealings with all its relays: who we are there, what we missed, and what we send.

With each relay that connects, in this order: check that it does not know more of our own log than
we do, give it what it lacks of that, subscribe from where we left off, and hand over the outbox.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from bazaar_host.links import Link, OnLink, Transport
from bazaar_host.local_network import Found
from bazaar_host.logs import logger
from bazaar_node.driver import Driver
from bazaar_node.heirs import Heirs
from bazaar_node.market.events import KeepData, Offer
from bazaar_node.network.own_log import Ahead, Covered, Parted, compare
from bazaar_node.network.relay_client import RelayClient
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.network.relayed.exchange import LinkExchange
from bazaar_node.network.stamping import Stamper
from bazaar_node.storage.outbox import Outbox
from bazaar_node.storage.store import NodeStore, Parcel, RelayMark
from bazaar_protocol import limits
from bazaar_protocol.errors import (
    ConfigError,
    Contradiction,
    MalformedRecord,
    OldBackup,
    RemoteError,
    StorageError,
)
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import detect_fork
from bazaar_protocol.records import Record, unseal

STRAGGLERS_S: Final = 15.0
"""How long a relay that has not told all yet may hold up the passing of deadlines."""
TIDY_EVERY_S: Final = 2.0
OUTBOX_KEPT_MAX: Final = 16_384
"""How much of what some relay has is kept for those that lag behind."""
START_TOGETHER_S: Final = 2.0
"""How long the first relay to answer waits for the others, once."""
ADVERT_PAUSE_S: Final = 0.3
ADVERT_LIFETIME_MS: Final = 10 * limits.MINUTE_MS
ADVERT_EVERY_S: Final = 240.0


log = logger(__name__)


class RelayOffice:
    """All relays of a node.

    Args:
        keys: Who we are.
        transport: Dials.
        store: Has our log and the outbox.
        driver: Takes what the relays tell us.

    """

    def __init__(
        self, keys: Keypair, transport: Transport, store: NodeStore, driver: Driver
    ) -> None:
        self.keys = keys
        self.transport = transport
        self.driver = driver
        self.rng = random.Random()
        self.entropy: Callable[[int], bytes] = os.urandom
        """Draws random bytes for keys."""
        self.on_link: OnLink = Link.close
        """Called with each link that another node opens through a relay."""
        self.has_dealings: Callable[[AgentId], bool] = lambda _: False
        """Whose links are taken."""
        self.outbox = Outbox(store)
        self.stamper = Stamper(keys, driver.clock.now_ms)
        self.clients: dict[str, RelayClient] = {}
        self.is_ready = asyncio.Event()
        """Set once some relay has confirmed that our store is not an old copy."""
        self.keep: Callable[[KeepData], Awaitable[None]]
        """Keeps data that a letter brought; set before ``run``."""
        self.confront: Callable[[RelayClient, int], Awaitable[None]] = _let_be
        """Called with how much of our log a relay has, before it is given the rest."""
        self.also_hear: Callable[[], Awaitable[Sequence[Filter]]] = _nothing_else
        """Says what we want to hear beside what is for us."""
        self.heirs = Heirs(
            keys.agent, store, driver, lambda: [client.session for client in self.connected()]
        )
        self.name = ""
        self.recover_command = "bazaar recover"
        """What the owner of an old copy is told to type."""
        self._store = store
        self._advert_due = asyncio.Event()
        self._moved = asyncio.Event()
        self._has_advertised = False
        self._found: asyncio.Queue[Found] = asyncio.Queue(limits.RELAYS_FOUND_MAX)
        self._nearby: list[RelayClient] = []
        """Relays that nobody configured, and that were found on the local network."""

    async def run(self, addresses: Sequence[str]) -> None:
        """Deal with the relays at ``addresses`` until cancelled.

        Raises:
            OldBackup: A relay knows more of our log than our store does.
            StorageError: Our store fails us.

        """
        marks = await self._store.marks()
        async with asyncio.TaskGroup() as tasks:
            for address in addresses:
                self._use(address, marks, tasks)
            tasks.create_task(self._listen())
            tasks.create_task(self._advertise())
            tasks.create_task(self._tidy())
            while True:
                found = await self._found.get()
                self._consider(found, marks, tasks)

    def _use(
        self, address: str, marks: Mapping[str, RelayMark], tasks: asyncio.TaskGroup
    ) -> RelayClient:
        client = RelayClient(address, self)
        client.mark = marks.get(address, client.mark)
        client.links.on_link = self.on_link
        client.links.has_dealings = self.has_dealings
        if client.agent is not None:
            client.session.work = partial(self.stamper.stamp, client.agent)
        self.clients[address] = client
        tasks.create_task(client.session.run())
        tasks.create_task(client.publish_forever())
        return client

    def find(self, found: Found) -> None:
        """Use a relay as well that was found nearby, if there are few of these; or where it is."""
        with suppress(asyncio.QueueFull):  # it announces itself again
            self._found.put_nowait(found)

    def _consider(
        self, found: Found, marks: Mapping[str, RelayMark], tasks: asyncio.TaskGroup
    ) -> None:
        known = next((one for one in self.clients.values() if one.agent == found.agent), None)
        if known is not None:
            if known in self._nearby and known.session.address not in found.addresses:
                known.session.address = found.addresses[0]
            return
        if len(self._nearby) < limits.RELAYS_FOUND_MAX and found.addresses[0] not in self.clients:
            log.info("relay found nearby", relay=found.addresses[0])
            self._nearby.append(self._use(found.addresses[0], marks, tasks))

    def dispatch(self, parcels: list[Parcel]) -> None:
        """Hand over what has just become durable."""
        self.outbox.add(parcels)
        for client in self.clients.values():
            client.wake()

    def readvertise(self) -> None:
        """Tell the relays soon that our offers or our load have changed."""
        self._advert_due.set()

    def connected(self) -> list[RelayClient]:
        """Return the relays that can be asked something now."""
        return [client for client in self.clients.values() if client.is_ready]

    def exchanges(self) -> list[tuple[str, LinkExchange]]:
        """Return the relays through which other nodes can be reached now."""
        return [(one.address, one.links) for one in self.connected() if one.carries_links]

    def by_agent(self, agent: AgentId) -> RelayClient | None:
        """Return the relay with this identity, if it can be asked something now."""
        return next((client for client in self.connected() if client.agent == agent), None)

    def uses(self, relay: AgentId) -> bool:
        """Tell whether a relay is one of ours, whether it can be asked now or not."""
        return any(client.agent == relay for client in self.clients.values())

    async def check_head(self, client: RelayClient) -> int:
        """Compare our log with what a relay knows of it; return up to where that is the same.

        It sets ``trouble`` of a relay that cannot be used although our log is sound.

        Raises:
            OldBackup: It knows an entry of ours that we do not.

        """
        session = client.session
        match await compare(session, self._store, self.keys.agent):
            case Covered(seq):
                client.trouble = ""
                return seq
            case Ahead(newest):
                ours = await self._store.head()
                raise OldBackup(
                    f"relay {session.address} knows entry {newest.seq} of our log, which is not in "
                    f"our store (it ends at {ours.seq}): this is an old backup, and signing with "
                    "it would contradict what we signed before. To catch up and go on, type: "
                    f"{self.recover_command} (or, if this is no backup, somebody else signs with "
                    "our key; then type: bazaar key recover --recovery-key FILE)"
                )
            case Parted(is_lost=True) as parted:
                first, last = parted.theirs.seq, parted.newest.seq
                client.trouble = (
                    f"it holds entries {first} to {last} of our log, which a backup had lost, and "
                    "so can take none of those that came after; replace it by another relay"
                )
                return first - 1
            case Parted(is_overtaken=True) as parted:
                raise OldBackup(
                    f"relay {session.address} knows that a backup of this node was restored and "
                    f"went on from entry {parted.theirs.seq}: this store is the one that was "
                    "given up, and may not sign any more. Stop it, and use the restored one"
                )
            case Parted() as parted:
                raise OldBackup(self._two_hands(session, parted.theirs.seq))

    def _two_hands(self, session: RelaySession, seq: int) -> str:
        return (
            f"relay {session.address} knows another entry {seq} of our log: this store is an old "
            f"copy (then type: {self.recover_command}), or two nodes run with one key, or the key "
            "was stolen (then type: bazaar key recover --recovery-key FILE)"
        )

    async def wait_for_others(self) -> None:
        """Let the other relays speak before we sign for the first time.

        The one that answers first may not be the one that knows what an old backup has lost. A
        relay that is away, or takes its time, is not waited for.
        """
        if self.is_ready.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(START_TOGETHER_S):
                for client in self.clients.values():
                    await client.session.has_tried.wait()

    async def check_fork(self, session: RelaySession, record: Record) -> None:
        """Have a relay show what it knows in place of an entry of our log.

        Raises:
            OldBackup: We did sign something else for this place.
            MalformedRecord: It cannot show that, so it is the relay that is wrong.

        """
        place = record.seq
        for raw in await session.log(self.keys.agent, place, place) if place else ():
            try:
                detect_fork(record, unseal(raw))
            except Contradiction as error:
                raise OldBackup(self._two_hands(session, record.seq)) from error
        raise MalformedRecord("the relay speaks of a fork in our log, and cannot show it")

    async def send_log(self, session: RelaySession, *, after: int | None = None) -> None:
        """Give a relay the entries of our log that it lacks."""
        if after is None:
            head = await session.head(self.keys.agent)
            after = 0 if head is None else unseal(head).seq
        while entries := await self._store.log(after + 1, limits.RECORDS_PER_FRAME_MAX):
            await session.publish(entries)
            after += len(entries)

    async def open_posts(self) -> list[bytes]:
        """Return our posts that are still on offer."""
        live = await self._store.live()
        return [entry.task.post.raw for entry in live if entry.role == "poster"]

    def on_ready(self) -> None:
        """Begin to use a relay, which has confirmed that our store is no old copy."""
        self.is_ready.set()
        self._advert_due.set()

    def on_moved(self) -> None:
        """Look again who tells us what: a relay was caught up with, or lost."""
        self._moved.set()

    async def _listen(self) -> None:
        """Let deadlines pass while relays tell us what happens, and only then.

        Each relay in reach may first tell all that it has for us; but one that never ends must
        not keep us from trading through the others.
        """
        while True:
            await self._until(lambda: any(client.is_caught_up for client in self.connected()))
            with suppress(TimeoutError):
                async with asyncio.timeout(STRAGGLERS_S):
                    await self._until(
                        lambda: all(client.is_caught_up for client in self.connected())
                    )
            self.driver.begin_ticking()
            await self._until(lambda: not any(client.is_caught_up for client in self.connected()))
            self.driver.stop_listening()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._moved.clear()
            await self._moved.wait()

    async def _advertise(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ADVERT_EVERY_S):
                    await self._advert_due.wait()
            await asyncio.sleep(ADVERT_PAUSE_S)  # a burst of changes is one advert
            self._advert_due.clear()
            if self.driver.agent.offers or self._has_advertised:
                await self._publish_advert()

    def check_offers(self, offers: Mapping[str, Offer]) -> None:
        """Check that an advert can carry these offers.

        Raises:
            ConfigError: They are too many or too large together, or one is malformed.

        """
        try:
            self._advert(offers)
        except MalformedRecord as error:
            raise ConfigError(f"no advert can carry these offers: {error}") from error

    def _advert(self, offers: Mapping[str, Offer]) -> Record:
        return self.driver.agent.advert(
            name=self.name,
            relays=tuple(self.clients)[: limits.ADDRESSES_MAX],
            expires_in_ms=ADVERT_LIFETIME_MS,
            now_ms=self.driver.clock.now_ms(),
            offers=offers,
        )

    async def _publish_advert(self) -> None:
        try:
            advert = self._advert(self.driver.agent.offers)
        except MalformedRecord as error:  # what is left of an older version, say
            log.warning("nothing is advertised", trouble=str(error))
            return
        self._has_advertised = True
        for client in self.connected():
            try:
                await client.session.publish([advert.raw])
            except RemoteError:  # the next one is due soon
                log.debug("advert not published", relay=client.address)

    async def _tidy(self) -> None:
        """Write marks that no commit took along, and drop what every relay has."""
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            try:
                await self.driver.flush()
                reached = [
                    client.mark.acknowledged
                    for client in self.clients.values()
                    if not client.trouble
                ]
                if reached:
                    # A relay that is gone gets our log when it is back, and the newest of the rest.
                    await self.outbox.drop(max(min(reached), max(reached) - OUTBOX_KEPT_MAX))
            except StorageError as error:  # nothing is lost: it is done again
                log.warning("cannot tidy up", trouble=str(error))


async def _let_be(client: RelayClient, known: int) -> None:
    """Draw no conclusion from what a relay knows of our log."""
    del client, known


async def _nothing_else() -> Sequence[Filter]:
    return ()
