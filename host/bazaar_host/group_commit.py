"""Many small writes, few transactions: whatever arrives while one commit runs is the next group."""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from bazaar_host.database import Database

T = TypeVar("T")
R = TypeVar("R")

Commit = Callable[[sqlite3.Connection, list[T]], list[R]]
"""Write a group of items and return one result for each, in their order."""


class GroupCommit(Generic[T, R]):
    """Shares commits between the tasks that write.

    There is no timer: an idle database commits a lone item at once, a busy one takes everything
    that has come in meanwhile. A group is committed as a whole or not at all.

    Args:
        database: Where to.
        commit: Writes one group, inside a transaction and on the database's thread.
        items_max: How many items may wait or be in the commit that runs; ``submit`` waits for room.

    """

    def __init__(self, database: Database, commit: Commit[T, R], *, items_max: int) -> None:
        self._database = database
        self._commit = commit
        self._room = asyncio.Semaphore(items_max)
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Return the result for ``item`` once it is committed.

        A cancelled caller's item is committed with its group, or was never part of one; the others
        of the group notice nothing.

        Raises:
            StorageError: The group failed, and none of it was kept.

        """
        await self._room.acquire()
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._running is None:
            # Not a child of the caller, who may be cancelled: others wait for it as well. It ends
            # when nobody waits any more.
            self._running = asyncio.create_task(self._commit_groups())
        return await result

    async def _commit_groups(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            wanted = [entry for entry in group if not entry[1].cancelled()]
            if wanted:
                work = partial(self._write, [item for item, _ in wanted])
                outcome = asyncio.ensure_future(self._database.transaction(work))
                # Whatever it ends with, a bug included, belongs to those who wait for it.
                await asyncio.wait((outcome,))
                _settle([result for _, result in wanted], outcome)
            for _ in group:
                self._room.release()
        self._running = None

    def _write(self, items: list[T], db: sqlite3.Connection) -> list[R]:
        results = self._commit(db, items)
        assert len(results) == len(items), "a commit answers for each of its items"
        return results


def _settle(waiting: list[asyncio.Future[R]], outcome: asyncio.Future[list[R]]) -> None:
    error = outcome.exception()
    if error is None:
        for result, value in zip(waiting, outcome.result(), strict=True):
            if not result.done():
                result.set_result(value)
        return
    for result in waiting:
        if not result.done():
            result.set_exception(error)
            result.exception()  # who was cancelled just now never looks, and asyncio would complain
