"""Ending a stolen identity: where its log ends, who is told, and what an interruption leaves."""

import dataclasses
from pathlib import Path

import pytest
from tests.log_relays import LogRelay, Relays, extend, genesis, log_relays, reset

from bazaar_host import key_files
from bazaar_node import recovering
from bazaar_node.market.events import Logged
from bazaar_node.settings import NodeSettings
from bazaar_node.storage.store import BACKUP_MARK, NodeStore
from bazaar_node.succeeding import FOLDER, RECORD, Succeeded, Wanted, look, succeed
from bazaar_protocol.errors import (
    ConfigError,
    KeyFileError,
    LogForked,
    NotFound,
    OldBackup,
    Refused,
    StorageError,
)
from bazaar_protocol.evidence_kinds import Succession, Vouch
from bazaar_protocol.identity import Keypair, to_did
from bazaar_protocol.log import check_succession
from bazaar_protocol.records import Record, unseal

RECOVERY = Keypair.from_name("recovery")
ADA = Keypair.from_name("ada")
AS_USUAL = Wanted()
LOG = extend(ADA, [genesis(ADA, RECOVERY)], 4)


async def a_home(home: Path, log: list[Record], *, is_backup: bool = False) -> NodeSettings:
    key_files.write(home / "node.key", ADA, None)
    (home / "recovery.pub").write_text("of the old one\n")
    node = NodeSettings(home=home)
    async with NodeStore.open(node.database_path) as store:
        await store.claim_identity(ADA.agent)
        await store.write([Logged(record) for record in log])
        if is_backup:
            mark = [BACKUP_MARK]
            await store.work(lambda db: db.execute("INSERT INTO meta VALUES (?, x'30')", mark))
    return node


async def run(
    node: NodeSettings, relays: Relays, wanted: Wanted = AS_USUAL, recovery: Keypair = RECOVERY
) -> Succeeded:
    node = dataclasses.replace(node, relays=relays.addresses)
    return await succeed(node, recovery, wanted, relays.open)


def names_in(home: Path) -> set[str]:
    return {path.name for path in home.iterdir() if not path.name.endswith(".lock")}


def told(relay: LogRelay) -> Succession:
    (record,) = relay.taken
    return check_succession(record, LOG[0])


async def test_a_new_identity_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    node = await a_home(tmp_path, LOG)
    (tmp_path / "bazaar.toml").write_text("[node]\n")
    stolen = extend(ADA, LOG, 3, "stolen")
    async with log_relays(stolen, LOG[:3]) as relays:
        done = await run(node, relays)
        first, second = (told(relay) for relay in relays.known)
        assert first == second
        assert (first.old, first.last_seq, first.last_id) == (ADA.agent, 5, LOG[4].id)
    assert [entry.seq for entry in done.cut] == [6, 7, 8]
    keys = key_files.read(tmp_path / "node.key", lambda: b"")
    assert to_did(keys.agent) == done.new == to_did(first.new)
    assert names_in(tmp_path) == {
        "bazaar.toml", "node.key", "node.key.old", "node.sqlite3", "node.sqlite3.old",
        "recovery.key", "recovery.pub", "recovery.pub.old", RECORD,
    }  # fmt: skip
    async with NodeStore.open(node.database_path) as store:
        begun, word = [unseal(raw) for raw in await store.log(1, 9)]
        assert (begun.author, begun.kind) == (keys.agent, "genesis")
        assert word.body == Vouch(ADA.agent, is_withdrawn=False)
        (parcel,) = await store.parcels(0, 9)  # for the relays that were away
        assert check_succession(unseal(parcel.raw), LOG[0]) == first
    # The new identity can be ended in its turn.
    offline = key_files.read(tmp_path / "recovery.key", lambda: b"")
    async with log_relays([begun, word]) as relays:
        again = await run(node, relays, recovery=offline)
        assert check_succession(relays.known[0].taken[0], begun).new != keys.agent
    assert again.old == done.new
    assert (tmp_path / "node.key.old2").exists()


