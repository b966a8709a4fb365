"""What follows from records that are kept: convictions, ends of identities, bounds."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from tests.evidence_records import EGO, NOW_MS, OUTCOMES, history, keep, opened, sign, state
from tests.reputation_records import Party, deal

from bazaar_node.trust import forgetting, rebuilding, reports
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.histories import Circle
from bazaar_protocol import evidence, evidence_kinds, kinds, limits, records
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.evidence_kinds import Intake, Proof, Reset, Succession, Vouch
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import check_proof, recovery_hash
from bazaar_protocol.records import Record

ADA = EGO.agent
RECOVERY = Keypair.from_name("bo's recovery key")


async def look(store: EvidenceStore, agent: AgentId) -> reports.History:
    return await store.read(partial(reports.read_history, agent))


async def whys(store: EvidenceStore, agent: AgentId) -> list[str]:
    shown = await store.read(partial(reports.read_shown, agent))
    return [one.finding.why for one in shown]


def twice(party: Party, seq: int) -> Record:
    return sign(party, Intake(bytes(32), 99, 99), seq)


async def words(store: EvidenceStore) -> list[Record]:
    rows = await store.read(lambda db: db.execute("SELECT raw FROM word").fetchall())
    return [records.unseal(raw) for (raw,) in rows]


async def test_two_entries_for_one_place_become_a_proof_that_is_kept(tmp_path: Path) -> None:
    bo = Party("bo")
    bo.go_on(4)
    async with opened(tmp_path) as store:
        await keep(store, [*bo.log, twice(bo, 3)])
        (proof,) = await words(store)
        assert isinstance(proof.body, Proof)
        assert check_proof(proof.body) == bo.agent
        assert store.scorer.score(bo.agent).is_convicted
        await keep(store, [twice(bo, 2), proof])
        found = await look(store, bo.agent)
        assert found.conviction is not None
        assert found.conviction.place == 2, "the earlier one proves more"
    async with opened(tmp_path) as store:
        assert store.scorer.score(bo.agent).is_convicted
        assert [flaw.what for flaw in (await look(store, bo.agent)).flaws] == ["fork", "fork"]


async def test_a_reset_convicts_nobody(tmp_path: Path) -> None:
    bo = Party("bo")
    bo.go_on(3)
    lost = [twice(bo, 3)]
    lost.append(records.seal(bo.keys, Intake(bytes(32), 7, 7), time_ms=1, seq=4, prev=lost[0].id))
    bo.log[2:] = [sign(bo, Reset("restored"), 3)]
    bo.go_on(2)
    for given in ([*bo.log, *lost], [*lost, *reversed(bo.log)]):
        folder = tmp_path / str(len(given[0].raw)) / given[0].id.hex()[:6]
        async with opened(folder) as store:
            await keep(store, given)
            found = await look(store, bo.agent)
            assert (found.conviction, found.flaws) == (None, ())
            assert await words(store) == []


async def test_nobody_accuses_himself(tmp_path: Path) -> None:
    ada = Party("ada")
    ada.go_on(2)
    async with opened(tmp_path) as store:
        await keep(store, [*ada.log, twice(ada, 2)])
        assert (await look(store, ADA)).conviction is None
        assert await words(store) == []


async def test_what_is_no_proof_is_refused(tmp_path: Path) -> None:
    bo = Party("bo")
    bo.go_on(2)
    body = Proof("equivocation", (bo.log[1].raw, bo.log[2].raw))
    async with opened(tmp_path) as store:
        with pytest.raises(MalformedRecord):
            await keep(store, [records.seal(EGO, body, time_ms=1)])


async def test_duplicates_and_replays_change_nothing(tmp_path: Path) -> None:
    given = history(OUTCOMES)
    async with opened(tmp_path) as store:
        assert await keep(store, given) > 0
        before = await state(store)
        assert await keep(store, [*given, *reversed(given)]) == 0
        assert await state(store) == before


async def test_nothing_counts_that_somebody_else_says_of_a_contract(tmp_path: Path) -> None:
    ada, bo, cy = Party("ada"), Party("bo"), Party("cy")
    signed = deal(ada, bo, "delivered")
    bogus = [cy.verdict(signed[3], accepted=False), cy.accept(signed[1]), cy.deliver(signed[1])]
    async with opened(tmp_path) as store:
        await keep(store, [*bogus, *signed])
        assert await whys(store, bo.agent) == []
        await keep(store, [ada.verdict(signed[3])])
        assert await whys(store, bo.agent) == ["accepted"]


async def test_what_was_signed_after_the_end_of_a_log_means_nothing(tmp_path: Path) -> None:
    ada, bo, heir = Party("ada"), ending_party("bo"), Party("heir")
    before = deal(ada, bo, "accepted")
    last = bo.log[-1]
    after = deal(ada, bo, "rejected")
    body = Succession(bo.agent, last.seq, last.id, heir.agent)
    end = records.seal(RECOVERY, body, time_ms=NOW_MS)
    given = [ada.log[0], bo.log[0], *before, *after, twice(bo, last.seq + 1)]
    agreed = [heir.log[0], heir.say(Vouch(bo.agent, is_withdrawn=False))]
    for number, order in enumerate(([*given, end], [end, *reversed(given)])):
        async with opened(tmp_path / str(number)) as store:
            await keep(store, order)
            assert await whys(store, bo.agent) == ["accepted"]
            assert not store.scorer.score(bo.agent).is_convicted, "a thief signed the other one"
            found = await look(store, bo.agent)
            assert (found.last_seq, found.heir) == (last.seq, None), "it has not agreed"
            assert not store.scorer.score(heir.agent).is_known
            await keep(store, agreed)
            assert (await look(store, bo.agent)).heir == heir.agent
            assert store.scorer.score(heir.agent).is_known
            expected = await state(store)
            await rebuilding.rebuild(store)
            assert await state(store) == expected


async def test_a_succession_by_another_key_ends_nothing(tmp_path: Path) -> None:
    bo = ending_party("bo")
    body = Succession(bo.agent, 1, bo.log[0].id, ADA)
    async with opened(tmp_path) as store:
        await keep(store, [bo.log[0], records.seal(EGO, body, time_ms=1)])
        assert (await look(store, bo.agent)).last_seq is None


def ending_party(name: str) -> Party:
    party = Party(name)
    party.log.clear()
    party.say(kinds.Genesis(recovery_hash(RECOVERY.agent)))
    return party


async def test_a_stamp_counts_when_enough_work_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STAMP_BITS_MIN", 8)
    bo, cy = Party("bo"), Party("cy")
    stamp = evidence.find_stamp(bo.agent, day=1, bits=8, numbers=range(10_000))
    assert stamp is not None
    async with opened(tmp_path) as store:
        await keep(store, [bo.say(stamp), cy.say(evidence_kinds.Stamp(b"", 1, bytes(32)))])
        admissions = [store.scorer.score(one.agent).admission for one in (bo, cy)]
        assert admissions == ["stamped", "bare"]


async def test_parked_records_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVIDENCE_PARKED_MAX", 3)
    bo = Party("bo")
    hashed = kinds.Acceptance("hash", bytes(32), None, 60_000)
    async with opened(tmp_path) as store:
        await keep(store, [bo.post(acceptance=hashed) for _ in range(9)])
        (count,) = await store.read(
            lambda db: db.execute("SELECT count(*) FROM evidence").fetchone()
        )
        assert count == 3


async def test_of_a_long_log_the_oldest_entries_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AUTHOR_ENTRIES_MAX", 10)
    monkeypatch.setattr(forgetting, "ENTRIES_AT_ONCE", 4)
    ada, bo = Party("ada"), Party("bo")
    signed = deal(ada, bo, "accepted")
    bo.go_on(12)
    async with opened(tmp_path) as store:
        await keep(store, [ada.log[0], *signed, *bo.log])
        assert await whys(store, bo.agent) == ["accepted"]
        await forget_surplus(store)
        found = await look(store, bo.agent)
        assert (found.entries, found.first, found.whole) == (7, 11, 15)
        assert await whys(store, bo.agent) == [], "its accept is gone"
        assert not store.scorer.score(bo.agent).is_known
        expected = await state(store)
        await rebuilding.rebuild(store)
        assert await state(store) == expected


async def test_who_is_farthest_from_us_is_forgotten_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AUTHORS_KEPT_MAX", 2)
    parties = [Party(name) for name in ("bo", "cy", "dee", "eve")]
    async with opened(tmp_path) as store:
        for party, circle in zip(parties, (2, 4, 1, 3), strict=True):
            await store.keep(party.log, Circle(circle))
        await forget_surplus(store)
        held = [(await look(store, party.agent)).entries for party in parties]
        assert held == [1, 0, 1, 0]


async def forget_surplus(store: EvidenceStore) -> None:
    while (surplus := await store.read(forgetting.find_surplus)) is not None:
        agent, everything = surplus
        await store.change(
            partial(forgetting.forget_oldest, agent, store.ours, everything=everything)
        )
        await asyncio.sleep(0)


async def test_an_interrupted_rebuild_is_finished_at_the_next_start(tmp_path: Path) -> None:
    given = history(OUTCOMES * 2, has_fork=True)
    async with opened(tmp_path) as store:
        await keep(store, given[:-30])
        stage = await store.work(rebuilding._begin)
        await store.work(partial(rebuilding._part, stage))  # and here the process is killed
    async with opened(tmp_path) as store:
        await keep(store, given[-30:])  # it works on before the rebuild goes on
        await rebuilding.resume(store)
        found = await state(store)
        assert await store.read(rebuilding._read_stage) is None
    async with opened(tmp_path / "other") as store:
        await keep(store, given)
        assert await state(store) == found
