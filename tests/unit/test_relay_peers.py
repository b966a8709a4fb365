"""Relays that are each other's peers: what one has, all have, and nothing goes round for ever."""

from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.federated import Relays, trader, until
from tests.market_records import Trader

from bazaar_protocol import frames
from bazaar_protocol.evidence_kinds import Proof
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.limits import HEADS_PER_FRAME_MAX
from bazaar_protocol.peering_frames import Forward, Here
from bazaar_protocol.records import Record, unseal
from bazaar_relay.machine.difficulty import WorkPolicy
from bazaar_relay.peering.marks import Marks
from bazaar_relay.storage.memory_store import MemoryStore


@pytest.fixture
async def relays() -> AsyncGenerator[Relays]:
    world = Relays()
    yield world
    await world.stop_all()


async def start_all(relays: Relays) -> None:
    for name in relays.names:
        await relays.start(name)
    await relays.are_live()


async def test_each_record_crosses_each_link_once(relays: Relays) -> None:
    await start_all(relays)
    ada, bob = trader("ada"), trader("bob")
    records = [ada.genesis(), ada.advert("pdf"), *(ada.intake(number) for number in range(40))]
    others = [bob.genesis(), bob.post(capability="pdf"), bob.advert("pdf")]
    await relays.publish("a", ada, *records)
    await relays.publish("b", bob, *others)
    await relays.have(*records, *others)
    await relays.agree()
    for (teller, hearer), told in relays.told.items():
        assert max(told.values(), default=0) <= 1, (teller, hearer)
    for origin, own in (("a", records), ("b", others)):
        for teller in relays.others(origin):
            back = relays.told[teller, origin]
            assert not [one for one in own if back[one.id]]  # nobody is told what it told
    crossings = sum(told[records[-1].id] for (_, hearer), told in relays.told.items() if hearer)
    assert crossings <= 4  # two from its relay, and at most one each between the others


async def test_a_new_relay_catches_up_with_logs_and_with_what_is_in_none(relays: Relays) -> None:
    await relays.start("a", peers=[])
    authors = [trader(f"author {number}") for number in range(HEADS_PER_FRAME_MAX + 20)]
    everything: list[Record] = []
    for author in authors:
        everything += [author.genesis(), author.intake(), author.post(capability="pdf")]
    long = trader("long")
    everything += [long.genesis(), *(long.intake(number) for number in range(600))]
    client = await relays.join(long, "a")
    for first in range(0, len(everything), 200):
        assert set(await client.publish(*everything[first : first + 200])) == {"accepted"}
    await relays.start("b", peers=["a"])
    await until(lambda: relays.state("b", "a").stage == "live")
    await relays.have(*everything)
    assert relays.told["a", "b"].total() == 0  # all by segments and pages
    assert relays.state("b", "a").behind == 0


async def test_a_relay_that_was_away_goes_on_from_its_cursor(relays: Relays) -> None:
    await start_all(relays)
    ada = trader("ada")
    before = [ada.genesis(), *(ada.intake(number) for number in range(20))]
    await relays.publish("a", ada, *before)
    await relays.have(*before)
    await relays.stop("c")
    missed = [ada.intake(), ada.post(), ada.intake()]
    await relays.publish("b", ada, *missed)
    await relays.start("c")
    await relays.have(*missed)
    await relays.are_live()
    told = relays.told["a", "c"] + relays.told["b", "c"]
    assert all(told[one.id] for one in missed)
    assert max(relays.told["a", "c"][one.id] for one in before) <= 1  # not told anew


async def test_what_a_restart_forgot_is_found_by_comparison(relays: Relays) -> None:
    await start_all(relays)
    ada = trader("ada")
    records = [ada.genesis(), *(ada.intake(number) for number in range(100))]
    await relays.publish("a", ada, *records)
    await relays.have(*records)
    await relays.stop("c")
    relays.forget("c")
    await relays.start("c")
    await relays.have(*records)


async def is_accused(store: MemoryStore, agent: AgentId) -> bool:
    return bool((await store.against([agent]))[agent])


