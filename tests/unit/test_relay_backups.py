"""A relay's backups: made while it runs, and never the ground for signing anything twice."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.postgres import Server
from tests.relay_records import AGENTS, NAME, decline, log_of

from bazaar_protocol.errors import ConfigError, RestoredStore, StorageError
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import to_did
from bazaar_protocol.log import Head
from bazaar_relay.high_water import high_water
from bazaar_relay.storage import backups
from bazaar_relay.storage.postgres_adoption import adopt
from bazaar_relay.storage.postgres_store import PostgresStore
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Batch, NewLetter, NewRecord, Receipt, Store

OLD, NEW, BOB, _ = (agent.agent for agent in AGENTS)
LOG = log_of(AGENTS[0], 6)
OTHER_NAME = bytes(reversed(NAME))


async def fill(store: Store) -> None:
    """Have a relay sign, take a record, and give its receipt."""
    await store.commit(Batch([NewRecord(entry, ()) for entry in LOG[:2]]))
    await store.commit(Batch([NewRecord(decline(1), (BOB,))], letters=[NewLetter(BOB, b"x", 9)]))
    receipt = Receipt(LOG[2].id, 3, 3, decline(1).id, b"", 10**15)
    await store.commit(Batch([NewRecord(LOG[2], ())], receipts=[receipt]))


async def check_given_away(store: Store) -> None:
    """See that a store holds what it held, and that its new relay has promised nothing."""
    assert store.name == OTHER_NAME, "cursors mean something else from now on"
    assert await store.heads([OLD, NEW]) == {OLD: Head(3, LOG[2].id)}
    assert await store.get(decline(1).id) == decline(1).raw
    assert len((await store.scan([Filter()], after=0, limit=9))[0]) == 4
    assert await store.letters(BOB) == [(1, b"x")]
    assert await store.receipt(decline(1).id) is None
    assert await store.covered() == 4
    assert (await store.commit(Batch([NewRecord(decline(2), ())]))).cursors == [5]


async def test_a_backup_is_made_while_the_relay_writes(tmp_path: Path) -> None:
    path, copy = tmp_path / "relay.sqlite3", tmp_path / "copy"
    async with SqliteStore.open(path, name=NAME, relay=OLD) as store:
        await fill(store)
        backup = backups.write(path, copy, now_ms=77)
        assert backup == backups.Backup(to_did(OLD), 77, 4)
        await store.commit(Batch([NewRecord(LOG[3], ())]))
        assert copy.stat().st_mode & 0o077 == 0
        with pytest.raises(ConfigError, match="overwrites nothing"):
            backups.write(path, copy, now_ms=78)
    assert not list_hidden(tmp_path), "nothing is left lying around"


def list_hidden(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.name.startswith(".")]


async def test_a_backup_is_opened_by_no_relay(tmp_path: Path) -> None:
    path, copy = tmp_path / "relay.sqlite3", tmp_path / "copy"
    async with SqliteStore.open(path, name=NAME, relay=OLD) as store:
        await fill(store)
    backups.write(path, copy, now_ms=77)
    for relay in (OLD, NEW, None):
        with pytest.raises(RestoredStore, match="is a backup"):
            async with SqliteStore.open(copy, name=NAME, relay=relay):
                pass


async def test_a_backup_goes_to_a_relay_with_a_new_key_only(tmp_path: Path) -> None:
    path, copy, to = tmp_path / "relay.sqlite3", tmp_path / "copy", tmp_path / "new" / "store"
    async with SqliteStore.open(path, name=NAME, relay=OLD) as store:
        await fill(store)
    backups.write(path, copy, now_ms=77)
    with pytest.raises(RestoredStore, match="this very relay"):
        backups.restore(copy, to, relay=OLD, name=OTHER_NAME)
    assert not to.exists()
    backups.restore(copy, to, relay=NEW, name=OTHER_NAME)
    with pytest.raises(ConfigError, match="another relay"):
        async with SqliteStore.open(to, name=NAME, relay=OLD):
            pass
    async with SqliteStore.open(to, name=NAME, relay=NEW) as store:
        await check_given_away(store)
    with pytest.raises(ConfigError, match="exists already"):
        backups.restore(copy, to, relay=NEW, name=OTHER_NAME)


async def test_the_log_tells_whose_it_is_where_nobody_has_written_it_down(tmp_path: Path) -> None:
    path, copy = tmp_path / "relay.sqlite3", tmp_path / "copy"
    async with SqliteStore.open(path, name=NAME) as store:  # as older versions did
        await fill(store)
    assert backups.write(path, copy, now_ms=77).relay == ""
    with pytest.raises(RestoredStore, match="this very relay"):
        backups.restore(copy, tmp_path / "new", relay=OLD, name=OTHER_NAME)


def test_what_is_no_backup_is_not_restored(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    with pytest.raises(ConfigError, match="there is no store"):
        backups.write(wrong, tmp_path / "copy", now_ms=1)
    with pytest.raises(ConfigError, match="No such file"):
        backups.restore(wrong, tmp_path / "to", relay=NEW, name=NAME)
    wrong.write_bytes(b"hello" * 1000)
    with pytest.raises(StorageError, match="not a database"):
        backups.restore(wrong, tmp_path / "to", relay=NEW, name=NAME)
    wrong.unlink()
    with closing(sqlite3.connect(wrong)) as db:
        db.execute("CREATE TABLE other (x)")
    with pytest.raises(ConfigError, match="is no backup of a relay"):
        backups.restore(wrong, tmp_path / "to", relay=NEW, name=NAME)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["wrong"]


async def test_a_database_goes_to_a_relay_with_a_new_key_only(postgres_server: Server) -> None:
    address = await postgres_server.new_database()
    async with PostgresStore.open(address, name=NAME, relay=OLD) as store:
        await fill(store)
        with pytest.raises(ConfigError, match="in use by a relay"):
            await adopt(address, relay=NEW, name=OTHER_NAME)
    with pytest.raises(RestoredStore, match="this very relay"):
        await adopt(address, relay=OLD, name=OTHER_NAME)
    await adopt(address, relay=NEW, name=OTHER_NAME)
    with pytest.raises(ConfigError, match="another relay"):
        async with PostgresStore.open(address, name=NAME, relay=OLD):
            pass
    async with PostgresStore.open(address, name=NAME, relay=NEW) as store:
        await check_given_away(store)


async def test_a_store_that_went_back_in_time_is_noticed(tmp_path: Path) -> None:
    path, old, note = tmp_path / "relay.sqlite3", tmp_path / "old", tmp_path / "own-log.json"
    async with SqliteStore.open(path, name=NAME, relay=OLD) as store:
        await fill(store)
    old.write_bytes(path.read_bytes())  # as a tool would do that knows nothing of marks
    async with SqliteStore.open(path, name=NAME, relay=OLD) as store:
        async with high_water(note, OLD, store):
            await store.commit(Batch([NewRecord(entry, ()) for entry in LOG[3:5]]))
        async with high_water(note, OLD, store):
            pass
        async with high_water(note, NEW, store):
            pass  # who has a new key has signed nothing
    async with SqliteStore.open(old, name=NAME, relay=OLD) as store:
        with pytest.raises(RestoredStore, match="signed 5 entries of its log, and the store knows"):
            async with high_water(note, OLD, store):
                pass
