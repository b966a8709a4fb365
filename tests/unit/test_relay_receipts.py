"""A relay's receipts: what they cover, when they are signed, and that they last."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from tests.market_records import Trader
from tests.relay_driver import RELAY, Driver
from tests.relay_records import AGENTS, NAME, decline, log_of
from tests.relay_world import World

from bazaar_protocol import evidence_kinds, frames, limits, merkle
from bazaar_protocol.evidence import check_receipt
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId, record_id, unseal
from bazaar_relay.machine.events import ConnectionId, Reading, Serve
from bazaar_relay.machine.receipts import path_of
from bazaar_relay.serving import reading
from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_relay.storage.store import Batch, NewRecord, Receipt, Store

HOUR_MS = limits.HOUR_MS


@pytest.fixture(params=["memory", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    world = World(request.param, tmp_path)
    async with world.stack:
        yield world


def receipt(number: int, *covered: Record, first: int, last: int, expires_ms: int = 9) -> Receipt:
    ids = b"".join(record.id for record in covered)
    return Receipt(decline(1000 + number).id, first, last, ids, bytes(32), expires_ms)


async def test_a_store_finds_the_receipt_of_each_record_after_a_restart_too(world: World) -> None:
    records = [decline(number) for number in range(6)]
    first = receipt(1, *records[:2], first=1, last=2)
    second = receipt(2, records[2], records[4], first=3, last=5, expires_ms=20)
    expected = [first, first, second, second, second, None]
    async with world.store() as store:
        assert await store.covered() == 0
        assert await store.receipt(records[0].id) is None
        await store.commit(Batch([NewRecord(record, ()) for record in records[:3]]))
        more = [NewRecord(record, ()) for record in records[3:]]
        await store.commit(Batch(more, receipts=[first, second]))
        assert [await store.receipt(record.id) for record in records] == expected
        assert await store.covered() == 5
    async with world.store() as store:
        assert [await store.receipt(record.id) for record in records] == expected
        assert await store.receipt(RecordId(bytes(32))) is None
        assert await store.forget(now_ms=9) == 1
        assert [await store.receipt(record.id) for record in records[:2]] == [None, None]
        assert await store.receipt(records[2].id) == second
        assert await store.forget(now_ms=20) == 1
        assert await store.covered() == 5  # what had a receipt gets no other one


async def test_a_store_keeps_neither_a_batch_nor_its_receipt_if_one_fails(world: World) -> None:
    log = log_of(AGENTS[0], 3)
    async with world.store() as store:
        hole = Batch([NewRecord(log[2], ())], receipts=[receipt(1, log[2], first=1, last=1)])
        with pytest.raises(Exception, match="entry 3 came where 1 was due"):
            await store.commit(hole)
        assert await store.covered() == 0


def test_an_id_is_not_found_across_two_others() -> None:
    one, other = decline(1).id, decline(2).id
    across = RecordId(one[16:] + other[:16])
    taken = Receipt(one, 1, 3, one + other + across, b"", 9)
    assert [taken.index_of(RecordId(id_)) for id_ in (one, other, across)] == [0, 1, 2]
    assert taken.index_of(decline(3).id) is None
    assert Receipt(one, 1, 2, one + other, b"", 9).index_of(across) is None


@given(count=st.integers(1, 300), data=st.data())
def test_small_trees_make_the_tree_of_the_rfc(count: int, data: st.DataObject) -> None:
    ids = [number.to_bytes(32, "big") for number in range(count)]
    roots = [merkle.tree_hash(ids[first : first + 64]) for first in range(0, count, 64)]
    assert merkle.join(roots) == merkle.tree_hash(ids)
    taken = Receipt(RecordId(ids[0]), 1, count, b"".join(ids), b"".join(roots), 9)
    index = data.draw(st.integers(0, count - 1))
    path = path_of(taken, RecordId(ids[index]))
    assert path is not None
    assert path.hashes == merkle.inclusion_path(ids, index)


async def answer(store: Store, frame: Reading, now_ms: int = 5) -> frames.FromRelay:
    served = Serve(ConnectionId(1), frame)
    return await reading.answer(store, served, keys=RELAY, clock=lambda: now_ms)


async def intakes(driver: Driver) -> list[Record]:
    """Return all receipts of the relay, oldest first."""
    wanted = Filter(kinds=("intake",), authors=(RELAY.agent,))
    found, _ = await driver.store.scan([wanted], after=0, limit=100)
    return [unseal(stored.raw) for stored in found]


async def check_included(driver: Driver, record: Record) -> frames.Included:
    included = await answer(driver.store, frames.GetInclusion(3, record.id))
    assert isinstance(included, frames.Included)
    intake = unseal(included.intake)
    assert intake.author == RELAY.agent
    check_receipt(intake, record.id, included.index, included.path)
    return included


async def test_what_others_sent_is_under_a_receipt_after_a_minute(
    driver: Driver, ada: Trader, bo: Trader
) -> None:
    await driver.join(ada, bo)
    await driver.subscribe(bo, Filter(kinds=("intake",), authors=(RELAY.agent,)))
    post = ada.claim_post(RELAY.agent)
    await driver.publish(ada, post)
    await driver.claim(bo, post)  # the award is the relay's own, and needs no receipt
    decline = bo.decline(post)
    await driver.publish(bo, decline)
    await driver.tick(limits.INTAKE_AFTER_MS - 1)
    assert driver.heard(bo) == []
    not_yet = await answer(driver.store, frames.GetInclusion(3, post.id))
    assert isinstance(not_yet, frames.Error)
    assert not_yet.code == "not-found"
    await driver.tick(1)
    (intake,) = driver.heard(bo)
    assert isinstance(intake.body, evidence_kinds.Intake)
    assert (intake.body.count, intake.body.first) == (4, 2)
    found, _ = await driver.store.scan([Filter()], after=0, limit=100)
    others = [record_id(one.raw) for one in found if unseal(one.raw).author != RELAY.agent]
    assert intake.body.root == merkle.tree_hash(others)
    assert (await check_included(driver, post)).index == 2
    assert (await check_included(driver, decline)).index == 3
    own = await answer(driver.store, frames.GetInclusion(3, intake.id))
    assert isinstance(own, frames.Error)
    (award,) = (unseal(one.raw) for one in found if unseal(one.raw).kind == "award")
    in_the_midst = await answer(driver.store, frames.GetInclusion(3, award.id))
    assert isinstance(in_the_midst, frames.Error)


async def test_there_is_no_receipt_for_nothing(driver: Driver, ada: Trader) -> None:
    await driver.join(ada)
    await driver.tick(HOUR_MS)
    assert len(await intakes(driver)) == 1
    last = ada.intake()
    await driver.publish(ada, last)
    await driver.publish(ada, last)
    await driver.tick(HOUR_MS)
    assert [one.body.count for one in await intakes(driver)] == [1, 1]  # type: ignore[union-attr]


async def test_a_full_receipt_is_signed_at_once(
    driver: Driver, ada: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INTAKE_RECORDS_MAX", 128)
    await driver.join(ada)
    records = [ada.intake(number) for number in range(400)]
    for first in range(0, 400, 200):
        await driver.publish(ada, *records[first : first + 200])
    counts = [one.body.count for one in await intakes(driver)]  # type: ignore[union-attr]
    assert counts == [128, 128, 128]
    await driver.tick(limits.INTAKE_AFTER_MS)
    assert [one.body.count for one in await intakes(driver)][3:] == [17]  # type: ignore[union-attr]
    for place in (0, 62, 63, 126, 127, 300, 399):
        await check_included(driver, records[place])


async def test_a_receipt_that_was_not_kept_is_signed_anew(driver: Driver, ada: Trader) -> None:
    await driver.join(ada)
    records = [ada.intake(number) for number in range(70)]
    await driver.publish(ada, *records)
    driver.fails = "the disk is full"
    await driver.tick(limits.INTAKE_AFTER_MS + 3 * limits.WAKE_MS)
    assert await intakes(driver) == []
    driver.fails = ""
    late = ada.intake(99)
    await driver.publish(ada, late)
    await driver.tick(limits.WAKE_MS)
    (intake,) = await intakes(driver)
    assert (intake.seq, intake.body.count) == (2, 72)  # type: ignore[union-attr]
    for record in (records[0], records[69], late):
        await check_included(driver, record)


async def test_what_a_crash_left_uncovered_is_under_the_next_receipt(
    driver: Driver, ada: Trader
) -> None:
    await driver.join(ada)
    await driver.tick(limits.INTAKE_AFTER_MS)
    records = [ada.intake(number) for number in range(600)]
    for first in range(0, 600, 200):
        await driver.publish(ada, *records[first : first + 200])
    again = await Driver(store=driver.store, now_ms=driver.now_ms).start()
    await again.tick(limits.INTAKE_AFTER_MS)
    assert [one.body.count for one in await intakes(again)] == [1, 600]  # type: ignore[union-attr]
    await check_included(again, records[599])
    third = await Driver(store=driver.store, now_ms=again.now_ms).start()
    await third.tick(HOUR_MS)
    assert len(await intakes(third)) == 2


async def test_an_advert_of_a_moment_has_its_receipt_too(driver: Driver, ada: Trader) -> None:
    await driver.join(ada)
    advert = ada.advert("pdf", expires_in_ms=1)
    await driver.publish(ada, advert)
    await driver.tick(limits.INTAKE_AFTER_MS)
    assert await driver.store.forget(now_ms=driver.now_ms) == 0
    await check_included(driver, advert)
    assert await driver.store.forget(now_ms=driver.now_ms + HOUR_MS) == 1


async def test_a_statement_says_what_is_durable(driver: Driver, ada: Trader, bo: Trader) -> None:
    await driver.join(ada)
    await driver.publish(ada, ada.intake())
    await driver.tick(limits.INTAKE_AFTER_MS)
    driver.fails = "the disk is full"
    before = ada.head
    await driver.publish(ada, ada.intake(1))
    for author, seq, id_ in ((ada.agent, before.seq, before.id), (bo.agent, 0, b"")):
        stated = await answer(driver.store, frames.GetStatement(4, author), 77)
        assert isinstance(stated, frames.Stated)
        record = unseal(stated.record)
        assert (record.author, record.time_ms) == (RELAY.agent, 77)
        assert record.body == evidence_kinds.Statement(author, seq, id_, 2)
    assert (await driver.store.heads([RELAY.agent]))[RELAY.agent].seq == 2


class BusyStore(MemoryStore):
    """A store into which others write whenever somebody has asked it for heads."""

    def __init__(self, *coming: Record) -> None:
        super().__init__(NAME)
        self._coming = coming

    async def heads(self, authors: Sequence[AgentId]) -> Mapping[AgentId, Head]:
        found = await super().heads(authors)
        await self.commit(Batch([NewRecord(record, ()) for record in self._coming]))
        return found


async def test_a_statement_is_of_one_moment() -> None:
    (entry,), (intake,) = log_of(AGENTS[0], 1), log_of(RELAY, 1)
    store = BusyStore(entry, intake)
    for seq in (0, 1):  # never the receipt without what it covers
        stated = await answer(store, frames.GetStatement(1, AGENTS[0].agent))
        assert isinstance(stated, frames.Stated)
        body = unseal(stated.record).body
        assert isinstance(body, evidence_kinds.Statement)
        assert (body.seq, body.own_seq) == (seq, seq)


async def test_a_log_whose_first_commit_failed_begins_with_the_next_entry(
    ada: Trader, bo: Trader
) -> None:
    driver = await Driver(fails="the disk is full").start()
    driver.fails = ""
    await driver.join(ada, bo)
    post = ada.claim_post(RELAY.agent)
    await driver.publish(ada, post)
    award = await driver.claim(bo, post)
    assert isinstance(award, Record)
    entries = await driver.store.log(RELAY.agent, first=1, last=9, limit=9)
    assert [unseal(raw).kind for raw in entries] == ["genesis", "award"]
    assert entries[1] == award.raw
