"""A relay over real links and stores: in memory, and over libp2p with SQLite; one set of tests."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.market_records import Trader
from tests.relay_client import Client
from tests.relay_world import NAME, RELAY, World

from bazaar_host import clock
from bazaar_protocol import evidence_kinds, frames, kinds, limits
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.frames import Filter
from bazaar_protocol.framing import pack
from bazaar_protocol.letters import Renewed, decode_letter
from bazaar_protocol.records import Record, unseal
from bazaar_protocol.sealing import open_sealed
from bazaar_relay.machine.admission import Policy
from bazaar_relay.serving.service import Options


@pytest.fixture(params=["memory", "libp2p"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    world = World(request.param, tmp_path)
    async with world.stack:
        yield world


@pytest.fixture
def ada() -> Trader:
    return Trader.named("ada", clock.now_ms())


@pytest.fixture
def bo() -> Trader:
    return Trader.named("bo", clock.now_ms())


async def test_welcome_says_which_store_and_what_is_allowed(world: World, ada: Trader) -> None:
    async with world.relay():
        client = await world.dial(ada)
        welcome = await client.hello()
    assert welcome.store == NAME
    assert welcome.cursor == 1  # the relay's own genesis
    assert b'"records_per_frame":256' in welcome.information


async def test_what_is_published_reaches_subscribers_and_later_ones(
    world: World, ada: Trader, bo: Trader
) -> None:
    sent = [ada.genesis(), *(ada.intake(number) for number in range(20))]
    everything = Filter(authors=(ada.agent,))
    async with world.relay():
        early, publisher = await world.join(bo), await world.join(ada)
        await early.subscribe(everything)
        assert await publisher.publish(*sent) == ("accepted",) * 21
        assert await publisher.publish(*sent) == ("duplicate",) * 21
        late = await world.join(bo)
        await late.subscribe(everything)
        for client in (early, late):
            assert await client.events(21) == [record.raw for record in sent]
        assert await publisher.ask(frames.Ping) == frames.Pong(3)
        assert early.drain() == []


async def test_a_subscription_resumes_at_its_cursor_after_a_restart(
    world: World, ada: Trader, bo: Trader
) -> None:
    first, second = ada.genesis(), ada.intake()
    wanted = Filter(authors=(ada.agent,))
    async with world.relay():
        client, publisher = await world.join(bo), await world.join(ada)
        await client.subscribe(wanted)
        await publisher.publish(first)
        seen = await client.event()
    async with world.relay():
        publisher = await world.join(ada)
        await publisher.publish(second)
        client = await world.join(bo)
        await client.subscribe(wanted, since=seen.cursor)
        assert (await client.event()).record == second.raw
        assert client.drain() == []


async def test_a_slow_subscriber_lags_and_still_gets_everything_once(
    world: World, ada: Trader, bo: Trader
) -> None:
    sent = [ada.say(evidence_kinds.Proof("equivocation", (b"",)))]  # refused, and so never seen
    notes = [ada.post(title=f"{number} " + "x" * 8000, tags=("lag",)) for number in range(700)]
    async with world.relay() as service:
        slow, publisher = await world.join(bo), await world.join(ada)
        await slow.subscribe(Filter(kinds=("post",)))
        assert (await publisher.publish(*sent))[0].startswith("malformed")
        for start in range(0, len(notes), 10):
            statuses = await publisher.publish(*notes[start : start + 10])
            assert set(statuses) == {"accepted"}
        assert await slow.events(len(notes)) == [note.raw for note in notes]
        assert any(isinstance(frame, frames.Lagged) for frame in slow.arrived)
        last = ada.post()
        await publisher.publish(last)
        assert await slow.events(1) == [last.raw]
        assert service.machine.is_idle


async def test_a_claim_is_awarded_to_one_worker_and_the_result_comes_back(
    world: World, ada: Trader, bo: Trader
) -> None:
    cy = Trader.named("cy", clock.now_ms())
    async with world.relay():
        poster, worker, other = [await world.join(one) for one in (ada, bo, cy)]
        for client, trader in ((poster, ada), (worker, bo), (other, cy)):
            await client.subscribe(Filter(to=(trader.agent,)))
            await client.publish(trader.genesis())
        await worker.publish(bo.advert("pdf.extract"))
        await other.publish(cy.advert("pdf.extract.tables"))
        post = ada.claim_post(RELAY.agent, capability="pdf.extract")
        assert await poster.publish(post) == ("accepted",)
        assert await worker.events(1) == [post.raw]
        claimed = await worker.ask(frames.Claim, post.id)
        assert isinstance(claimed, frames.Claimed)
        refused = await other.ask(frames.Claim, post.id)
        assert isinstance(refused, frames.Error)
        assert refused.code == "taken"
        granted = unseal(claimed.record)
        assert granted.author == RELAY.agent
        assert granted.body.epoch == 1  # type: ignore[union-attr]
        again = await worker.ask(frames.Claim, post.id)
        assert again.record == claimed.record
        accepted, beat = bo.accept(granted), bo.heartbeat(granted)
        assert await worker.publish(accepted, beat) == ("accepted", "accepted")
        letter = await worker.next(frames.Letter)
        sender, content = open_sealed(bo.keys, letter.sealed)
        assert sender == RELAY.agent
        assert decode_letter(content) == Renewed(post.id, 1, beat.id)
        delivered = bo.deliver(granted)
        await worker.publish(delivered)
        expected = [granted.raw, accepted.raw, beat.raw, delivered.raw]
        assert await poster.events(4) == expected
        judged = ada.verdict(delivered)
        await poster.publish(judged)
        assert await worker.events(2) == [granted.raw, judged.raw]
        assert await task_of(other, post) == [post.raw, *expected, judged.raw]
        assert other.drain() == []  # one waiting worker was woken, and no other


async def task_of(client: Client, post: Record) -> list[bytes]:
    segment = await client.ask(frames.GetTask, post.id, 0)
    assert isinstance(segment, frames.Segment)
    assert not segment.more
    return list(segment.records)


async def test_a_lost_lease_goes_to_the_next_worker_and_the_old_result_is_stale(
    world: World, ada: Trader, bo: Trader
) -> None:
    cy = Trader.named("cy", clock.now_ms())
    async with world.relay():
        poster, worker, other = [await world.join(one) for one in (ada, bo, cy)]
        for client, trader in ((poster, ada), (worker, bo), (other, cy)):
            await client.subscribe(Filter(to=(trader.agent,)))
            await client.publish(trader.genesis())
        await worker.publish(bo.advert("pdf.extract"))
        lease = kinds.Lease(2_000, 30_000, 150, 3)
        post = ada.claim_post(RELAY.agent, lease=lease)
        await poster.publish(post)
        claimed = await worker.ask(frames.Claim, post.id)
        granted = unseal(claimed.record)
        await worker.publish(bo.accept(granted))
        await other.publish(cy.advert("pdf.extract"))
        # Silence: the relay ends the lease by itself and wakes the other worker.
        assert await other.events(1) == [post.raw]
        records = await task_of(other, post)
        assert unseal(records[-1]).kind == "breach"
        claimed = await other.ask(frames.Claim, post.id)
        assert unseal(claimed.record).body.epoch == 2  # type: ignore[union-attr]
        late = bo.deliver(granted)
        (status,) = await worker.publish(late)
        assert status == "stale: epoch 1 is over, the task is at epoch 2"
        head = await worker.ask(frames.GetHead, bo.agent)
        assert head.records == (late.raw,)
        assert late.raw not in [frame.record for frame in await settled(poster)]


async def settled(client: Client) -> list[frames.Event]:
    """Return the events that arrived before an answer that was asked for now."""
    await client.ask(frames.Ping)
    return [frame for frame in client.arrived if isinstance(frame, frames.Event)]


async def test_letters_wait_are_sent_once_there_and_are_forgotten_when_collected(
    world: World, ada: Trader, bo: Trader
) -> None:
    async with world.relay():
        sender = await world.join(ada)
        assert await sender.ask(frames.Mail, bo.agent, b"one") == frames.Mailed(1)
    async with world.relay():
        reader, sender = await world.join(bo), await world.join(ada)
        await reader.subscribe(Filter(to=(bo.agent,)))
        first = await reader.next(frames.Letter)
        await sender.ask(frames.Mail, bo.agent, b"two")
        second = await reader.next(frames.Letter)
        assert [first.sealed, second.sealed] == [b"one", b"two"]
        assert await reader.ask(frames.Collect, (first.number,)) == frames.Collected(2)
        again = await world.join(bo)
        await again.subscribe(Filter(to=(bo.agent,)))
        assert await again.next(frames.Letter) == second
        # A letter is for its addressee's link, whatever the filter of another says.
        await sender.subscribe(Filter(to=(bo.agent,)))
        assert not [frame for frame in sender.arrived if isinstance(frame, frames.Letter)]


async def test_a_full_mailbox_takes_no_more(world: World, ada: Trader, bo: Trader) -> None:
    async with world.relay():
        sender = await world.join(ada)
        for _ in range(limits.LETTERS_PER_STRANGER_MAX):
            await sender.ask(frames.Mail, bo.agent, b"x")
        refused = await sender.ask(frames.Mail, bo.agent, b"x")
        assert isinstance(refused, frames.Error)
        assert refused.code == "rate-limited"
        reader = await world.join(bo)
        await reader.ask(frames.Collect, (1, 2))
        assert isinstance(await sender.ask(frames.Mail, bo.agent, b"x"), frames.Mailed)


async def test_a_query_pages_through_adverts_best_first(world: World, ada: Trader) -> None:
    traders = [Trader.named(f"t{number}", clock.now_ms()) for number in range(7)]
    async with world.relay():
        client = await world.join(ada)
        for number, trader in enumerate(traders):
            words = "reads tables in scanned reports" if number == 3 else "reads tables"
            await client.publish(trader.advert("pdf.extract", words=words))
        await client.publish(ada.advert("text.count", words="counts scanned words"))
        page = await client.ask(frames.Query, "pdf", "scanned tables", "", 3)
        assert unseal(page.records[0]).author == traders[3].agent
        found = list(page.records)
        while page.next:
            page = await client.ask(frames.Query, "pdf", "scanned tables", page.next, 3)
            found += page.records
        authors = [unseal(raw).author for raw in found]
        assert sorted(authors) == sorted(trader.agent for trader in traders)
        everyone = await client.ask(frames.Query, "", "", "", 256)
        assert len(everyone.records) == 8
        await client.publish(traders[3].advert(version=2, expires_in_ms=0))
        page = await client.ask(frames.Query, "", "scanned reports", "", 5)
        assert [unseal(raw).author for raw in page.records] == [ada.agent]


async def test_a_log_is_served_in_segments_that_fit_a_frame(world: World, ada: Trader) -> None:
    entries = [ada.genesis()]
    for number in range(30):
        body = kinds.Withdraw(bytes(32), None, number, "x" * 8000)
        entries.append(ada.say(body))
    async with world.relay():
        client = await world.join(ada)
        for start in range(0, len(entries), 10):
            assert set(await client.publish(*entries[start : start + 10])) == {"accepted"}
        got: list[bytes] = []
        pages = 0
        more = True
        while more:
            segment = await client.ask(frames.GetLog, ada.agent, len(got) + 1, 2**53 - 1)
            got += segment.records
            more = segment.more
            pages += 1
        assert got == [entry.raw for entry in entries]
        assert pages > 1
        nothing = await client.ask(frames.GetHead, bytes(32))
        assert nothing.records == ()


async def test_nonsense_ends_the_link_and_harms_nobody(
    world: World, ada: Trader, bo: Trader
) -> None:
    async with world.relay():
        good, bad, mute = await world.join(ada), await world.join(bo), await world.dial(bo)
        await bad.link.send(pack(b"\xc1nonsense"))
        error = await bad.next(frames.Error)
        assert (error.request, error.code) == (0, "malformed")
        await mute.send(frames.Ping(1))
        assert (await mute.next(frames.Error)).reason == "a link begins with hello"
        for client in (bad, mute):
            with pytest.raises(LinkClosed):
                await client.next(frames.Pong)
        genesis = ada.genesis()
        damaged = genesis.raw[:-1] + bytes([genesis.raw[-1] ^ 1])
        statuses = await good.publish_raw(damaged, b"", genesis.raw)
        assert [status.partition(":")[0] for status in statuses] == [
            "signature", "malformed", "accepted",
        ]  # fmt: skip


async def test_a_flood_on_one_link_does_not_hold_up_another(
    world: World, ada: Trader, bo: Trader
) -> None:
    flood = [bo.genesis(), *(bo.intake(number) for number in range(6000))]
    async with world.relay():
        flooder, other = await world.join(bo), await world.join(ada)
        number = 0

        async def pour() -> None:
            nonlocal number
            for start in range(0, len(flood), 100):
                number += 1
                raws = tuple(record.raw for record in flood[start : start + 100])
                await flooder.send(frames.Publish(number, raws))

        pouring = asyncio.create_task(pour())
        assert await other.publish(ada.genesis()) == ("accepted",)
        answered = [frame for frame in flooder.arrived if isinstance(frame, frames.Published)]
        assert len(answered) < len(flood) / 100
        last = (len(flood) + 99) // 100
        await flooder.next(frames.Published, lambda frame: frame.request == last)
        await pouring


async def test_an_identity_has_an_allowance(world: World, ada: Trader) -> None:
    records = [ada.genesis(), *(ada.intake(number) for number in range(9))]
    options = Options(policy=Policy(records_per_s=2), clock=lambda: ada.now_ms)
    async with world.relay(options):
        client = await world.join(ada)
        assert await client.publish(*records[:4]) == ("accepted",) * 4
        (status,) = await client.publish(records[4])
        assert status == "rate-limited: at most 2 records per second"


def test_entropy_is_fresh_for_each_letter() -> None:
    entropy = Options().entropy
    assert len(entropy()) == 32
    assert entropy() != entropy()
