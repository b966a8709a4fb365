"""Group commit: fewer commits than writers, and each writer hears what became of its item."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bazaar_host.database import Database
from bazaar_host.group_commit import GroupCommit
from bazaar_protocol.errors import StorageError

MIGRATIONS = ("CREATE TABLE note (text TEXT NOT NULL UNIQUE) STRICT",)


def insert(db: sqlite3.Connection, texts: list[str]) -> list[str]:
    db.executemany("INSERT INTO note VALUES (?)", [(text,) for text in texts])
    return [text.upper() for text in texts]


def notes(db: sqlite3.Connection) -> list[str]:
    return [text for (text,) in db.execute("SELECT text FROM note ORDER BY rowid")]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    async with Database.open(tmp_path / "store.db", MIGRATIONS) as database:
        yield database


class Gate:
    """Keeps SQLite's thread busy, so that a group gathers meanwhile."""

    def __init__(self, database: Database) -> None:
        self._open = threading.Event()
        self._begun = threading.Event()
        self._database = database

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._database.transaction(self._block))
        await asyncio.to_thread(self._begun.wait, 10)

    async def __aexit__(self, *_: object) -> None:
        self._open.set()
        await self._task

    def _block(self, _: sqlite3.Connection) -> None:
        self._begun.set()
        assert self._open.wait(10)


async def submitted(group: GroupCommit[str, str], *texts: str) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(group.submit(text)) for text in texts]
    await asyncio.sleep(0)
    return tasks


async def test_what_arrives_during_a_commit_shares_the_next(database: Database) -> None:
    group = GroupCommit(database, insert, items_max=1000)
    texts = [f"n{number}" for number in range(200)]
    async with Gate(database):
        tasks = await submitted(group, *texts)
    assert await asyncio.gather(*tasks) == [text.upper() for text in texts]
    assert await database.read(notes) == texts
    assert database.commits <= 3  # the gate's, and at most two groups


async def test_a_lone_item_is_committed_at_once(database: Database) -> None:
    group = GroupCommit(database, insert, items_max=10)
    for text in ("one", "two"):
        assert await group.submit(text) == text.upper()
        assert await database.read(notes) == ["one", "two"][: database.commits]
    assert database.commits == 2


async def test_a_failed_group_is_none_of_it_and_the_next_one_works(database: Database) -> None:
    group = GroupCommit(database, insert, items_max=10)
    async with Gate(database):
        tasks = await submitted(group, "one", "two", "one")
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in done] == [StorageError] * 3
    assert await database.read(notes) == []
    assert await group.submit("one") == "ONE"


async def test_a_bug_in_the_commit_reaches_every_waiter_and_hangs_none(database: Database) -> None:
    def forget_one(db: sqlite3.Connection, texts: list[str]) -> list[str]:
        return insert(db, texts)[1:]

    group = GroupCommit(database, forget_one, items_max=10)
    done = await asyncio.gather(group.submit("a"), group.submit("b"), return_exceptions=True)
    assert [type(error) for error in done] == [AssertionError] * 2
    assert await database.read(notes) == []


async def test_a_cancelled_waiter_harms_no_other(database: Database) -> None:
    group = GroupCommit(database, insert, items_max=10)
    async with Gate(database):
        running = await submitted(group, "in the group", "with it")
        await asyncio.sleep(0)
        later = await submitted(group, "not yet", "after it")
        running[0].cancel()
        later[0].cancel()
    assert [await running[1], await later[1]] == ["WITH IT", "AFTER IT"]
    assert await database.read(notes) == ["in the group", "with it", "after it"]


async def test_submitting_waits_for_room(database: Database) -> None:
    group = GroupCommit(database, insert, items_max=2)
    async with Gate(database):
        tasks = await submitted(group, "a", "b", "c", "d", "e")
        tasks[3].cancel()
    assert await asyncio.gather(*tasks[:3], tasks[4]) == ["A", "B", "C", "E"]
    assert await database.read(notes) == ["a", "b", "c", "e"]
    assert database.commits >= 1 + 2


async def test_a_closed_database_is_an_error_and_no_hang(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "closed.db", MIGRATIONS) as database:
        group = GroupCommit(database, insert, items_max=1)
    for _ in range(2):
        with pytest.raises(StorageError, match="closed"):
            await asyncio.wait_for(group.submit("late"), 10)
