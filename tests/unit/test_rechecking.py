"""What a store derived about an agent is derived again, and every kind of damage to it is seen."""

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from tests.evidence_records import EGO, NOW_MS, OUTCOMES, history, keep, opened
from tests.reputation_records import Deal, Party, deal
from tests.unit.test_keeping import RECOVERY, ending_party

from bazaar_node.trust import naming
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.rechecking import Rechecked, read_held, recheck
from bazaar_protocol import records
from bazaar_protocol.errors import NotFound
from bazaar_protocol.evidence_kinds import Succession
from bazaar_protocol.identity import AgentId, Keypair, to_did

BO, CY, DEE = (Keypair.from_name(name).agent for name in ("bo", "cy", "dee"))
AGENTS = (EGO.agent, BO, CY, DEE)


async def rechecked(store: EvidenceStore, agent: AgentId) -> Rechecked:
    return recheck(agent, await store.read(partial(read_held, agent)))


async def test_what_a_store_says_of_each_agent_is_what_the_records_say(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await keep(store, history(OUTCOMES * 3, has_fork=True))
        found = [await rechecked(store, agent) for agent in AGENTS]
    assert [one.troubles for one in found] == [()] * len(AGENTS)
    assert all(one.receipts and one.contracts and one.records for one in found[:3])


async def test_a_post_that_names_the_right_result_is_one_of_the_records(tmp_path: Path) -> None:
    ada, bo = Party("ada"), Party("bo")
    wrong = deal(ada, bo, "delivered", Deal(is_hashed=True, result=bytes(32)))
    other = deal(ada, Party("cy"), "delivered", Deal(is_hashed=True))
    lonely, _ = deal(ada, Party("dee"), "awarded", Deal(is_hashed=True))
    async with opened(tmp_path) as store:
        await keep(store, [ada.log[0], bo.log[0], *wrong, *other, lonely])
        assert await rechecked(store, bo.agent) == Rechecked(4, 1, 1, ()), "and no other post"
        assert (await rechecked(store, ada.agent)).records == 8, "nor one without a contract"


async def test_what_was_signed_after_the_end_of_a_log_means_nothing(tmp_path: Path) -> None:
    ada, bo, heir = Party("ada"), ending_party("bo"), Party("heir")
    before = deal(ada, bo, "accepted")
    last = bo.log[-1]
    rejected = deal(ada, bo, "rejected")
    body = Succession(bo.agent, last.seq, last.id, heir.agent)
    end = records.seal(RECOVERY, body, time_ms=NOW_MS)
    async with opened(tmp_path) as store:
        await keep(store, [ada.log[0], *before, *rejected, *bo.log, *bo.go_on(20), end])
        found = await rechecked(store, bo.agent)
        assert (found.receipts, found.troubles) == (1, ())
        assert (await rechecked(store, ada.agent)).troubles == ()


async def test_silence_counts_no_farther_than_to_the_end_of_a_log(tmp_path: Path) -> None:
    ada, bo, heir = Party("ada"), ending_party("bo"), Party("heir")
    rejected = deal(ada, bo, "rejected")
    last = bo.log[-1]
    body = Succession(bo.agent, last.seq, last.id, heir.agent)
    end = records.seal(RECOVERY, body, time_ms=NOW_MS)
    async with opened(tmp_path) as store:
        await keep(store, [ada.log[0], *rejected, bo.log[0], *bo.go_on(20), end])
        whys = await store.read(lambda db: db.execute("SELECT why FROM finding").fetchall())
        assert whys == [("rejected, no word yet",)], "the thief's entries are no silence of bo's"
        assert (await rechecked(store, bo.agent)).troubles == ()


async def test_of_an_agent_never_heard_of_there_is_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        assert await rechecked(store, BO) == Rechecked(0, 0, 0, ())


def forge(db: sqlite3.Connection) -> None:
    (number, raw) = db.execute(
        "SELECT number, raw FROM evidence WHERE kind = 'verdict' AND contract IS NOT NULL LIMIT 1"
    ).fetchone()
    db.execute(
        "UPDATE evidence SET raw = ? WHERE number = ?", (raw[:-1] + bytes([raw[-1] ^ 1]), number)
    )


DAMAGES: dict[str, Callable[[sqlite3.Connection], object]] = {
    "is not what its records say": lambda db: db.execute("UPDATE finding SET weight = 999"),
    "is missing in the store": lambda db: db.execute("DELETE FROM finding WHERE is_good"),
    "the sums in the store": lambda db: db.execute("DELETE FROM tally"),
    "a record does not hold": forge,
}


@pytest.mark.parametrize("says", DAMAGES)
async def test_damage_is_named(tmp_path: Path, says: str) -> None:
    async with opened(tmp_path) as store:
        await keep(store, history(OUTCOMES * 3))
        await store.work(DAMAGES[says])
        troubles = [
            trouble for agent in AGENTS for trouble in (await rechecked(store, agent)).troubles
        ]
    assert any(says in trouble for trouble in troubles), troubles


async def test_an_agent_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await keep(store, history(OUTCOMES))
        for agent in AGENTS:
            did = to_did(agent)
            short = did.removeprefix("did:key:")[:20]
            for said in (did, did[:30], short):
                assert await store.read(partial(naming.find_agent, said)) == agent
        for wrong in (
            "",
            "z",
            "z6Mk",
            "z6MkOOOOOO",
            "x6Mkabcdef",
            to_did(BO) + "1",
            "z6Mk11111111",
        ):
            with pytest.raises(NotFound):
                await store.read(partial(naming.find_agent, wrong))


@given(st.binary(min_size=32, max_size=32), st.integers(6, 48))
def test_every_key_is_within_the_range_of_each_of_its_beginnings(key: bytes, length: int) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE author (agent BLOB PRIMARY KEY)")
    db.execute("INSERT INTO author VALUES (?)", (key,))
    said = to_did(AgentId(key)).removeprefix("did:key:")[:length]
    assert naming.find_agent(said, db) == key
    db.close()


async def test_a_name_that_several_have_is_nobodys(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        near = BO[:-1] + bytes([BO[-1] ^ 1])
        await keep(store, history(OUTCOMES))
        await store.work(
            lambda db: db.execute("INSERT INTO author (agent, circle) VALUES (?, 4)", (near,))
        )
        with pytest.raises(NotFound, match="several agents"):
            await store.read(partial(naming.find_agent, to_did(BO)[:30]))
