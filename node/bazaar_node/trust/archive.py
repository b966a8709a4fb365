"""What a node knows of others, for the rest of the node: histories, evidence, and scores of it.

Everything is gathered in the background, from what our own trades brought and from what relays
have; nothing here is ever on the way of a trade.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from bazaar_host.logs import logger
from bazaar_node.network.relay_client import RelayClient
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.network.relays import RelayOffice
from bazaar_node.trust import (
    authors,
    exchange,
    feeding,
    forgetting,
    rebuilding,
    reports,
)
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.exchange import Imported
from bazaar_node.trust.histories import Circle
from bazaar_node.trust.receipts import Receipts
from bazaar_node.trust.reports import History, Shown
from bazaar_node.trust.syncing import Requests, Syncer
from bazaar_node.trust.telling import tell_relays
from bazaar_protocol import limits
from bazaar_protocol.errors import RemoteError, StorageError
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import unseal
from bazaar_reputation.book import Book
from bazaar_reputation.scores import Scorer

FOLLOW_S: Final = 0.5
"""How far evidence is behind the trades: what comes within this time is one transaction."""
ROUND_S: Final = 5.0
RECEIPTS_EVERY_S: Final = 60.0
PAUSE_S: Final = 0.05
"""Between two transactions of ours, so that trades are not held up."""
OWN_KINDS: Final = ("vouch",)
"""What is heard from those that we know: nobody else's vouch can weigh anything."""

log = logger(__name__)


