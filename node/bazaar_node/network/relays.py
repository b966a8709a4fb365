"""A node's dealings with all its relays: who we are there, what we missed, and what we send.

With each relay that connects, in this order: check that it does not know more of our own log than
we do, give it what it lacks of that, subscribe from where we left off, and hand over the outbox.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from bazaar_host.links import Transport
from bazaar_host.logs import logger
from bazaar_node.driver import Driver
from bazaar_node.market.events import KeepData, Offer
from bazaar_node.network.relay_client import RelayClient
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.storage.outbox import Outbox
from bazaar_node.storage.store import NodeStore, Parcel
from bazaar_protocol import limits
from bazaar_protocol.errors import (
    ConfigError,
    Contradiction,
    MalformedRecord,
    OldBackup,
    RemoteError,
    StorageError,
)
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import detect_fork
from bazaar_protocol.records import Record, record_id, unseal

STRAGGLERS_S: Final = 15.0
"""How long a relay that has not told all yet may hold up the passing of deadlines."""
TIDY_EVERY_S: Final = 2.0
OUTBOX_KEPT_MAX: Final = 16_384
"""How much of what some relay has is kept for those that lag behind."""
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
        self.outbox = Outbox(store)
        self.clients: dict[str, RelayClient] = {}
        self.is_ready = asyncio.Event()
        """Set once some relay has confirmed that our store is not an old copy."""
        self.keep: Callable[[KeepData], Awaitable[None]]
        """Keeps data that a letter brought; set before ``run``."""
        self.name = ""
        self._store = store
        self._advert_due = asyncio.Event()
        self._moved = asyncio.Event()
        self._has_advertised = False

    async def run(self, addresses: Sequence[str]) -> None:
        """Deal with the relays at ``addresses`` until cancelled.

        Raises:
            OldBackup: A relay knows more of our log than our store does.
            StorageError: Our store fails us.

        """
        marks = await self._store.marks()
        async with asyncio.TaskGroup() as tasks:
            for address in addresses:
                client = RelayClient(address, self)
                client.mark = marks.get(address, client.mark)
                self.clients[address] = client
                tasks.create_task(client.session.run())
                tasks.create_task(client.publish_forever())
            tasks.create_task(self._listen())
            tasks.create_task(self._advertise())
            tasks.create_task(self._tidy())

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

    def by_agent(self, agent: AgentId) -> RelayClient | None:
        """Return the relay with this identity, if it can be asked something now."""
        return next((client for client in self.connected() if client.agent == agent), None)

    async def check_head(self, session: RelaySession) -> None:
        """Compare our log with what a relay knows of it, and give it what it lacks.

        Raises:
            OldBackup: It knows an entry of ours that we do not.

        """
        known = await session.head(self.keys.agent)
        ours = await self._store.head()
        if known is not None:
            head = unseal(known)
            if head.author != self.keys.agent or not head.seq:
                raise MalformedRecord("asked for the head of our log, the relay sent none of it")
            entries = await self._store.log(head.seq, 1)
            if head.seq > ours.seq or not entries or record_id(entries[0]) != head.id:
                raise OldBackup(
                    f"relay {session.address} knows entry {head.seq} of our log, which is not in "
                    f"our store (it ends at {ours.seq}): this is an old backup, and signing with "
                    "it would contradict what we signed before. Put the newest copy back, or "
                    "begin with a new identity in another folder (bazaar init --home …)"
                )
        await self.send_log(session, after=0 if known is None else unseal(known).seq)

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
                raise OldBackup(
                    f"relay {session.address} knows another entry {record.seq} of our log: this "
                    "store is an old copy, or two nodes run with one key"
                ) from error
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
                reached = [client.mark.acknowledged for client in self.clients.values()]
                if reached:
                    # A relay that is gone gets our log when it is back, and the newest of the rest.
                    await self.outbox.drop(max(min(reached), max(reached) - OUTBOX_KEPT_MAX))
            except StorageError as error:  # nothing is lost: it is done again
                log.warning("cannot tidy up", trouble=str(error))
