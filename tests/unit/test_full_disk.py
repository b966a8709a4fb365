"""A real file system without room: refused clearly, nothing kept, and usable again after."""

import shutil
import sqlite3
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from bazaar_host.database import Database
from bazaar_protocol.errors import StorageFull

MIGRATIONS = ("CREATE TABLE note (text TEXT NOT NULL) STRICT",)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("no mount here")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount; test_database has the small version")
    try:
        yield folder
    finally:
        subprocess.run([umount, "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def write_much(db: sqlite3.Connection) -> None:
    db.executemany("INSERT INTO note VALUES (?)", [("x" * 1000,)] * 200)


def insert_one(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO note VALUES ('one')")


def count(db: sqlite3.Connection) -> int:
    number: int = db.execute("SELECT count(*) FROM note").fetchone()[0]
    return number


async def test_a_full_disk_refuses_and_recovers_without_a_restart(small_disk: Path) -> None:
    async with Database.open(small_disk / "store.db", MIGRATIONS) as database:
        await database.transaction(insert_one)
        ballast = fill(small_disk)
        for _ in range(3):
            with pytest.raises(StorageFull, match="free some space"):
                await database.transaction(write_much)
            assert await database.read(count) == 1
        with pytest.raises(StorageFull):
            await database.backup(small_disk / "copy.db")
        assert sorted(file.name for file in ballast.parent.glob("copy*")) == []
        ballast.unlink()
        await database.transaction(insert_one)
        assert await database.read(count) == 2
    async with Database.open(small_disk / "store.db", MIGRATIONS) as database:
        assert await database.read(count) == 2


async def test_opening_on_a_full_disk_says_so_and_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "store.db"
    async with Database.open(path, MIGRATIONS) as database:
        await database.transaction(insert_one)
    ballast = fill(small_disk)
    with pytest.raises(StorageFull):
        async with Database.open(path, MIGRATIONS):
            pass
    ballast.unlink()
    async with Database.open(path, MIGRATIONS) as database:
        assert await database.read(count) == 1