async def test_looking_says_nothing(tmp_path: Path) -> None:
    node = await a_home(tmp_path, LOG)
    async with log_relays(extend(ADA, LOG, 2)) as relays:
        asked = dataclasses.replace(node, relays=relays.addresses)
        seen = await look(asked, RECOVERY, Wanted(), relays.open)
        assert (seen.new, seen.last.seq, len(seen.cut)) == ("", 5, 2)
        assert relays.known[0].taken == []
        with pytest.raises(KeyFileError, match="not the recovery key"):
            await look(asked, ADA, Wanted(), relays.open)
    assert not (tmp_path / FOLDER).exists()


async def test_the_log_ends_before_an_entry_that_the_thief_signed_too(tmp_path: Path) -> None:
    node = await a_home(tmp_path, LOG)
    async with log_relays(extend(ADA, LOG[:3], 5, "stolen"), LOG) as relays:
        await run(node, relays)
        assert told(relays.known[1]).last_seq == 3


async def test_what_a_reset_left_behind_ends_nothing_early(tmp_path: Path) -> None:
    ours = extend(ADA, reset(ADA, LOG), 2)
    node = await a_home(tmp_path, ours)
    async with log_relays(extend(ADA, LOG, 5, "lost")) as relays:
        await run(node, relays)
        assert told(relays.known[0]).last_seq == len(ours)


async def test_the_owner_says_which_entry_was_the_last(tmp_path: Path) -> None:
    node = await a_home(tmp_path, LOG[:2], is_backup=True)
    async with log_relays(LOG) as relays:
        with pytest.raises(OldBackup, match="--last-seq"):
            await run(node, relays)
        for wrong in (0, 9):
            with pytest.raises((LogForked, NotFound)):
                await run(node, relays, Wanted(last_seq=wrong))
        assert relays.known[0].taken == []
        await run(node, relays, Wanted(last_seq=4))
        assert told(relays.known[0]).last_id == LOG[3].id


async def test_without_a_store_the_relays_say_where_the_log_ends(tmp_path: Path) -> None:
    node, to = NodeSettings(home=tmp_path / "gone"), tmp_path / "new"
    async with log_relays(LOG[:3], LOG) as relays:
        with pytest.raises(ConfigError, match="--old"):
            await run(node, relays, Wanted(to=to))
        done = await run(node, relays, Wanted(old=ADA.agent, to=to))
        assert told(relays.known[0]).last_seq == 5
    assert to_did(key_files.read(to / "node.key", lambda: b"").agent) == done.new
    async with log_relays(extend(ADA, LOG[:2], 1, "stolen"), LOG[:3]) as relays:
        with pytest.raises(LogForked, match="--last-seq"):
            await run(node, relays, Wanted(old=ADA.agent, to=tmp_path / "other"))


async def test_the_same_is_said_again_after_an_interruption(tmp_path: Path) -> None:
    node = await a_home(tmp_path, LOG)
    async with log_relays(LOG) as relays:
        relays.known[0].status = "rate-limited: later"
        with pytest.raises(Refused, match="rate-limited"):
            await run(node, relays)
        assert key_files.read(tmp_path / "node.key", lambda: b"").agent == ADA.agent
        with pytest.raises(ConfigError, match="another recovery key"):
            await run(node, relays, recovery=ADA)
        relays.known[0].status = "accepted"
        done = await run(node, relays, Wanted(last_seq=2))  # too late to say so
        first, second = relays.known[0].taken
        assert first.raw == second.raw
        assert done.last.seq == 5
    assert to_did(key_files.read(tmp_path / "node.key", lambda: b"").agent) == done.new
    assert not (tmp_path / FOLDER).exists()


async def test_a_node_that_runs_is_not_replaced(tmp_path: Path) -> None:
    node = await a_home(tmp_path, LOG)
    async with log_relays(LOG) as relays, NodeStore.open(node.database_path):
        with pytest.raises(StorageError, match="in use by process"):
            await run(node, relays)
        with pytest.raises(StorageError, match="in use by process"):
            await recovering.recover(node, relays.open)
