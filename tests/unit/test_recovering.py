"""What a restored node makes of what several relays know of its log."""

import dataclasses
from pathlib import Path

import pytest
from tests.log_relays import Relays, extend, genesis, log_relays, reset
from tests.market import Market

from bazaar_host import key_files
from bazaar_node import recovering
from bazaar_node.market.events import Logged
from bazaar_node.recovering import Recovered, recover
from bazaar_node.settings import NodeSettings
from bazaar_node.storage.store import BACKUP_MARK, NodeStore
from bazaar_protocol.errors import LogForked, NotFound, Unreachable
from bazaar_protocol.evidence_kinds import Reset
from bazaar_protocol.identity import Keypair
from bazaar_protocol.log import Head, check_segment
from bazaar_protocol.records import Record

RECOVERY = Keypair.from_name("recovery")
ADA = Keypair.from_name("ada")
LOG = extend(ADA, [genesis(ADA, RECOVERY)], 4)


async def restored(home: Path, log: list[Record]) -> NodeSettings:
    """Make a home that was restored from a backup with this log."""
    key_files.write(home / "node.key", ADA, None)
    node = NodeSettings(home=home)
    async with NodeStore.open(node.database_path) as store:
        await store.claim_identity(ADA.agent)
        await store.write([Logged(record) for record in log])
        await store.work(lambda db: db.execute("INSERT INTO meta VALUES (?, x'30')", [BACKUP_MARK]))
    return node


async def run(node: NodeSettings, relays: Relays) -> Recovered:
    return await recover(dataclasses.replace(node, relays=relays.addresses), relays.open)


async def log_of(node: NodeSettings) -> list[Record]:
    """Return the log in the store, which has to be sound."""
    async with NodeStore.open(node.database_path) as store:
        assert await store.backup_ms() is None
        raws = await store.log(1, 1_000)
        return check_segment(raws, Head.empty(), author=ADA.agent)


@pytest.mark.parametrize("page", [1, 3, 1_000])
async def test_the_longest_log_is_taken_and_followed_by_a_reset(tmp_path: Path, page: int) -> None:
    node = await restored(tmp_path, LOG[:2])
    longer = extend(ADA, LOG, 7)
    async with log_relays(LOG[:1], longer, LOG, []) as relays:
        for relay in relays.known:
            relay.page = page
        done = await run(node, relays)
    assert (done.backup_seq, done.entries, done.reset_seq) == (2, 10, 13)
    assert (len(done.asked), done.away, done.unusable) == (4, {}, {})
    log = await log_of(node)
    assert log[:-1] == longer
    assert isinstance(log[-1].body, Reset)


async def test_a_second_recovery_signs_no_second_reset(tmp_path: Path) -> None:
    node = await restored(tmp_path, LOG)
    async with log_relays(LOG) as relays:
        assert (await run(node, relays)).reset_seq == 6
        assert (await run(node, relays)).reset_seq == 0
    assert len(await log_of(node)) == 6


async def test_a_key_alone_gets_its_log_back(tmp_path: Path) -> None:
    node = await restored(tmp_path, [])
    async with log_relays([], LOG) as relays:
        assert (await run(node, relays)).entries == len(LOG)
    assert (await log_of(node))[:-1] == LOG


async def test_a_log_that_was_begun_anew_gives_way_to_the_old_one(tmp_path: Path) -> None:
    node = await restored(tmp_path, [genesis(ADA, RECOVERY, time_ms=77)])
    async with log_relays(LOG) as relays:
        await run(node, relays)
    assert (await log_of(node))[:-1] == LOG


async def test_nothing_is_recovered_where_nobody_knows_anything(tmp_path: Path) -> None:
    node = await restored(tmp_path, [])
    async with log_relays([]) as relays:
        with pytest.raises(NotFound):
            await run(node, relays)
        relays.known[0].address = relays.known[0].address.replace("tcp/1/", "tcp/99/")
        with pytest.raises(Unreachable):
            await run(node, relays)
    async with NodeStore.open(node.database_path) as store:
        assert await store.backup_ms() == 0, "it may still not sign"
        assert (await store.head()).seq == 0


async def test_a_relay_with_a_lost_branch_is_left_aside(tmp_path: Path) -> None:
    """The backup is of a time after an earlier reset, before which one relay had been left."""
    lost = extend(ADA, LOG, 9, "lost")
    node = await restored(tmp_path, extend(ADA, reset(ADA, LOG), 1))
    newest = extend(ADA, reset(ADA, LOG), 3)
    async with log_relays(lost, newest) as relays:
        done = await run(node, relays)
        assert list(done.unusable) == [relays.addresses[0]]
    assert (await log_of(node))[:-1] == newest


