"""The contract of the database: all or nothing, one owner, and no lie about a full disk."""

import asyncio
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bazaar_host.database import Database, OpenDatabase
from bazaar_host.memory_disk import MemoryDisk
from bazaar_protocol.errors import StorageError, StorageFull

MIGRATIONS = ("CREATE TABLE note (text TEXT NOT NULL UNIQUE) STRICT",)
OWNER = """
import asyncio, sys
from pathlib import Path
from bazaar_host.database import Database

def insert(db) -> None:
    db.execute("INSERT INTO note VALUES ('acked')")

async def main() -> None:
    async with Database.open(Path(sys.argv[1]), [sys.argv[2]]) as database:
        await database.transaction(insert)
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def insert(text: str) -> Callable[[sqlite3.Connection], None]:
    def work(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO note VALUES (?)", (text,))

    return work


def notes(db: sqlite3.Connection) -> list[str]:
    return [text for (text,) in db.execute("SELECT text FROM note ORDER BY rowid")]


def fill(path: Path, raw: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)


def content(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "store.db"


@pytest.fixture(params=["file", "memory"])
def open_database(request: pytest.FixtureRequest) -> OpenDatabase:
    """A simulation's disk in memory keeps what is promised here as well."""
    return Database.open if request.param == "file" else MemoryDisk().open


async def test_a_commit_is_seen_by_readers_and_after_reopening(
    path: Path, open_database: OpenDatabase
) -> None:
    async with open_database(path, MIGRATIONS) as database:
        await database.transaction(insert("one"))
        assert await database.read(notes) == ["one"]
        assert database.commits == 1
    async with open_database(path, MIGRATIONS) as database:
        assert await database.read(notes) == ["one"]


async def test_the_files_are_private(path: Path) -> None:
    async with Database.open(path, MIGRATIONS):
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert modes == dict.fromkeys(
        ["store.db", "store.db-wal", "store.db-shm", "store.db.lock"], 0o600
    )


async def test_commits_are_synced_unless_one_asks_for_less(path: Path) -> None:
    def synchronous(db: sqlite3.Connection) -> int:
        value: int = db.execute("PRAGMA synchronous").fetchone()[0]
        return value

    async with Database.open(path, MIGRATIONS) as database:
        assert await database.transaction(synchronous) == 2
    async with Database.open(path, MIGRATIONS, synchronous="OFF") as database:
        assert await database.transaction(synchronous) == 0


async def test_a_failed_transaction_leaves_nothing_and_harms_no_other(
    path: Path, open_database: OpenDatabase
) -> None:
    def write_twice(db: sqlite3.Connection) -> None:
        insert("two")(db)
        insert("one")(db)

    async with open_database(path, MIGRATIONS) as database:
        first = asyncio.create_task(database.transaction(insert("one")))
        failing = asyncio.create_task(database.transaction(write_twice))
        third = asyncio.create_task(database.transaction(insert("three")))
        await first
        with pytest.raises(StorageError, match="UNIQUE"):
            await failing
        await third
        assert await database.read(notes) == ["one", "three"]
        assert database.commits == 2


async def test_an_error_of_the_work_itself_comes_back_unchanged(
    path: Path, open_database: OpenDatabase
) -> None:
    def refuse(db: sqlite3.Connection) -> None:
        insert("half")(db)
        raise ValueError("no")

    async with open_database(path, MIGRATIONS) as database:
        with pytest.raises(ValueError, match=r"^no$"):
            await database.transaction(refuse)
        assert await database.read(notes) == []


async def test_transactions_run_in_the_order_of_the_calls(
    path: Path, open_database: OpenDatabase
) -> None:
    texts = [str(number) for number in range(50)]
    async with open_database(path, MIGRATIONS) as database:
        await asyncio.gather(*(database.transaction(insert(text)) for text in texts))
        assert await database.read(notes) == texts


async def test_cancelled_writers_harm_nobody(path: Path, open_database: OpenDatabase) -> None:
    async with open_database(path, MIGRATIONS) as database:
        for round_number in range(30):
            writers = [
                asyncio.create_task(database.transaction(insert(f"{round_number} {number}")))
                for number in range(4)
            ]
            for _ in range(round_number % 5):
                await asyncio.sleep(0)
            writers[1].cancel()
            done = await asyncio.gather(*writers, return_exceptions=True)
            assert [done[0], done[2], done[3]] == [None] * 3
        kept = await database.read(notes)
        assert {f"{n} {w}" for n in range(30) for w in (0, 2, 3)} <= set(kept)


