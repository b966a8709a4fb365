"""The evidence of a node in its one database, and the book in memory that is made of it."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Self, TypeVar

from bazaar_node.storage.store import NodeStore
from bazaar_node.trust import booking
from bazaar_node.trust.histories import Circle
from bazaar_node.trust.keeping import News, Way, keep
from bazaar_protocol.evidence_kinds import Proof
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.records import Record, seal
from bazaar_reputation.book import Book
from bazaar_reputation.scores import Scorer

RECORDS_PER_COMMIT: Final = 32
"""Few, so that a trade never waits long for its own commit."""

T = TypeVar("T")


class EvidenceStore:
    """Keeps verified records, with all that follows from them.

    Args:
        store: The node's.
        keys: Who we are; we sign proofs of what we find.
        now_ms: The time.
        seeds: Whose word on others counts from the start.

    """

    def __init__(
        self,
        store: NodeStore,
        keys: Keypair,
        now_ms: Callable[[], int],
        *,
        seeds: Iterable[AgentId] = (),
    ) -> None:
        self.ours = keys.agent
        self.now_ms = now_ms
        self.book = Book()
        self.scorer = Scorer(self.book, self.ours, sorted(seeds))
        self.has_changed = store.has_changed
        """Set by every turn of the market that was written."""
        self.has_words = False
        """Whether something was found that all relays have to be told."""
        self.store = store
        self.keys = keys

    @classmethod
    async def load(
        cls,
        store: NodeStore,
        keys: Keypair,
        now_ms: Callable[[], int],
        *,
        seeds: Iterable[AgentId] = (),
    ) -> Self:
        """Return the evidence in ``store``, with the book that it makes.

        Raises:
            StorageError: It cannot be read.

        """
        evidence = cls(store, keys, now_ms, seeds=seeds)
        booking.tell(evidence.book, await evidence.contents())
        return evidence

    async def contents(self) -> News:
        """Return all that a book has to hold, as if it had just happened.

        Raises:
            StorageError: It cannot be read.

        """
        return await self.read(partial(booking.read_contents, ours=self.ours))

    async def keep(
        self, records: Sequence[Record], circle: Circle, *, begins_run: bool = False,
        at_once: int = RECORDS_PER_COMMIT,
    ) -> int:  # fmt: skip
        """Keep verified records, some in each transaction; return how many were new.

        Args:
            records: What ``keeping.check_kept`` found nothing wrong with.
            circle: How near to us their authors are, unless they are known to be nearer.
            begins_run: Whether the first of them is where we begin with its author's log.
            at_once: How many in each transaction.

        Raises:
            StorageError: They could not be kept; some of them may be.

        """
        count = 0
        for first in range(0, len(records), at_once):
            batch = records[first : first + at_once]
            way = self.way(circle, begins_run=begins_run and first == 0)
            count += (await self.change(partial(keep, records=batch, way=way))).count
        return count

    def way(self, circle: Circle, *, begins_run: bool = False) -> Way:
        """Return how to keep what comes now."""
        now_ms = self.now_ms()

        def accuse(body: Proof) -> Record:
            return seal(self.keys, body, time_ms=now_ms)

        return Way(self.ours, accuse, circle, now_ms, begins_run)

    async def change(self, work: Callable[[sqlite3.Connection], News]) -> News:
        """Do ``work`` in one transaction, and let the book know.

        Raises:
            StorageError: It could not be done, and nothing of it was.

        """
        news = await self.store.work(work)
        booking.tell(self.book, news)
        self.has_words |= news.has_words
        return news

    async def work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do what the book need not know of, in one transaction.

        Raises:
            StorageError: It could not be done, and nothing of it was.

        """
        return await self.store.work(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` reads.

        Raises:
            StorageError: It cannot be read.

        """
        return await self.store.read(work)
