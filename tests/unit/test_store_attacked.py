"""What strangers sign, forge and flood, through a node's store: to the last digit, and bounded."""

import random
import tempfile
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies as st
from tests.evidence_records import OUTCOMES, history, keep, opened, sign, state
from tests.reputation_records import WRONG, Party, deal

from bazaar_node.trust import exchange, feeding, flaw_rows, reports
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.histories import Circle, Flaw
from bazaar_protocol import limits, records
from bazaar_protocol.evidence_kinds import Intake, Vouch
from bazaar_protocol.identity import Keypair
from bazaar_protocol.records import Record, Unknown


def unsolicited(author: Party, helper: Party, victim: Party) -> list[Record]:
    """Return a contract of which the worker has signed nothing, with all that others can say."""
    granted = author.award(author.post(), victim.agent, relays=(helper.agent,))
    accepted, delivered = helper.accept(granted), helper.deliver(granted, WRONG)
    broken = author.breach(accepted)
    return [granted, accepted, delivered, broken, helper.silence(broken),
            author.verdict(delivered, accepted=False)]  # fmt: skip


async def test_twenty_unsolicited_claims_do_not_move_a_bit_of_an_honest_agent(
    tmp_path: Path,
) -> None:
    ada, bo, mal, helper = (Party(name) for name in ("ada", "bo", "mal", "helper"))
    given = [one.log[0] for one in (ada, bo, mal, helper)]
    given += [one for _ in range(5) for one in deal(ada, bo, "accepted")]
    given += [*deal(ada, bo, "rejected"), *deal(bo, ada, "accepted"), *deal(ada, mal, "accepted")]
    async with opened(tmp_path) as store:
        await keep(store, given)
        before = _seen(store, bo)
        for _ in range(20):
            await keep(store, unsolicited(mal, helper, bo))
            await keep(store, unsolicited(helper, mal, bo))
        assert _seen(store, bo) == before
    async with opened(tmp_path) as store:
        assert _seen(store, bo) == before


async def test_one_failed_job_and_forty_of_sybils_leave_a_stranger_below_a_newcomer(
    tmp_path: Path,
) -> None:
    ada, bo, mal, newcomer = (Party(name) for name in ("ada", "bo", "mal", "newcomer"))
    sybils = [Party(f"sybil {number}") for number in range(8)]
    given = [one.log[0] for one in (ada, bo, mal, *sybils)]
    given += [one for _ in range(4) for one in deal(ada, bo, "accepted")]
    given += deal(ada, mal, "rejected")
    async with opened(tmp_path) as store:
        await keep(store, given)
        good = store.scorer.score(mal.agent).good
        for number in range(40):
            await keep(store, deal(sybils[number % 8], mal, "accepted"))
            await keep(store, deal(sybils[number % 8], bo, "accepted"))
        score = store.scorer.score(mal.agent)
        assert (score.good, score.is_known) == (good, True)
        assert score.lower < store.scorer.score(newcomer.agent).lower
        assert not any(store.scorer.weight(one.agent) for one in sybils)


def _seen(store: EvidenceStore, party: Party) -> str:
    scorer, agent = store.scorer, party.agent
    return repr([scorer.score(agent), scorer.score(agent, "poster"), scorer.parts(agent),
                 scorer.weight(agent)])  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=6), st.integers(0, 2**32),
)  # fmt: skip
async def test_what_is_forged_replayed_or_signed_again_by_others_changes_nothing(
    outcomes: list[str], seed: int
) -> None:
    chance = random.Random(seed)
    given = history(outcomes)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder)) as store:
            await keep(store, given)
            expected = await state(store)
            forged = [_forge(chance, chance.choice(given)) for _ in range(30)]
            page = [*forged, *(one.raw for one in chance.sample(given, len(given) // 2))]
            chance.shuffle(page)
            taken, refused = exchange.check(page)
            assert len(refused) >= len(forged), "nothing of it is signed by its author"
            assert await store.keep(taken, Circle.PARTNER) == 0
            assert await state(store) == expected


def _forge(chance: random.Random, record: Record) -> bytes:
    """Return a record with another byte, or one that its forger signed in its author's place."""
    if chance.random() < 0.7:
        raw = bytearray(record.raw)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        return bytes(raw)
    # Dated anew, all else the same; its forger has no other key than its own.
    forger = Keypair.from_name("forger")
    assert not isinstance(record.body, Unknown)
    signed = records.seal(
        forger, record.body, time_ms=record.time_ms + 1, seq=record.seq, prev=record.prev
    )
    return signed.raw.replace(forger.agent, record.author)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(OUTCOMES), max_size=8), st.integers(0, 2**40))
async def test_the_dates_of_records_are_not_read(outcomes: list[str], time_ms: int) -> None:
    found = []
    for at_ms in (1_000, time_ms):
        parties = [Party(name, time_ms=at_ms) for name in ("ada", "bo", "cy")]
        given = [party.log[0] for party in parties]
        for number, outcome in enumerate(outcomes):
            poster, worker = parties[number % 3], parties[(number + 1 + number // 3 % 2) % 3]
            given += deal(poster, worker, outcome)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder)) as store:
                await keep(store, given)
                rows = (await state(store)).findings
                found.append(sorted(str((one.strand, one.why, one.weight, one.round))  # type: ignore[attr-defined]
                                    for one in rows))  # fmt: skip
    assert found[0] == found[1]


async def test_who_is_said_to_have_more_entries_is_no_less_named_for_a_fork(tmp_path: Path) -> None:
    mal = Party("mal")
    mal.go_on(3)
    tails = [
        Flaw("cut-tail", mal.agent, 5, 9, number.to_bytes(32), "a link that lies")
        for number in range(limits.FLAWS_PER_AUTHOR_MAX + 9)
    ]
    async with opened(tmp_path) as store:
        await keep(store, mal.log)
        await store.work(lambda db: flaw_rows.replace_passing(db, mal.agent, tails, 1))
        await keep(store, [sign(mal, Intake(bytes(32), 9, 9), 3)])
        found = await store.read(partial(reports.read_history, mal.agent))
        named = [flaw.what for flaw in found.flaws]
        assert named.count("fork") == 1
        assert named.count("cut-tail") == limits.FLAWS_PER_AUTHOR_MAX


async def test_entries_of_logs_that_nobody_wants_are_not_kept(tmp_path: Path) -> None:
    """A relay can send any number of vouches, each by an author of its own."""
    bo, strangers = Party("bo"), [Party(f"stranger {number}") for number in range(30)]
    said = [one.say(Vouch(bo.agent, is_withdrawn=False)) for one in strangers]
    async with opened(tmp_path) as store:
        await keep(store, bo.log)
        said.append(bo.say(Vouch(strangers[0].agent, is_withdrawn=False)))
        found = feeding.check_witnessed([one.raw for one in said])
        way = store.way(Circle.OTHER)
        await store.change(partial(feeding.feed_witnessed, found, len(found), way))
        kept = await store.read(lambda db: db.execute("SELECT agent FROM author").fetchall())
        assert kept == [(bo.agent,)]
        assert store.scorer.score(strangers[1].agent).admission == "bare"
