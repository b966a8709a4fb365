"""Nobody is made the heir of a bad name, and nobody fills a node with ends of its own names."""

from itertools import permutations
from pathlib import Path

import pytest
from tests.evidence_records import EGO, keep, opened, sign, state
from tests.lives import end, mortal
from tests.market import Market
from tests.reputation_records import Party, deal

from bazaar_node.market.events import Pledged
from bazaar_node.trust.evidence_store import EvidenceStore
from bazaar_node.trust.rebuilding import rebuild
from bazaar_protocol import limits
from bazaar_protocol.errors import Refused
from bazaar_protocol.evidence_kinds import Intake, Vouch
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record
from bazaar_reputation.scores import Score


def digits(store: EvidenceStore, *parties: Party) -> list[Score]:
    return [store.scorer.score(party.agent) for party in parties]


async def count(store: EvidenceStore, kind: str) -> int:
    rows = await store.read(
        lambda db: db.execute("SELECT count(*) FROM evidence WHERE kind = ?", (kind,)).fetchone()
    )
    return int(rows[0])


async def test_a_bad_name_is_hung_on_nobody_that_once_vouched_for_it(tmp_path: Path) -> None:
    """Dee answered for mal, and took it back. Mal forks its log, and names dee as its heir."""
    ada, dee, mal = Party("ada"), mortal("dee"), mortal("mal")
    given = [ada.log[0], dee.log[0], mal.log[0], *deal(ada, dee, "accepted")]
    given += [dee.say(Vouch(mal.agent, is_withdrawn=gone)) for gone in (False, True)]
    given += [*deal(ada, mal, "rejected"), *mal.go_on(2)]
    fork = sign(mal, Intake(bytes(32), 9, 9), 2)
    named = end(mal, dee, len(mal.log))
    for number, order in enumerate(([*given, fork, named], [named, fork, *reversed(given)])):
        async with opened(tmp_path / f"without {number}") as store:
            await keep(store, [one for one in order if one not in (named, fork)])
            expected = digits(store, dee)
        async with opened(tmp_path / str(number)) as store:
            await keep(store, order)
            assert digits(store, dee) == expected
            assert store.scorer.score(mal.agent).is_convicted


def test_a_node_whose_first_deed_is_a_vouch_agrees_to_nothing() -> None:
    market = Market()
    ada = market.add("ada")
    mal = AgentId(bytes(32))
    market.tell("ada", Pledged(Vouch(mal, is_withdrawn=False)))
    market.tell("ada", Pledged(Vouch(mal, is_withdrawn=False)))
    vouches = [one.body for one in ada.log[1:]]
    assert vouches == [Vouch(mal, gone) for gone in (True, False, False)]


async def test_of_several_heirs_the_one_that_agreed_carries_on_in_any_order(tmp_path: Path) -> None:
    ada, bo, true, false = Party("ada"), mortal("bo"), mortal("true heir"), mortal("b")
    first, second = sorted((true, false), key=lambda party: party.agent)
    work = [ada.log[0], bo.log[0], *deal(ada, bo, "accepted")]
    agreed = [second.log[0], second.say(Vouch(bo.agent, is_withdrawn=False))]
    ends = [end(bo, first, 3), end(bo, second, 3), end(bo, second, 3, time_ms=2)]
    found = set()
    for number, order in enumerate(permutations([*ends, agreed[1]])):
        async with opened(tmp_path / str(number)) as store:
            await keep(store, [*work, agreed[0], *order])
            before = await state(store), repr(digits(store, bo, first, second))
            found.add(before[1])
            assert store.scorer.score(second.agent).is_known
            assert not store.scorer.score(first.agent).is_known
        async with opened(tmp_path / str(number)) as store:
            assert repr(digits(store, bo, first, second)) == before[1]
            await rebuild(store)
            assert (await state(store), repr(digits(store, bo, first, second))) == before
    assert len(found) == 1


async def test_what_a_thief_signs_for_the_heir_changes_nothing(tmp_path: Path) -> None:
    """A stolen name was ended. Its thief has bad work for it, and a worse name for its heir."""
    ada, bo, heir, mal = Party("ada"), mortal("bo"), mortal("heir"), mortal("mal")
    given = [ada.log[0], bo.log[0], heir.log[0], mal.log[0], *deal(ada, bo, "accepted")]
    given += [heir.say(Vouch(bo.agent, is_withdrawn=False)), end(bo, heir, len(bo.log))]
    stolen = [*deal(ada, bo, "rejected"), *deal(bo, mal, "accepted")]
    stolen = [one for one in stolen if one.author != ada.agent]  # she does not deal with it
    stolen += [sign(bo, Intake(bytes(32), 9, 9), 5)]
    stolen += [bo.say(Vouch(mal.agent, is_withdrawn=False)), end(mal, bo, 1), end(mal, heir, 1)]
    for number, order in enumerate(([*given, *stolen], [*stolen, *reversed(given)])):
        async with opened(tmp_path / f"without {number}") as store:
            await keep(store, given)
            expected = digits(store, heir, bo, ada)
        async with opened(tmp_path / str(number)) as store:
            await keep(store, order)
            assert digits(store, heir, bo, ada) == expected


async def test_ends_and_proofs_of_one_agent_are_bounded(tmp_path: Path) -> None:
    mal = mortal("mal")
    mal.go_on(60)
    heirs = [Party(f"heir {number}") for number in range(30)]
    ends = [end(mal, heir, seq) for seq in (40, 30, 20, 50) for heir in heirs]
    forks: list[Record] = [sign(mal, Intake(bytes(32), 9, 9), seq) for seq in range(60, 20, -1)]
    async with opened(tmp_path, EGO) as store:
        await keep(store, [*mal.log, *ends, *forks])
        assert await count(store, "succession") <= limits.SUCCESSIONS_PER_AGENT_MAX
        assert await count(store, "proof") == 1
        assert store.book.lineage.last_seq(store.book.enter(mal.agent)) == 20


def test_a_bid_from_before_the_end_of_an_identity_wins_nothing_after_it() -> None:
    market = Market()
    ada = market.add("ada")
    market.add("thief", capability="word.find", price=1)
    bo = market.add("bo", capability="word.find", price=9)
    task = market.post("ada", capability="word.find", bid_window_ms=1_000)
    assert len(market.task("ada", task).bids) == 2
    ada.agent.successions.add(end(mortal("thief"), mortal("heir"), 1))
    market.wait(2)
    assert market.task("ada", task).worker == bo.keys.agent
    with pytest.raises(Refused, match="recovery key"):
        market.post("ada", capability="word.find", worker=mortal("thief").agent.hex(), price=9)
