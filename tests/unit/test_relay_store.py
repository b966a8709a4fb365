"""The contract of a relay's store, kept by that in memory, by SQLite, and by PostgreSQL."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.relay_records import AGENTS, NAME, advert, decline, heartbeat, log_of, post
from tests.relay_stores import Opener, open_for_test

from bazaar_protocol.errors import StorageError
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.limits import INTEGER_MAX, LETTERS_PER_AGENT_MAX
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.storage.store import FORGOTTEN_MAX, Batch, NewLetter, NewRecord, Store, Stored

ALICE, BOB, CAROL, DAVE = (agent.agent for agent in AGENTS)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Opener]:
    server = request.getfixturevalue("postgres_server") if request.param == "postgres" else None
    async with open_for_test(request.param, tmp_path / "relay.db", server) as opened:
        yield opened


@pytest.fixture
def store(opener: Opener) -> Store:
    return opener.store


def new(*records: Record, to: tuple[AgentId, ...] = (), expires_ms: int | None = None) -> Batch:
    return Batch([NewRecord(record, to, expires_ms) for record in records])


async def found(store: Store, *filters: Filter, after: int = 0, limit: int = 100) -> list[bytes]:
    """Scan to the end, by pages."""
    raws: list[bytes] = []
    while after < await store.cursor():
        page, reached = await store.scan(filters, after=after, limit=limit)
        assert [item.cursor for item in page] == sorted({item.cursor for item in page})
        assert all(after < item.cursor <= reached for item in page)
        assert reached > after
        raws += [item.raw for item in page]
        after = reached
    return raws


def raws(*records: Record) -> list[bytes]:
    return [record.raw for record in records]


async def test_an_empty_store_is_empty(store: Store) -> None:
    assert store.name == NAME
    assert await store.cursor() == 0
    assert await store.get(RecordId(bytes(32))) is None
    assert await store.heads([ALICE]) == {}
    assert await store.scan([Filter()], after=0, limit=10) == ([], 0)
    assert await store.log(ALICE, first=1, last=10, limit=10) == []
    assert await store.letters(ALICE) == []
    assert await store.forget(now_ms=INTEGER_MAX) == 0


async def test_records_get_cursors_in_the_order_of_arrival(opener: Opener) -> None:
    store = opener.store
    records = [decline(number) for number in range(6)]
    kept = await store.commit(new(*records[:2]))
    assert (kept.cursors, kept.routes, kept.letters) == ([1, 2], [], [])
    await opener.merge()
    assert (await store.commit(new(*records[2:]))).cursors == [3, 4, 5, 6]
    assert await store.cursor() == 6
    assert await found(store, Filter()) == raws(*records)
    assert await found(store, Filter(), limit=1) == raws(*records)
    for record in records:
        assert await store.get(record.id) == record.raw
    assert await store.scan([Filter()], after=6, limit=3) == ([], 6)
    assert await store.scan([], after=0, limit=3) == ([], 6)


async def test_duplicates_are_left_out(opener: Opener) -> None:
    store = opener.store
    first, second, third = (decline(number) for number in range(3))
    assert (await store.commit(new(first, second, first))).cursors == [1, 2, None]
    assert (await store.commit(new(first, third))).cursors == [None, 3]
    await opener.merge()
    assert (await store.commit(new(third, second))).cursors == [None, None]
    assert await store.cursor() == 3
    assert await found(store, Filter()) == raws(first, second, third)


async def test_many_at_once(opener: Opener) -> None:
    records = [decline(number) for number in range(333)]
    await opener.store.commit(new(*records[::3]))
    await opener.merge()
    kept = await opener.store.commit(new(*records))
    assert [cursor is None for cursor in kept.cursors] == [n % 3 == 0 for n in range(333)]


async def test_a_batch_is_kept_as_a_whole_or_not_at_all(store: Store) -> None:
    genesis, *_, fourth = log_of(AGENTS[0], 4)
    letter = NewLetter(BOB, b"sealed", 10)
    good = NewRecord(decline(1), (BOB,))
    bad = Batch([NewRecord(genesis, ()), good, NewRecord(fourth, ())], letters=[letter])
    with pytest.raises(StorageError, match="entry 4 came where 2 was due"):
        await store.commit(bad)
    assert await store.cursor() == 0
    assert await store.get(genesis.id) is None
    assert await store.heads([ALICE]) == {}
    assert await store.letters(BOB) == []
    assert await found(store, Filter(), Filter(to=(BOB,))) == []
    kept = await store.commit(Batch([good], letters=[letter]))
    assert (kept.cursors, kept.letters) == ([1], [1])


async def test_heads_and_logs(opener: Opener) -> None:
    store = opener.store
    alice, bob = log_of(AGENTS[0], 7), log_of(AGENTS[1], 2)
    await store.commit(new(*alice[:3], *bob))
    await opener.merge()
    await store.commit(new(*alice[3:]))
    heads = await store.heads([BOB, CAROL, ALICE])
    assert heads == {ALICE: Head(7, alice[6].id), BOB: Head(2, bob[1].id)}
    assert await store.log(ALICE, first=1, last=7, limit=99) == raws(*alice)
    assert await store.log(ALICE, first=2, last=5, limit=99) == raws(*alice[1:5])
    assert await store.log(ALICE, first=2, last=INTEGER_MAX, limit=3) == raws(*alice[1:4])
    assert await store.log(ALICE, first=6, last=INTEGER_MAX, limit=9) == raws(*alice[5:])
    assert await store.log(ALICE, first=8, last=9, limit=9) == []
    assert await store.log(BOB, first=0, last=1, limit=9) == raws(bob[0])
    with pytest.raises(StorageError, match="another log"):
        await store.commit(new(log_of(AGENTS[1], 3, name="fork")[2]))
    assert await store.heads([BOB]) == {BOB: Head(2, bob[1].id)}


async def test_each_part_of_a_filter(opener: Opener) -> None:
    store = opener.store
    task = post(AGENTS[0], "text.translate.german", tags=("fast", "cheap"))
    ad = advert(AGENTS[1], {"text.translate": ("cheap",), "image": ("big",)})
    no = decline(1, author=AGENTS[1], task=task.id)
    beat = heartbeat(1, author=AGENTS[2], task=task.id)
    other = decline(2, author=AGENTS[2])
    for record, to in ((task, (BOB, CAROL)), (ad, ()), (no, (ALICE,)), (beat, (ALICE,))):
        await store.commit(new(record, to=to))
        if record in (ad, beat):
            await opener.merge()
    await store.commit(new(other))
    expected: list[tuple[Filter, list[Record]]] = [
        (Filter(), [task, ad, no, beat, other]),
        (Filter(kinds=("decline",)), [no, other]),
        (Filter(kinds=("post", "heartbeat", "post")), [task, beat]),
        (Filter(kinds=("nothing",)), []),
        (Filter(authors=(BOB, ALICE)), [task, ad, no]),
        (Filter(tasks=(task.id,)), [task, no, beat]),
        (Filter(to=(ALICE,)), [no, beat]),
        (Filter(to=(BOB, CAROL)), [task]),
        (Filter(tags=("cheap",)), [task, ad]),
        (Filter(tags=("fast", "big")), [task, ad]),
        (Filter(capability="text"), [task, ad]),
        (Filter(capability="text.translate"), [task, ad]),
        (Filter(capability="text.translate.german"), [task]),
        (Filter(capability="tex"), []),
        (Filter(capability="image"), [ad]),
        (Filter(kinds=("decline",), authors=(CAROL,)), [other]),
        (Filter(to=(ALICE,), kinds=("decline",), authors=(BOB,), tasks=(task.id,)), [no]),
        (Filter(to=(ALICE,), kinds=("post",)), []),
        (Filter(tags=("cheap",), capability="text", kinds=("advert",)), [ad]),
        (Filter(authors=(ALICE, BOB), tags=("fast",)), [task]),
    ]
    for wanted, records in expected:
        assert await found(store, wanted) == raws(*records), wanted
        assert await found(store, wanted, limit=1) == raws(*records), wanted
    assert await found(store, Filter(tags=("big",)), Filter(to=(ALICE,))) == raws(ad, no, beat)
    await opener.merge()
    for wanted, records in expected:
        assert await found(store, wanted) == raws(*records), wanted


async def test_long_names_of_capabilities(opener: Opener) -> None:
    deep = [advert(AGENTS[0], {f"a.b.c.d.{end}": ()}) for end in ("e.f", "e.g", "x")]
    await opener.store.commit(new(*deep[:2]))
    await opener.merge()
    await opener.store.commit(new(deep[2]))
    assert await found(opener.store, Filter(capability="a.b.c.d")) == raws(*deep)
    assert await found(opener.store, Filter(capability="a.b.c.d.e")) == raws(*deep[:2])
    assert await found(opener.store, Filter(capability="a.b.c.d.e.g")) == raws(deep[1])


async def test_a_rare_match_takes_many_short_scans(opener: Opener) -> None:
    store = opener.store
    rare = decline(0, author=AGENTS[3])
    common = [decline(number, author=AGENTS[1]) for number in range(1, 5001)]
    await store.commit(new(*common[:2500], to=(ALICE,)))
    await opener.merge()
    await store.commit(new(*common[2500:], rare, to=(ALICE,)))
    wanted = Filter(to=(ALICE,), authors=(DAVE,))
    page, reached = await store.scan([wanted], after=0, limit=1)
    assert page == []
    assert 0 < reached < 2500
    assert await found(store, wanted) == raws(rare)
    assert await found(store, Filter(to=(ALICE,)), limit=256) == raws(*common, rare)


async def test_one_resumes_by_cursor_across_merges(opener: Opener) -> None:
    store, seen, after = opener.store, list[bytes](), 0
    records = [decline(number) for number in range(60)]
    for first in range(0, 60, 5):
        await store.commit(new(*records[first : first + 5], to=(ALICE,)))
        page, after = await store.scan([Filter(to=(ALICE,))], after=after, limit=3)
        seen += [item.raw for item in page]
        if first % 15 == 0:
            await opener.merge()
    assert seen == raws(*records[: len(seen)])
    assert seen + await found(store, Filter(to=(ALICE,)), after=after) == raws(*records)


async def test_the_records_of_a_task(opener: Opener) -> None:
    store = opener.store
    task = post(AGENTS[0], "text")
    about = [decline(number, task=task.id) for number in range(4)]
    await store.commit(new(task, decline(9), *about[:2]))
    await opener.merge()
    await store.commit(new(*about[2:], decline(10)))
    whole = await store.task(task.id, after=0, limit=10)
    assert [(item.cursor, item.raw) for item in whole] == list(
        zip([1, 3, 4, 5, 6], raws(task, *about), strict=True)
    )
    assert await store.task(task.id, after=3, limit=2) == whole[2:4]
    assert await store.task(about[0].id, after=0, limit=10) == []


async def test_a_route_is_found_by_its_addressee_alone(opener: Opener) -> None:
    store = opener.store
    task = post(AGENTS[0], "text")
    await store.commit(new(task, to=(BOB,)))
    await opener.merge()
    kept = await store.commit(Batch(routes=[(task.id, CAROL), (task.id, CAROL), (task.id, BOB)]))
    assert kept.routes == [Stored(2, task.raw), Stored(2, task.raw), Stored(1, task.raw)]
    again = (await store.commit(Batch(routes=[(task.id, CAROL)]))).routes
    await opener.merge()
    assert again == (await store.commit(Batch(routes=[(task.id, CAROL)]))).routes
    assert again == [Stored(2, task.raw)]
    assert await store.scan([Filter(to=(CAROL,))], after=1, limit=9) == ([Stored(2, task.raw)], 2)
    assert await found(store, Filter(to=(CAROL,), kinds=("post",))) == raws(task)
    assert await found(store, Filter(to=(CAROL,), kinds=("bid",))) == []
    assert await found(store, Filter(to=(BOB,))) == raws(task)
    for wanted in (Filter(), Filter(kinds=("post",)), Filter(authors=(ALICE,))):
        assert await found(store, wanted) == raws(task)
    assert len(await store.task(task.id, after=0, limit=9)) == 1
    assert len(await store.unexpired("post", now_ms=0, after=0, limit=9)) == 1


async def test_a_route_in_the_batch_of_its_record_and_one_of_nothing(store: Store) -> None:
    task = post(AGENTS[0], "text")
    routes = [(task.id, CAROL), (task.id, BOB), (RecordId(bytes(32)), BOB)]
    kept = await store.commit(Batch([NewRecord(task, (BOB,))], routes))
    assert kept.routes == [Stored(2, task.raw), Stored(1, task.raw), None]
    assert await store.cursor() == 2


async def test_letters_wait_until_they_are_collected(opener: Opener) -> None:
    store = opener.store
    letters = [
        NewLetter(ALICE, b"one", 50, CAROL),
        NewLetter(BOB, b"two", 50, DAVE),
        NewLetter(ALICE, b"3", 60),
    ]
    assert (await store.commit(Batch(letters=letters))).letters == [1, 2, 3]
    await store.commit(Batch(collected=[(BOB, 1), (BOB, 9)]))  # not his, and none
    assert await store.letters(ALICE) == [(1, b"one"), (3, b"3")]
    assert await store.senders(ALICE) == [CAROL, None]
    await store.commit(Batch(collected=[(ALICE, 3)]))
    assert await store.letters(ALICE) == [(1, b"one")]
    assert await store.letters(BOB) == [(2, b"two")]
    assert await store.forget(now_ms=49) == 0
    assert await store.forget(now_ms=50) == 2
    assert await store.letters(ALICE) == []
    many = [NewLetter(CAROL, b"x", 9)] * (LETTERS_PER_AGENT_MAX + 1)
    kept = await store.commit(Batch(letters=many))
    assert kept.letters[0] == 4  # a number never comes back
    assert len(await store.letters(CAROL)) == LETTERS_PER_AGENT_MAX


async def test_what_expired_is_forgotten(opener: Opener) -> None:
    store = opener.store
    task = post(AGENTS[0], "text")
    gone = [task, heartbeat(1, task=task.id), decline(1)]
    left = [decline(2), decline(3)]
    await store.commit(new(*gone, to=(BOB,), expires_ms=100))
    await opener.merge()
    await store.commit(new(left[0], to=(BOB,), expires_ms=101))
    await store.commit(new(left[1], to=(BOB,)))
    await store.commit(new(*log_of(AGENTS[0], 2), to=(BOB,), expires_ms=100))
    await store.commit(Batch(routes=[(task.id, CAROL)]))
    late = heartbeat(2, task=task.id)
    await store.commit(new(late, to=(BOB,), expires_ms=100))
    beats = await store.unexpired("heartbeat", now_ms=99, after=0, limit=9)
    assert [item.raw for item in beats] == raws(gone[1], late)
    assert await store.unexpired("heartbeat", now_ms=100, after=0, limit=9) == []
    assert await store.forget(now_ms=99) == 0
    assert await store.forget(now_ms=100) == 4
    assert await store.forget(now_ms=100) == 0
    for record in (*gone, late):
        assert await store.get(record.id) is None
    logged = log_of(AGENTS[0], 2)  # a log keeps its entries
    assert await found(store, Filter()) == raws(*left, *logged)
    assert await found(store, Filter(to=(BOB,))) == raws(*left, *logged)
    assert await found(store, Filter(to=(CAROL,))) == []
    assert await store.task(task.id, after=0, limit=9) == []
    assert (await store.commit(Batch(routes=[(task.id, CAROL)]))).routes == [None]
    assert await store.cursor() == 9
    assert (await store.commit(new(gone[2]))).cursors == [10]  # as if it had never been here


async def test_forgetting_goes_in_steps(store: Store) -> None:
    await store.commit(new(*map(decline, range(FORGOTTEN_MAX + 5)), to=(BOB,), expires_ms=1))
    await store.commit(new(decline(-1), to=(BOB,)))
    assert await store.forget(now_ms=1) == FORGOTTEN_MAX
    assert await store.forget(now_ms=1) == 5
    assert await found(store, Filter(to=(BOB,)), Filter(kinds=("decline",))) == raws(decline(-1))


async def test_a_route_that_comes_while_its_record_is_forgotten(opener: Opener) -> None:
    store = opener.store
    for number in range(60):
        record = decline(number)
        await store.commit(new(record, to=(BOB,), expires_ms=1))
        forgetting = asyncio.create_task(store.forget(now_ms=1))
        for _ in range(8 * number):  # each time a little later
            await asyncio.sleep(0)
        await store.commit(Batch(routes=[(record.id, CAROL)]))
        assert await forgetting == 1
        assert await found(store, Filter(to=(CAROL,)), Filter()) == []


async def test_commits_and_reads_at_the_same_time(opener: Opener) -> None:
    store = opener.store
    records = [decline(number) for number in range(200)]
    committed = asyncio.Condition()
    commits = 0

    async def write(part: int) -> None:
        nonlocal commits
        for first in range(part * 50, part * 50 + 50, 10):
            # Each batch has half of the one before it once more.
            await store.commit(new(*records[max(0, first - 5) : first + 10], to=(ALICE,)))
            commits += 1
            async with committed:
                committed.notify_all()
            await opener.merge()

    async def follow() -> list[bytes]:
        seen: list[bytes] = []
        after = 0
        while len(seen) < 200:
            before = commits
            page, after = await store.scan([Filter(to=(ALICE,))], after=after, limit=7)
            seen += [item.raw for item in page]
            async with committed:
                while not page and commits == before:
                    await committed.wait()
        return seen

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        followers = [group.create_task(follow()) for _ in range(3)]
        for part in range(4):
            group.create_task(write(part))
    for follower in followers:
        assert sorted(follower.result()) == sorted(raws(*records))
