"""What a disk in memory can beside what every database can: see test_database.py for that."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from tests.unit.test_database import MIGRATIONS, insert, notes

from bazaar_host.memory_disk import MemoryDisk
from bazaar_protocol.errors import StorageError, StorageFull

PATH = Path("store.db")


async def test_who_pulls_the_plug_loses_what_is_not_committed_and_nothing_else() -> None:
    disk = MemoryDisk(delay_s=lambda: 0.01)
    async with disk.open(PATH, MIGRATIONS) as database:
        await database.transaction(insert("kept"))
        under_way = asyncio.create_task(database.transaction(insert("lost")))
        await asyncio.sleep(0)
        disk.pull_the_plug()
        with pytest.raises(StorageError, match="is closed"):
            await under_way
        with pytest.raises(StorageError, match="is closed"):
            await database.read(notes)
        # The process that comes after it need not wait until it is quite gone.
        async with disk.open(PATH, MIGRATIONS) as other:
            assert await other.read(notes) == ["kept"]
            await other.transaction(insert("later"))
            assert await other.read(notes) == ["kept", "later"]


async def test_a_cancelled_transaction_is_carried_out_all_the_same() -> None:
    disk = MemoryDisk(delay_s=lambda: 0.01)
    async with disk.open(PATH, MIGRATIONS) as database:
        writer = asyncio.create_task(database.transaction(insert("late")))
        await asyncio.sleep(0)
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer
        await database.transaction(insert("next"))
        assert await database.read(notes) == ["late", "next"]


async def test_a_second_owner_is_refused() -> None:
    disk = MemoryDisk()
    async with disk.open(PATH, MIGRATIONS):
        with pytest.raises(StorageError, match="in use"):
            async with disk.open(PATH, MIGRATIONS):
                pass
        with pytest.raises(StorageError, match="in use"):
            disk.restore(PATH, b"")


async def test_an_old_copy_comes_back_as_it_was() -> None:
    disk = MemoryDisk()
    async with disk.open(PATH, MIGRATIONS) as database:
        await database.transaction(insert("one"))
        copy = disk.save(PATH)
        await database.transaction(insert("two"))
    disk.restore(PATH, copy)
    async with disk.open(PATH, MIGRATIONS) as database:
        assert await database.read(notes) == ["one"]
        await database.transaction(insert("other"))
        assert await database.read(notes) == ["one", "other"]


async def test_a_full_disk_keeps_nothing_of_it() -> None:
    full = False
    disk = MemoryDisk(is_full=lambda: full)
    async with disk.open(PATH, MIGRATIONS) as database:
        full = True
        with pytest.raises(StorageFull):
            await database.transaction(insert("no"))
        full = False
        await database.transaction(insert("yes"))
        assert await database.read(notes) == ["yes"]


async def test_each_commit_is_told_of_before_its_owner_knows() -> None:
    told: list[list[str]] = []

    def look(path: Path) -> None:
        db = disk.look(path)
        assert isinstance(db, sqlite3.Connection)
        told.append(notes(db))

    disk = MemoryDisk(on_commit=look)
    assert disk.look(PATH) is None
    async with disk.open(PATH, MIGRATIONS) as database:
        await database.transaction(insert("one"))
        assert told == [["one"]]


async def test_a_reader_that_writes_is_found_out() -> None:
    async with MemoryDisk().open(PATH, MIGRATIONS) as database:
        with pytest.raises(StorageError, match="readonly"):
            await database.read(insert("no"))