class Archive:
    """The histories of others, the evidence in them, and the scores that follow.

    Args:
        evidence: Where they are kept; loaded.
        office: The relays.

    """

    def __init__(self, evidence: EvidenceStore, office: RelayOffice) -> None:
        self.evidence = evidence
        self.requests = Requests()
        self.office = office
        self._receipts = Receipts(evidence, office.keys)
        self._confronted: set[AgentId] = set()
        """The relays of which it was proved, since we began, that they leave something out."""
        self._syncer = Syncer(evidence, self._sessions, self.requests)
        self._has_wishes = asyncio.Event()
        office.confront = self._confront
        office.also_hear = self._also_hear

    @property
    def book(self) -> Book:
        """All evidence as numbers."""
        return self.evidence.book

    @property
    def scorer(self) -> Scorer:
        """The scores as we see them; the same object as long as the node runs."""
        return self.evidence.scorer

    async def history(self, agent: AgentId) -> History:
        """Return what is known of an agent's log, and what is wrong with it."""
        return await self.evidence.read(partial(reports.read_history, agent))

    async def receipts(self, agent: AgentId) -> list[Shown]:
        """Return every finding about an agent, with where the record that decided it is found."""
        return await self.evidence.read(partial(reports.read_shown, agent))

    async def look_into(self, agent: AgentId) -> History:
        """Ask the relays for the news of one agent's log now, and return what is known then.

        Raises:
            StorageError: Our store fails us.

        """
        found = await self.evidence.read(partial(reports.read_circle, agent))
        await self._syncer.sync(agent, Circle.OTHER if found is None else found)
        return await self.history(agent)

    async def rebuild(self) -> int:
        """Derive everything anew from the records; return how many there are."""
        return await rebuilding.rebuild(self.evidence)

    async def export_to(self, path: Path, agent: AgentId | None = None) -> int:
        """Write the evidence, or what there is about one agent, to a new file; return how much.

        Raises:
            StorageError: The file exists, or cannot be written.

        """
        return await exchange.export(self.evidence, path, agent)

    async def import_from(self, path: Path) -> Imported:
        """Take over a file of evidence, each record checked.

        Raises:
            ConfigError: It is no such file.
            StorageError: It cannot be read, or what it says cannot be kept.

        """
        return await exchange.import_file(self.evidence, path)

    async def run(self) -> None:
        """Gather evidence until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._resume, None))
            tasks.create_task(self._repeat(self._follow_on, 0.0))
            tasks.create_task(self._repeat(self._sync_on, 0.0))
            tasks.create_task(self._repeat(self.ask_for_receipts, RECEIPTS_EVERY_S))
            tasks.create_task(self._repeat(self._tidy, RECEIPTS_EVERY_S))

    async def follow(self) -> None:
        """Take over what our log, our tasks and our subscriptions have brought.

        Raises:
            StorageError: Our store fails us.

        """
        is_behind = await self.evidence.read(feeding.is_behind)
        while is_behind:
            news = await self.evidence.change(
                partial(feeding.feed, self.evidence.way(Circle.PARTNER))
            )
            is_behind = news.is_cut_short
            await asyncio.sleep(PAUSE_S)
        while rows := await self.evidence.read(feeding.read_witnessed):
            raws = [raw for _, raw in rows]
            found = await asyncio.to_thread(feeding.check_witnessed, raws)
            way = self.evidence.way(Circle.OTHER)
            await self.evidence.change(partial(feeding.feed_witnessed, found, rows[-1][0], way))
            await asyncio.sleep(PAUSE_S)
        self._has_wishes.set()

    async def sync(self) -> int:
        """Ask the relays for logs that are wanted; return for how many.

        Raises:
            StorageError: Our store fails us.

        """
        count = await self._syncer.sync_wanted()
        if self.evidence.has_words:
            await self.tell()
        return count

    async def tell(self) -> None:
        """Tell every relay what we found and it has not been told.

        Raises:
            StorageError: Our store fails us.

        """
        self.evidence.has_words = False
        await tell_relays(self.evidence, self._sessions())

    async def ask_for_receipts(self) -> None:
        """Ask each relay for the receipt of our newest entry, and tell what it was not told.

        Each is also asked how much of our log it has: one that has less than it gave its receipt
        for, and not only after a new link, has to sign that.

        Raises:
            StorageError: Our store fails us.

        """
        for relay, session in self._sessions().items():
            try:
                await self._receipts.ask(relay, session)
                await self._compare(relay, session)
            except RemoteError as error:
                log.debug("no receipt", relay=session.address, trouble=str(error))
        await self.tell()

    async def _compare(self, relay: AgentId, session: RelaySession) -> None:
        head = await session.head(self.office.keys.agent)
        known = 0 if head is None else unseal(head).seq
        if relay not in self._confronted and await self._receipts.confront(relay, session, known):
            self._confronted.add(relay)

    async def _resume(self) -> None:
        await rebuilding.resume(self.evidence)

    async def _follow_on(self) -> None:
        await self.follow()
        with suppress(TimeoutError):
            async with asyncio.timeout(ROUND_S):
                await self.evidence.has_changed.wait()
        self.evidence.has_changed.clear()
        await asyncio.sleep(FOLLOW_S)

    async def _sync_on(self) -> None:
        self._has_wishes.clear()
        if not await self.sync():
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND_S):
                    await self._has_wishes.wait()

    async def _tidy(self) -> None:
        while (surplus := await self.evidence.read(forgetting.find_surplus)) is not None:
            agent, everything = surplus
            forget = partial(
                forgetting.forget_oldest, agent, self.evidence.ours, everything=everything
            )
            await self.evidence.change(forget)
            await asyncio.sleep(PAUSE_S)

    async def _repeat(self, work: Callable[[], Awaitable[object]], pause_s: float | None) -> None:
        """Do something again and again, or once without a pause; a full disk does not end it."""
        while True:
            try:
                await work()
            except StorageError as error:
                log.warning("evidence has to wait", trouble=str(error))
                await asyncio.sleep(ROUND_S)
                continue
            if pause_s is None:
                return
            await asyncio.sleep(pause_s)

    async def _confront(self, client: RelayClient, known: int) -> None:
        if client.agent is None:
            return
        try:
            await self._receipts.confront(client.agent, client.session, known)
        except RemoteError as error:  # it is no proof, and nothing else depends on it
            log.info("no statement", relay=client.address, trouble=str(error))

    async def _also_hear(self) -> Sequence[Filter]:
        known = await self.evidence.read(authors.read_nearest)
        per_filter = limits.VALUES_PER_FILTER_MAX
        return [
            Filter(kinds=OWN_KINDS, authors=tuple(known[first : first + per_filter]))
            for first in range(0, len(known), per_filter)
        ]

    def _sessions(self) -> dict[AgentId, RelaySession]:
        return {
            client.agent: client.session
            for client in self.office.connected()
            if client.agent is not None
        }