@pytest.mark.parametrize("way", ["cursor", "comparison"])
async def test_an_equivocator_is_exposed_at_every_relay(relays: Relays, way: str) -> None:
    await start_all(relays)
    eve = trader("eve")
    genesis, same = eve.genesis(), eve.intake(1)
    await relays.publish("a", eve, genesis, same)
    await relays.have(genesis, same)
    for name in relays.names:  # the network parts
        await relays.stop(name)
    for name in relays.names:
        await relays.start(name, peers=[])
    fork = Trader(eve.keys, eve.now_ms, eve.head)
    await relays.publish("a", eve, *(eve.intake(number) for number in range(2, 30)))
    await relays.publish("b", fork, *(fork.intake(number) for number in range(50, 70)))
    for name in relays.names:
        await relays.stop(name)
        if way == "comparison":
            relays.marks[name] = Marks()
    await start_all(relays)
    for name in relays.names:
        store = relays.stores[name]
        await until(partial(is_accused, store, eve.agent))
        (found,) = (await store.against([eve.agent]))[eve.agent]
        assert unseal(found).kind == "proof"
        assert relays.up[name].machine.federation.logs.leaves_out(eve.agent)
    await relays.agree()  # although each keeps its branch
    client = await relays.join(eve, "c")
    (status,) = await client.publish(eve.post())
    assert status.startswith("blocked: convicted by equivocation")


@pytest.mark.parametrize("lengths", [(30, 20), (20, 30), (20, 20)])
async def test_a_fork_is_proved_by_the_first_entries_that_differ(
    relays: Relays, lengths: tuple[int, int]
) -> None:
    """Who compares is told of the ends alone, and looks for the place where the logs part."""
    for name in ("a", "b"):
        await relays.start(name, peers=[])
    eve = trader("eve")
    same = [eve.genesis(), *(eve.intake(number) for number in range(5))]
    fork = Trader(eve.keys, eve.now_ms, eve.head)
    await relays.publish("a", eve, *same, *map(eve.intake, range(lengths[0])))
    await relays.publish("b", fork, *same, *map(fork.intake, range(100, 100 + lengths[1])))
    await relays.stop("a")
    await relays.start("a", peers=["b"])
    await until(partial(is_accused, relays.stores["a"], eve.agent))
    (found,) = (await relays.stores["a"].against([eve.agent]))[eve.agent]
    body = unseal(found).body
    assert isinstance(body, Proof)
    assert {unseal(raw).seq for raw in body.records} == {len(same) + 1}


async def test_marks_outlive_the_process(relays: Relays, tmp_path: Path) -> None:
    await relays.start("a", peers=[])
    ada = trader("ada")
    await relays.publish("a", ada, genesis := ada.genesis(), entry := ada.intake())
    before = Marks(tmp_path / "peers.json")
    before.put(relays.keys["a"].agent, relays.stores["a"].name, 0)
    await before.save(relays.stores["b"].name, 0)
    relays.marks["b"] = Marks(tmp_path / "peers.json")
    await relays.start("b", peers=["a"])
    await relays.have(genesis, entry)
    told = relays.told["a", "b"]
    assert [told[one.id] for one in (genesis, entry)] == [1, 1]  # and not by comparison


async def test_a_task_finished_at_one_relay_is_offered_at_no_other(relays: Relays) -> None:
    """Logs are pulled before posts, and log by log: what became of it is known all the same."""
    await relays.start("a", peers=[])
    ada, bob, eve = trader("ada"), trader("bob"), trader("eve")
    claim: dict[str, Any] = {"capability": "pdf", "mode": "claim", "bid_window_ms": 0}
    story = [ada.genesis(), bob.genesis(), post := ada.post(**claim)]
    story += [award := ada.award(post, bob.agent)]
    story += [bob.accept(award), delivered := bob.deliver(award), ada.verdict(delivered)]
    open_post = ada.post(**claim, title="open")
    await relays.publish("a", ada, *story, open_post)
    await relays.start("b", peers=[])
    client = await relays.join(eve, "b")
    await client.subscribe(Filter(to=(eve.agent,)))
    assert await client.publish(eve.genesis(), eve.advert("pdf")) == ("accepted",) * 2
    await relays.stop("b")
    await relays.start("b", peers=["a"])
    await relays.have(*story, open_post)
    assert await relays.stores["b"].audience(post.id) == []
    assert await relays.stores["b"].audience(open_post.id) == [eve.agent]