async def test_a_cancelled_transaction_runs_to_its_end(path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(db: sqlite3.Connection) -> None:
        insert("first half")(db)
        begun.set()
        assert go_on.wait(10)
        insert("second half")(db)

    async with Database.open(path, MIGRATIONS) as database:
        writer = asyncio.create_task(database.transaction(slow))
        await asyncio.to_thread(begun.wait, 10)
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer
        assert await database.read(notes) == []  # a reader does not wait for the writer
        go_on.set()
        await database.transaction(insert("next"))
        assert await database.read(notes) == ["first half", "second half", "next"]


async def test_leaving_waits_for_what_was_submitted(
    path: Path, open_database: OpenDatabase
) -> None:
    async with open_database(path, MIGRATIONS) as database:
        writer = asyncio.create_task(database.transaction(insert("late")))
        await asyncio.sleep(0)
    await writer
    with pytest.raises(StorageError, match="is closed"):
        await database.transaction(insert("too late"))
    async with open_database(path, MIGRATIONS) as database:
        assert await database.read(notes) == ["late"]


async def test_the_reader_cannot_write_and_keeps_no_transaction(path: Path) -> None:
    def peek(db: sqlite3.Connection) -> list[str]:
        db.execute("BEGIN")
        return notes(db)

    async with Database.open(path, MIGRATIONS) as database:
        with pytest.raises(StorageError, match="readonly"):
            await database.read(insert("no"))
        assert await database.read(peek) == []
        await database.transaction(insert("one"))
        assert await database.read(peek) == ["one"]


async def test_a_second_open_in_this_process_is_refused(path: Path) -> None:
    link = path.parent.parent / "link.db"
    async with Database.open(path, MIGRATIONS) as database:
        link.symlink_to(path)
        for way in (path, link):
            with pytest.raises(StorageError, match=f"in use by process {os.getpid()}"):
                async with Database.open(way, MIGRATIONS):
                    pass
        await database.transaction(insert("unharmed"))
    async with Database.open(path, MIGRATIONS):
        pass


async def test_a_second_process_is_refused_and_kill_9_frees_the_store(path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(path), MIGRATIONS[0]]
    owner = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert owner.stdout is not None
        assert await owner.stdout.readline() == b"ready\n"
        with pytest.raises(StorageError, match=f"in use by process {owner.pid}$"):
            async with Database.open(path, MIGRATIONS):
                pass
    finally:
        owner.kill()
        await owner.wait()
    async with Database.open(path, MIGRATIONS) as database:
        assert await database.read(notes) == ["acked"]


async def test_migrations_run_once_each_and_whole(path: Path, open_database: OpenDatabase) -> None:
    second = "CREATE TABLE more (x) STRICT; INSERT INTO note VALUES ('moved'); -- the end"
    async with open_database(path, MIGRATIONS):
        pass
    broken = "INSERT INTO note VALUES ('half'); INSERT INTO nowhere VALUES (1)"
    with pytest.raises(StorageError, match="nowhere"):
        async with open_database(path, [*MIGRATIONS, broken]):
            pass
    for _ in range(2):
        async with open_database(
            path, [*MIGRATIONS, second.replace("(x)", "(x INTEGER)")]
        ) as database:
            assert await database.read(notes) == ["moved"]


async def test_a_file_of_a_newer_version_is_refused(
    path: Path, open_database: OpenDatabase
) -> None:
    async with open_database(path, [*MIGRATIONS, "SELECT 1", "SELECT 1"]):
        pass
    with pytest.raises(StorageError, match=r"newer version.* 3.* 1"):
        async with open_database(path, MIGRATIONS):
            pass


async def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    fill(path, b"my diary, " * 1000)
    with pytest.raises(StorageError, match="not a database"):
        async with Database.open(path, MIGRATIONS):
            pass
    assert content(path) == b"my diary, " * 1000


async def test_a_corrupt_page_is_reported_as_such(path: Path) -> None:
    async with Database.open(path, MIGRATIONS) as database:
        for number in range(10):
            await database.transaction(insert(str(number) * 1000))
    fill(path, content(path)[:4096].ljust(len(content(path)), b"\xff"))
    async with Database.open(path, MIGRATIONS) as database:
        with pytest.raises(StorageError, match="is corrupt"):
            await database.read(notes)


async def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        async with Database.open(tmp_path / "file" / "store.db", MIGRATIONS):
            pass


async def test_a_full_database_refuses_keeps_nothing_of_it_and_recovers(path: Path) -> None:
    def limit(pages: int) -> Callable[[sqlite3.Connection], None]:
        return lambda db: db.execute(f"PRAGMA max_page_count = {pages}").close()

    def write_much(db: sqlite3.Connection) -> None:
        for number in range(100):
            insert(str(number) * 2000)(db)

    async with Database.open(path, MIGRATIONS) as database:
        await database.transaction(insert("before"))
        await database.transaction(limit(20))
        with pytest.raises(StorageFull, match=r"free some space in .*home"):
            await database.transaction(write_much)
        assert await database.read(notes) == ["before"]
        await database.transaction(limit(1000))
        await database.transaction(insert("after"))
        assert await database.read(notes) == ["before", "after"]


async def test_a_backup_is_a_whole_database_and_overwrites_nothing(path: Path) -> None:
    copy = path.with_name("copy.db")
    async with Database.open(path, MIGRATIONS) as database:
        await database.transaction(insert("one"))
        await database.backup(copy)
        await database.transaction(insert("two"))
        with pytest.raises(StorageError, match="exists already"):
            await database.backup(copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not copy.with_name("copy.db.part").exists()
    async with Database.open(copy, MIGRATIONS) as database:
        assert await database.read(notes) == ["one"]