@pytest.mark.parametrize("is_first", [True, False])
async def test_of_two_branches_the_one_that_was_reset_is_ours(
    tmp_path: Path, is_first: bool
) -> None:
    node = await restored(tmp_path, LOG[:3])
    lost, ours = extend(ADA, LOG, 9, "lost"), extend(ADA, reset(ADA, LOG), 1)
    async with log_relays(*((ours, lost) if is_first else (lost, ours))) as relays:
        done = await run(node, relays)
    assert done.entries == len(ours) - 3
    assert (await log_of(node))[:-1] == ours


@pytest.mark.parametrize("ours", [1, 3, 5])
async def test_two_hands_at_one_key_are_not_put_together(tmp_path: Path, ours: int) -> None:
    node = await restored(tmp_path, LOG[:ours])
    before = LOG[:ours]
    async with log_relays(extend(ADA, LOG[:2], 3, "theirs"), LOG) as relays:
        with pytest.raises(LogForked, match="key recover"):
            await run(node, relays)
    async with NodeStore.open(node.database_path) as store:
        assert await store.log(1, 99) == [record.raw for record in before]
        assert await store.backup_ms() == 0


async def test_a_relay_that_makes_things_up_is_left_aside(tmp_path: Path) -> None:
    node = await restored(tmp_path, LOG[:2])
    with_hole = [*LOG[:2], LOG[4]]
    async with log_relays(with_hole, LOG[:3]) as relays:
        done = await run(node, relays)
        assert list(done.unusable) == [relays.addresses[0]]
        assert done.entries == 1
    assert (await log_of(node))[:-1] == LOG[:3]


def traded() -> tuple[list[Record], int, list[Record]]:
    """Return ada's log, its length before a whole trade of hers, and the records of that trade."""
    market = Market()
    ada = market.add("ada")
    market.add("bo", capability="word.find", price=3)
    began = len(ada.log)
    task = market.post("ada", capability="word.find", bid_window_ms=100)
    market.wait(1)
    market.finish("bo", task)
    market.judge("ada", task)
    final = market.task("ada", task)
    assert final.state == "accepted"
    told = [final.post, *(bid.record for bid in final.bids)]
    told += [record for record in (final.award, final.accept, final.deliver) if record]
    return list(ada.log), began, [*told, ada.log[-1]]


@pytest.mark.parametrize("place", [0, 2, 3])
async def test_tasks_come_back_with_the_log(tmp_path: Path, place: int) -> None:
    """Ada's whole trade was after the backup: the relay tells its records in its own order.

    In that the post may stand behind the award, since a log travels ahead of the rest. Who missed
    the award because of it would give the task away a second time, in the same epoch.
    """
    log, began, told = traded()
    task = told[0].id
    told.insert(place, told.pop(0))
    node = await restored(tmp_path, log[:began])
    async with log_relays(log) as relays:
        relays.known[0].tasks[task] = told
        done = await run(node, relays)
    assert (done.entries, done.tasks) == (2, 1)
    async with NodeStore.open(node.database_path) as store:
        entry = await store.entry(task, "poster")
        assert entry.task.state == "accepted"
        assert await store.role(task) == "poster"


async def test_a_link_that_breaks_leaves_no_task_out(tmp_path: Path) -> None:
    log, began, told = traded()
    node = await restored(tmp_path, log[:began])
    async with log_relays(log) as relays:
        relays.known[0].tasks[told[0].id] = told
        relays.known[0].hangs_up = 99
        with pytest.raises(Unreachable, match="nothing was changed"):
            await run(node, relays)
        async with NodeStore.open(node.database_path) as store:
            assert (await store.head()).seq == began
        relays.known[0].hangs_up = 1
        assert (await run(node, relays)).tasks == 1


async def test_a_recovery_that_fails_has_changed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await restored(tmp_path, LOG[:2])

    def fails(*_: object) -> None:
        raise RuntimeError("the power went out")

    monkeypatch.setattr(recovering, "write_change", fails)
    async with log_relays(LOG) as relays:
        with pytest.raises(RuntimeError):
            await run(node, relays)
        monkeypatch.undo()
        async with NodeStore.open(node.database_path) as store:
            assert (await store.head()).seq == 2
            assert await store.backup_ms() == 0
        assert (await run(node, relays)).reset_seq == 6