def is_known_at(relays: Relays, agent: AgentId, name: str) -> bool:
    """Tell whether relay a believes that an agent listens at another one."""
    place = relays.up["a"].machine.federation.whereabouts.peer_of(agent)
    return place == relays.keys[name].agent


async def has_no_letter(store: MemoryStore, agent: AgentId) -> bool:
    return not await store.letters(agent)


async def test_letters_go_where_their_addressee_listens(relays: Relays) -> None:
    await start_all(relays)
    ada, bob = trader("ada"), trader("bob")
    at_a, at_b = await relays.join(ada, "a"), await relays.join(bob, "b")
    for client, one in ((at_a, ada), (at_b, bob)):
        await client.publish(one.genesis())
        await client.subscribe(Filter(to=(one.agent,)))
    await until(partial(is_known_at, relays, bob.agent, "b"))
    assert await at_a.ask(frames.Mail, bob.agent, b"sealed 1") == frames.Mailed(3)
    assert (await at_b.next(frames.Letter)).sealed == b"sealed 1"
    await until(partial(has_no_letter, relays.stores["a"], bob.agent))  # not kept for ever
    assert await has_no_letter(relays.stores["c"], bob.agent)


async def test_letters_wait_until_their_addressee_shows_up_anywhere(relays: Relays) -> None:
    await start_all(relays)
    ada, bob = trader("ada"), trader("bob")
    at_a = await relays.join(ada, "a")
    assert await at_a.ask(frames.Mail, bob.agent, b"sealed 1") == frames.Mailed(1)
    at_c = await relays.join(bob, "c")
    await at_c.subscribe(Filter(to=(bob.agent,)))
    assert (await at_c.next(frames.Letter)).sealed == b"sealed 1"
    at_b = await relays.join(bob, "b")  # it moves on
    at_c.link.close()
    await at_b.subscribe(Filter(to=(bob.agent,)))
    await until(partial(is_known_at, relays, bob.agent, "b"))
    assert await at_a.ask(frames.Mail, bob.agent, b"sealed 2") == frames.Mailed(2)
    await at_b.next(frames.Letter, lambda letter: letter.sealed == b"sealed 2")


async def test_strangers_neither_forward_letters_nor_say_who_is_where(relays: Relays) -> None:
    await relays.start("a")
    eve, bob = trader("eve"), trader("bob")
    client = await relays.join(eve, "a")
    refused = await client.ask(Forward, bob.agent, b"", b"sealed")
    assert refused == frames.Error(1, "refused", refused.reason)
    await client.send(Here((bob.agent,)))
    dropped = await client.next(frames.Error)
    assert (dropped.request, dropped.code) == (0, "refused")


async def test_a_letter_for_one_who_is_not_here_goes_back(relays: Relays) -> None:
    await relays.start("a", peers=[])
    peer = Trader(relays.keys["b"], 0)
    client = await relays.join(peer, "a")
    answer = await client.ask(Forward, AgentId(bytes(32)), b"", b"sealed")
    assert answer == frames.Error(1, "not-found", answer.reason)


async def test_peers_owe_nothing_for_authors_who_paid_elsewhere(relays: Relays) -> None:
    """What is let in at one relay is let in at all, and a stranger's own word is not."""
    relays.policy = {"bytes_per_day": 100, "records_per_s": 1}
    await relays.start("a", peers=[])
    relays.policy = {
        "bytes_per_day": 100,
        "records_per_s": 1,
        "work": WorkPolicy(bits=18, free_per_minute=0),
    }
    await relays.start("b", peers=["a"])
    ada = trader("ada")
    records = [ada.genesis(), ada.intake()]
    await relays.publish("a", ada, records[0])
    await relays.have(records[0])
    client = await relays.join(ada, "b")
    (status,) = await client.publish(ada.post())
    assert status.startswith("pow: ")
