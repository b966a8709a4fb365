"""What only a store on disk promises: everything is still there, whenever it was cut off."""

import asyncio
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.relay_records import AGENTS, NAME, decline, log_of, post

from bazaar_host.database import Database
from bazaar_protocol.errors import StorageError
from bazaar_protocol.frames import Filter
from bazaar_protocol.log import Head
from bazaar_relay.storage import merging, overlay
from bazaar_relay.storage.index import Index
from bazaar_relay.storage.sqlite_schema import MIGRATIONS
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Batch, NewLetter, NewRecord

ALICE, BOB, CAROL, DAVE = (agent.agent for agent in AGENTS)
TASK = post(AGENTS[0], "text", tags=("tag",))
LOG = log_of(AGENTS[0], 4)
WRITER = """
import asyncio, sys
from pathlib import Path
from bazaar_relay.storage import overlay
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Batch, NewRecord
from tests.relay_records import AGENTS, NAME, decline

overlay._RECORDS_MAX = 20  # so that merges run all the time

async def main() -> None:
    async with SqliteStore.open(Path(sys.argv[1]), name=NAME) as store:
        number = int(sys.argv[2])
        while True:
            await store.commit(Batch([
                NewRecord(decline(number + n), (AGENTS[0].agent,)) for n in range(5)
            ]))
            number += 5
            print(number, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


async def fill(store: SqliteStore) -> None:
    await store.commit(Batch([NewRecord(TASK, (BOB,), 99), *(NewRecord(r, ()) for r in LOG)]))
    await store.commit(Batch([NewRecord(decline(n, task=TASK.id), (ALICE,)) for n in range(300)]))
    await store.commit(Batch(routes=[(TASK.id, CAROL)], letters=[NewLetter(BOB, b"hi", 99)]))


async def check_all_there(store: SqliteStore) -> None:
    declines = [decline(n, task=TASK.id).raw for n in range(300)]
    everything = [TASK.raw, *(record.raw for record in LOG), *declines]
    expected: list[tuple[Filter, list[bytes]]] = [
        (Filter(), everything),
        (Filter(tasks=(TASK.id,)), [TASK.raw, *declines]),
        (Filter(to=(ALICE,)), declines),
        (Filter(kinds=("decline",)), declines),
        (Filter(to=(BOB,)), [TASK.raw]),
        (Filter(to=(CAROL,)), [TASK.raw]),
        (Filter(tags=("tag",)), [TASK.raw]),
    ]
    for wanted, raws in expected:
        found, reached = await store.scan([wanted], after=0, limit=500)
        assert ([item.raw for item in found], reached) == (raws, 306), wanted
    assert await store.cursor() == 306
    assert await store.heads([ALICE]) == {ALICE: Head(4, LOG[3].id)}
    assert await store.log(ALICE, first=1, last=9, limit=9) == [record.raw for record in LOG]
    assert await store.letters(BOB) == [(1, b"hi")]
    again = Batch([NewRecord(LOG[0], ()), NewRecord(decline(7, task=TASK.id), ())])
    assert (await store.commit(again)).cursors == [None, None]


async def test_the_name_is_that_of_the_first_time(path: Path) -> None:
    for name in (NAME, bytes(32)):
        async with SqliteStore.open(path, name=name) as store:
            assert store.name == NAME


async def test_everything_is_there_after_reopening(path: Path) -> None:
    async with SqliteStore.open(path, name=NAME) as store:
        await fill(store)
        await check_all_there(store)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT merged FROM store").fetchone() == (306,)
    async with SqliteStore.open(path, name=NAME) as store:
        await check_all_there(store)
        assert await store.forget(now_ms=99) == 2


async def test_a_cursor_never_comes_back(path: Path) -> None:
    async with SqliteStore.open(path, name=NAME) as store:
        await store.commit(Batch([NewRecord(decline(n), (), n) for n in range(1, 4)]))
        assert await store.forget(now_ms=3) == 3
    async with SqliteStore.open(path, name=NAME) as store:
        assert await store.cursor() == 3
        assert (await store.commit(Batch([NewRecord(decline(9), ())]))).cursors == [4]


@pytest.mark.parametrize("done", range(9))
async def test_a_merge_may_be_cut_off_after_each_piece(
    path: Path, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_ROWS_PER_PIECE", 150)
    async with SqliteStore.open(path, name=NAME) as store:
        await fill(store)
        # What a process that dies during the merge leaves: some of its pieces.
        work = merging.pieces(store._overlay.newer, upto=306)
        assert len(work) == 8
        for piece in work[:done]:
            await store._database.transaction(piece)
        copy = path.with_name("copy.db")
        await store._database.backup(copy)
    async with SqliteStore.open(copy, name=NAME) as store:
        await check_all_there(store)
        more = Batch([NewRecord(decline(1000 + n), (DAVE,)) for n in range(300)])
        await store.commit(more)
        await store.merge()
        found, _ = await store.scan([Filter(to=(DAVE,))], after=0, limit=500)
        assert [item.raw for item in found] == [new.record.raw for new in more.records]
        assert await store.forget(now_ms=99) == 2
        found, _ = await store.scan([Filter(tasks=(TASK.id,))], after=0, limit=500)
        assert len(found) == 300


async def test_a_merge_that_fails_loses_nothing_and_is_done_again(path: Path) -> None:
    async with SqliteStore.open(path, name=NAME) as store:
        await fill(store)
        await store._database.transaction(
            lambda db: db.execute("ALTER TABLE by_seq RENAME TO elsewhere").fetchone()
        )
        with pytest.raises(Exception, match="by_seq"):
            await store.merge()
        await store._database.transaction(
            lambda db: db.execute("ALTER TABLE elsewhere RENAME TO by_seq").fetchone()
        )
        await check_all_there(store)
        await store.merge()
        await check_all_there(store)


async def test_an_audience_comes_back_in_order_across_merges(path: Path) -> None:
    wanted = decline(1)
    async with SqliteStore.open(path, name=NAME) as store:
        await store.commit(Batch([NewRecord(wanted, (DAVE, ALICE))]))
        await store.merge()
        await store.commit(Batch(routes=[(wanted.id, CAROL)]))
        assert await store.audience(wanted.id) == [DAVE, ALICE, CAROL]
        await store.merge()
        await store.commit(Batch(routes=[(wanted.id, BOB)]))
        assert await store.audience(wanted.id) == [DAVE, ALICE, CAROL, BOB]
        assert await store.audience(decline(2).id) == []


async def test_a_merge_that_nobody_waits_for_says_why_it_failed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "_RECORDS_MAX", 2)
    with capture_logs() as said:
        async with SqliteStore.open(path, name=NAME) as store:
            await store._database.transaction(
                lambda db: db.execute("ALTER TABLE by_seq RENAME TO elsewhere").fetchone()
            )
            await store.commit(Batch([NewRecord(record, ()) for record in LOG]))
    assert said[0]["event"] == "indexing failed"
    assert "by_seq" in said[0]["reason"]


async def test_start_up_reads_only_what_is_not_merged(path: Path) -> None:
    async with SqliteStore.open(path, name=NAME) as store:
        await fill(store)
    async with SqliteStore.open(path, name=NAME) as store:
        assert store._overlay.layers[0].entries == {}
        assert store._overlay.layers[1].entries == {}
        await check_all_there(store)


async def test_a_cancelled_commit_is_kept_in_memory_as_on_disk(path: Path) -> None:
    async with SqliteStore.open(path, name=NAME) as store:
        for number in range(20):
            commit = asyncio.create_task(store.commit(Batch([NewRecord(decline(number), ())])))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            commit.cancel()
            await asyncio.gather(commit, return_exceptions=True)
        await store.commit(Batch([NewRecord(decline(99), ())]))
        found, reached = await store.scan([Filter()], after=0, limit=99)
        assert [item.cursor for item in found] == list(range(1, reached + 1))
        assert found[-1].raw == decline(99).raw


async def test_kill_9_loses_nothing_that_was_acknowledged(path: Path) -> None:
    rng = random.Random(7)
    start = 0
    for _ in range(6):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(path), str(start), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        for _ in range(rng.randrange(1, 60)):
            start = int(await writer.stdout.readline())
        writer.kill()
        start = max([start, *map(int, (await writer.stdout.read()).split())])
        await writer.wait()
        async with SqliteStore.open(path, name=NAME) as store:
            after, raws = 0, list[bytes]()
            while after < await store.cursor():
                page, after = await store.scan([Filter(to=(ALICE,))], after=after, limit=256)
                raws += [item.raw for item in page]
            # What was in flight may be there as well, as a whole.
            assert len(raws) - start in {0, 5}
            assert raws == [decline(number).raw for number in range(len(raws))]
            start = len(raws)


async def test_a_newer_file_is_left_alone(path: Path) -> None:
    async with Database.open(path, [*MIGRATIONS, "CREATE TABLE later (x)"]):
        pass
    with pytest.raises(Exception, match="newer version"):
        async with SqliteStore.open(path, name=NAME):
            pass


async def test_what_an_older_version_took_gets_no_receipt(path: Path) -> None:
    async with Database.open(path, MIGRATIONS[:2]) as database:
        row = (7, decline(7).raw, b"", None, None)
        await database.transaction(
            lambda db: db.execute("INSERT INTO store VALUES (?, 0, 0)", (NAME,))
        )
        await database.transaction(
            lambda db: db.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?)", row)
        )
    async with SqliteStore.open(path, name=bytes(32)) as store:
        assert (store.name, await store.covered(), await store.cursor()) == (NAME, 7, 7)
        assert await store.get(decline(7).id) == decline(7).raw
        await store.commit(Batch([NewRecord(decline(8), ())]))
    async with SqliteStore.open(path, name=NAME) as store:
        assert await store.covered() == 7


def test_an_empty_index_merges_in_two_pieces() -> None:
    assert len(merging.pieces(Index(), upto=0)) == 2


async def test_a_damaged_record_is_the_stores_fault_and_no_strangers(path: Path) -> None:
    async with SqliteStore.open(path, name=NAME) as store:
        await fill(store)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE record SET raw = x'00' WHERE cursor = 1")
        db.commit()
    async with SqliteStore.open(path, name=NAME) as store:
        with pytest.raises(StorageError, match="damaged"):
            await store.scan([Filter(tasks=(TASK.id,), kinds=("post",))], after=0, limit=9)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE store SET merged = 0, merging = 0")
        db.commit()
    with pytest.raises(StorageError, match="damaged"):
        await SqliteStore.open(path, name=NAME).__aenter__()
