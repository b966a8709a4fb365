"""What only a store on a PostgreSQL server has to do: get in, stay what it is, and come back."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from tests.postgres import Server
from tests.relay_records import AGENTS, NAME, decline, log_of

from bazaar_protocol.errors import ConfigError, StorageError
from bazaar_protocol.identity import to_did
from bazaar_relay import settings
from bazaar_relay.homes import Home
from bazaar_relay.serving.stores import open_store
from bazaar_relay.settings import FileSettings
from bazaar_relay.storage.postgres_store import PostgresStore
from bazaar_relay.storage.store import Batch, NewRecord

ALICE, BOB, *_ = (agent.agent for agent in AGENTS)


def new(number: int) -> Batch:
    return Batch([NewRecord(decline(number), ())])


@pytest.fixture
async def address(postgres_server: Server) -> str:
    return await postgres_server.new_database()


async def refused(address: str) -> str:
    """Return why the store at ``address`` cannot be opened."""
    with pytest.raises((ConfigError, StorageError)) as caught:
        async with PostgresStore.open(address, name=NAME):
            pass
    return f"{type(caught.value).__name__}: {caught.value}"


async def test_it_stays_when_it_is_opened_again(address: str) -> None:
    async with PostgresStore.open(address, name=NAME, relay=ALICE) as store:
        await store.commit(new(1))
    async with PostgresStore.open(address, name=bytes(32), relay=ALICE) as store:
        assert store.name == NAME
        assert await store.cursor() == 1


async def test_why_one_does_not_get_in(
    postgres_server: Server, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:guarded:wrong\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    guarded = address.replace("postgres@", "guarded@")
    said = await refused(guarded)
    assert said.startswith("ConfigError")
    assert "password authentication failed" in said
    assert "PGPASSFILE" in said
    passwords.write_text("*:*:*:guarded:right\n")
    async with PostgresStore.open(guarded, name=NAME) as store:
        await store.commit(new(1))
    said = await refused(postgres_server.address("nowhere"))
    assert "is missing: make it with createdb" in said
    said = await refused(f"postgresql://postgres@/x?host={tmp_path}")
    assert said.startswith("StorageError")
    assert "cannot be reached" in said


async def test_it_is_of_one_relay_and_of_a_version_that_is_known(address: str) -> None:
    async with PostgresStore.open(address, name=NAME, relay=ALICE) as store:
        with pytest.raises(ConfigError, match=f"another relay, {to_did(ALICE)}"):
            async with PostgresStore.open(address, name=NAME, relay=BOB):
                pass
        async with store._server.connection() as db:
            await db.execute("INSERT INTO version VALUES (99)")
    assert "its schema is number 99" in await refused(address)


def test_a_password_has_no_place_in_the_settings(tmp_path: Path) -> None:
    for wrong, why in (
        ("postgresql://ada:secret@host/db", "leave the password out"),
        ("postgresql://ada@host/db?password=secret", "leave the password out"),
        ("mysql://host/db", "store is sqlite, or an address"),
    ):
        with pytest.raises(ConfigError, match=why) as caught:
            settings.load(tmp_path, flags={"store": wrong}, environ={})
        assert "secret" not in str(caught.value)
    FileSettings(store="postgresql://ada@host/db").check()


async def test_without_asyncpg_one_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    for name in [name for name in sys.modules if "storage.postgres_" in name]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match="bazaar\\[postgres\\]"):
        async with open_store(Home(tmp_path), "postgresql://host/db", ALICE):
            pass
    async with open_store(Home(tmp_path), settings.SQLITE, ALICE) as store:
        assert await store.cursor() == 0


def test_nobody_who_has_no_use_for_it_loads_asyncpg() -> None:
    code = "import sys, bazaar_relay.serving.process as _; print('asyncpg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


async def test_one_home_is_of_one_process(address: str, tmp_path: Path) -> None:
    async with open_store(Home(tmp_path), address, ALICE):
        with pytest.raises(StorageError, match="is in use by process"):
            async with open_store(Home(tmp_path), address, ALICE):
                pass
        (tmp_path / "other").mkdir()
        async with open_store(Home(tmp_path / "other"), address, ALICE):
            pass


async def test_a_turn_keeps_others_waiting_and_ends_with_its_process(address: str) -> None:
    async with PostgresStore.open(address, name=NAME) as one:
        async with PostgresStore.open(address, name=NAME) as two:
            await two.begin_turn()
            waiting = asyncio.create_task(one.commit(new(1)))
            done, _ = await asyncio.wait({waiting}, timeout=0.3)
            assert not done
        assert (await waiting).cursors == [1]  # the other has gone, and its turn with it
        assert [entry.cursor for entry in (await one.begin_turn()).entries] == [1]
        await one.end_turn()


async def test_who_does_nothing_in_its_turn_loses_it(address: str) -> None:
    async with (
        PostgresStore.open(address, name=NAME) as one,
        PostgresStore.open(address, name=NAME) as two,
    ):
        await two.begin_turn()
        async with asyncio.timeout(12):  # the server waits for five seconds
            assert (await one.commit(new(1))).cursors == [1]
        with pytest.raises(StorageError):
            await two.commit(new(2))
        assert [entry.record for entry in (await two.begin_turn()).entries] == [decline(1)]
        assert (await two.commit(new(2))).cursors == [2]


async def test_a_database_that_lost_commits_is_not_gone_on_with(address: str) -> None:
    async with PostgresStore.open(address, name=NAME) as store:
        await store.begin_turn()
        await store.commit(new(1))
        async with store._server.connection() as db:  # as a standby that was behind would do
            await db.execute("DELETE FROM record; UPDATE store SET cursor = 0")
        for ask in (store.news, store.begin_turn, store.begin_turn):
            with pytest.raises(StorageError, match="has lost what was committed"):
                await ask()


async def test_news_come_in_pieces_and_once(address: str) -> None:
    async with (
        PostgresStore.open(address, name=NAME) as one,
        PostgresStore.open(address, name=NAME) as two,
    ):
        told = asyncio.Event()
        two.on_change(told.set)
        await two.begin_turn()
        await two.commit(new(-1))  # nobody is told of what they did
        await one.commit(Batch([NewRecord(decline(n), ()) for n in range(1500)]))
        async with asyncio.timeout(10):
            await told.wait()
        first = await two.news()
        assert (len(first.entries), first.is_whole) == (1000, False)
        second = await two.news()
        assert (len(second.entries), second.is_whole) == (500, True)
        cursors = [entry.cursor for entry in (*first.entries, *second.entries)]
        assert cursors == list(range(2, 1502))
        assert not (await two.news()).entries


async def test_a_fork_is_kept_out_whatever_a_process_believes(address: str) -> None:
    async with PostgresStore.open(address, name=NAME) as store:
        await store.commit(Batch([NewRecord(entry, ()) for entry in log_of(AGENTS[0], 3)]))
        fork = log_of(AGENTS[0], 4, name="fork")[3]
        with pytest.raises(StorageError, match="another log"):
            await store.commit(Batch([NewRecord(fork, ())]))
        assert (await store.commit(new(1))).cursors == [4]


async def test_it_comes_back_when_the_server_does(postgres_server: Server, address: str) -> None:
    async with PostgresStore.open(address, name=NAME) as store:
        await postgres_server.shut_out(address)
        with pytest.raises(StorageError):
            await store.commit(new(1))
        with pytest.raises(StorageError):
            await store.cursor()
        await postgres_server.let_in(address)
        assert (await store.commit(new(1))).cursors == [1]
