"""What a node remembers beyond single tasks, in its store and out of it again."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.market_records import Trader
from tests.scoring import Rating, agent, book_of
from tests.told_opinions import outcome

from bazaar_node.market.events import Concluded, Probed
from bazaar_node.market.exposure import Exposure
from bazaar_node.market.opinions import About, NoOpinions, ScoredOpinions, Standing
from bazaar_node.market.policy import Policies
from bazaar_node.market.probes import Canary, Probe
from bazaar_node.storage import market_memory
from bazaar_node.storage.store import NodeStore
from bazaar_protocol.errors import NotFound
from bazaar_protocol.identity import Keypair
from bazaar_protocol.records import RecordId
from bazaar_protocol.task import open_task, step
from bazaar_reputation.book import Book
from bazaar_reputation.scores import Scorer

BO = Keypair.from_name("bo").agent
CANARY = Canary(0, "text.count", 2, b"one two", "text/plain", bytes(32))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[NodeStore]:
    async with NodeStore.open(tmp_path / "node.sqlite3") as opened:
        yield opened


async def test_outcomes_come_back_as_they_were_with_the_sums_of_all(store: NodeStore) -> None:
    known = [
        outcome(1, worker=BO, confidence=9_000, eta_ms=5, took_ms=7),
        outcome(2, worker=BO, is_good=False, ceiling=30),
        outcome(3, is_probe=True, ceiling=4),
    ]
    await store.write([Concluded(one) for one in (*known, known[0])])
    trust = await market_memory.load_trust(store, Policies(), NoOpinions())
    experience = trust.experience
    assert list(experience.of(BO)) == known[:2]
    assert (experience.receipts, experience.value) == (3, 130)


async def test_only_the_latest_are_in_memory_and_the_sums_are_of_all(
    store: NodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_memory, "OUTCOMES_LOADED_MAX", 2)
    await store.write([Concluded(outcome(number, worker=BO)) for number in range(5)])
    experience = await market_memory.load_experience(store)
    assert [int.from_bytes(one.task) for one in experience.of(BO)] == [3, 4]
    assert (experience.receipts, experience.value) == (5, 500)


async def test_canaries_and_probes_come_back(store: NodeStore) -> None:
    first = await market_memory.add_canary(store, CANARY)
    newer = Canary(0, "text.count", 2, b"one two", "text/html", os.urandom(32))
    again = await market_memory.add_canary(store, newer)
    assert again.number == first.number, "the same input has one answer, the last one given"
    probe = Probe(RecordId(bytes(32)), first.number, BO, 7, os.urandom(32), os.urandom(32))
    await store.write([Probed(probe), Probed(probe)])
    probes = await market_memory.load_probes(store)
    assert list(probes.canaries.values()) == [again]
    assert (probes.get(probe.task), probes.spent) == (probe, 7)
    await market_memory.drop_canary(store, first.number)
    with pytest.raises(NotFound):
        await market_memory.drop_canary(store, first.number)


def test_opinions_are_what_the_scores_say() -> None:
    book = Book()
    opinions = ScoredOpinions(Scorer(book, Keypair.from_name("ada").agent))
    stranger = opinions.standing(About(BO, capability="text.count"))
    assert not stranger.is_known
    assert 0 < stranger.points < 5_000
    book.stamp(BO)
    assert opinions.standing(About(BO)).admission == "stamped"
    book.convict(BO)
    assert opinions.standing(About(BO)) == Standing(
        0, stranger.is_known, is_convicted=True, admission="stamped"
    )
    assert list(opinions.best(3, "text.count")) == []


def test_those_whom_a_friend_answers_for_are_named_until_something_is_known_of_them() -> None:
    ego, friend, vouched, proven = range(4)
    worked = [Rating(ego, friend, good=3.0), Rating(ego, proven, good=2.0)]
    book = book_of(worked, [(friend, vouched), (friend, proven), (vouched, 5)])
    opinions = ScoredOpinions(Scorer(book, agent(ego)))
    assert opinions.vouched(9) == (agent(vouched),), "whom a stranger answers for is a stranger"
    assert opinions.vouched(0) == ()
    standing = opinions.standing(About(agent(friend)))
    assert standing.good == pytest.approx(3.0)
    assert standing.bad == 0.0
    book.convict(agent(vouched))
    assert opinions.vouched(9) == ()


def test_what_others_hold_is_counted_while_they_hold_it() -> None:
    ada, exposure = Trader.named("ada"), Exposure()
    ada.genesis()
    post = ada.post(mode="direct", worker=BO, price=60, bid_window_ms=0)
    task = open_task(post, 0)
    exposure.note(task, "poster")
    assert exposure.given_to(BO) == 0
    awarded = step(task, ada.award(post, BO), 0)
    exposure.note(awarded, "poster")
    exposure.note(awarded, "poster")
    assert (exposure.given_to(BO), exposure.owed_by(BO)) == (60, 0)
    exposure.forget(task.id)
    exposure.forget(task.id)
    assert exposure.given_to(BO) == 0
