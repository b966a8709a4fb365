"""Several processes that are one relay: each knows what the others have decided, before it does."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator

import pytest
from tests.market_records import Trader
from tests.postgres import Server
from tests.shared_relay import RELAY, Process, SharedRelay, shared_relay
from tests.town import until

from bazaar_protocol import frames, limits
from bazaar_protocol.errors import StorageError
from bazaar_protocol.evidence_kinds import Intake
from bazaar_protocol.frames import Filter
from bazaar_protocol.kinds import Award, Breach, Genesis, Post
from bazaar_protocol.records import unseal
from bazaar_relay.storage.postgres_store import PostgresStore
from bazaar_relay.storage.store import Batch, Kept


@pytest.fixture
async def relay(postgres_server: Server) -> AsyncGenerator[SharedRelay]:
    async with shared_relay(postgres_server) as it:
        yield it


async def test_they_begin_one_log(relay: SharedRelay) -> None:
    names = ("one", "two", "three")
    processes = await asyncio.gather(*map(relay.process, names))
    ada = Trader.named("ada")
    client = await processes[0].join(ada)
    assert await client.publish(ada.genesis()) == ("accepted",)
    bodies = [record.body for record in await processes[0].log()]
    assert [type(body) for body in bodies] == [Genesis]


async def test_what_one_takes_the_subscribers_of_another_get(relay: SharedRelay) -> None:
    one, two = await relay.process("one"), await relay.process("two")
    ada, bo = Trader.named("ada"), Trader.named("bo")
    writer, reader = await one.join(ada), await two.join(bo)
    await reader.subscribe(Filter(authors=(ada.agent,)))
    entries = [ada.genesis(), *map(ada.intake, range(1, 20))]
    for entry in entries:
        assert await writer.publish(entry) == ("accepted",)
    assert await reader.events(20) == [entry.raw for entry in entries]
    assert await (await two.join(ada)).publish(*entries) == ("duplicate",) * 20
    await reader.ask(frames.Mail, ada.agent, b"x" * 100)
    await writer.subscribe(Filter(to=(ada.agent,)))
    assert (await writer.next(frames.Letter)).sealed == b"x" * 100
    await reader.ask(frames.Mail, ada.agent, b"y" * 100)
    assert (await writer.next(frames.Letter)).sealed == b"y" * 100


async def test_an_author_may_go_on_at_another(relay: SharedRelay) -> None:
    processes = [await relay.process(name) for name in ("one", "two", "three")]
    ada = Trader.named("ada")
    clients = [await process.join(ada) for process in processes]
    for number in range(30):
        entry = ada.intake(number) if number else ada.genesis()
        assert await clients[number % 3].publish(entry) == ("accepted",)
    fork = Trader.named("ada")
    fork.genesis()
    (status,) = await clients[1].publish(fork.intake(7))
    assert status.startswith(("fork:", "gap:"))


async def test_each_task_goes_to_one_worker(relay: SharedRelay) -> None:
    processes = [await relay.process(name) for name in ("one", "two", "three")]
    poster = Trader.named("poster")
    posts = [poster.claim_post(RELAY.agent) for _ in range(40)]
    posting = await processes[0].join(poster)
    assert await posting.publish(*posts) == ("accepted",) * 40
    workers = [Trader.named(f"worker {number}") for number in range(9)]
    granted: list[bytes] = []

    async def work(number: int) -> None:
        trader = workers[number]
        client = await processes[number % 3].join(trader)
        assert await client.publish(trader.genesis()) == ("accepted",)
        for post in posts:
            answer = await client.ask(frames.Claim, post.id)
            if isinstance(answer, frames.Claimed):
                award = unseal(answer.record)
                granted.append(award.raw)
                assert await client.publish(trader.accept(award)) == ("accepted",)

    await asyncio.gather(*map(work, range(9)))
    awards = [record for record in await processes[1].log() if isinstance(record.body, Award)]
    tasks = Counter(award.body.task for award in awards if isinstance(award.body, Award))
    assert tasks == Counter(post.id for post in posts), "each once"
    assert sorted(granted) == sorted(award.raw for award in awards)


async def test_each_record_gets_one_receipt(relay: SharedRelay) -> None:
    processes = [await relay.process(name) for name in ("one", "two", "three")]
    traders = [Trader.named(f"trader {number}") for number in range(3)]
    clients = [
        await process.join(trader) for process, trader in zip(processes, traders, strict=True)
    ]
    for again in range(3):
        for trader, client in zip(traders, clients, strict=True):
            entry = trader.intake(again) if again else trader.genesis()
            assert await client.publish(entry) == ("accepted",)
        relay.now_ms += limits.INTAKE_AFTER_MS + 1
        for process in processes:  # all at once
            process.tick()
        await processes[again].is_covered()
    covered: list[bytes] = []
    for record in await processes[0].log():
        if isinstance(record.body, Intake):
            receipt = await find_receipt(processes[1], record.id)
            covered += receipt
            assert len(receipt) == record.body.count
    others = [record.id for record in await processes[2].records() if record.author != RELAY.agent]
    assert covered == others


async def find_receipt(process: Process, intake: bytes) -> list[bytes]:
    for record in await process.records():
        receipt = await process.store.receipt(record.id)
        if receipt is not None and receipt.intake == intake:
            return [receipt.ids[start : start + 32] for start in range(0, len(receipt.ids), 32)]
    raise AssertionError("nothing is under it")


async def test_without_its_database_it_accepts_nothing(relay: SharedRelay) -> None:
    process = await relay.process("one")
    ada = Trader.named("ada")
    client = await process.join(ada)
    assert await client.publish(ada.genesis()) == ("accepted",)
    await relay.server.shut_out(relay.address)
    entry = ada.intake(1)
    (status,) = await client.publish(entry)
    assert status.startswith("storage:")
    assert process.service.health.trouble == "it cannot reach its store"
    answer = await client.ask(frames.Claim, entry.id)
    assert isinstance(answer, frames.Error)
    assert answer.code == "storage"
    await relay.server.let_in(relay.address)
    await until(lambda: process.service.health.trouble != "it cannot reach its store", bool)
    assert await client.publish(entry) == ("accepted",)


class Forgetful(PostgresStore):
    """A store that loses the server's answer to some commits."""

    is_deaf = False

    async def commit(self, batch: Batch) -> Kept:
        before = self._told
        kept = await super().commit(batch)
        if self.is_deaf:
            self._told = before  # nobody has told us
            raise StorageError("the server was lost before it answered")
        return kept


async def test_a_commit_without_an_answer_is_found_out_later(relay: SharedRelay) -> None:
    process = await relay.process("one", Forgetful.open)
    ada, bo = Trader.named("ada"), Trader.named("bo")
    post = ada.claim_post(RELAY.agent)
    client, worker = await process.join(ada), await process.join(bo)
    assert await client.publish(post) == ("accepted",)
    Forgetful.is_deaf = True
    try:
        answer = await worker.ask(frames.Claim, post.id)
        (status,) = await client.publish(ada.genesis())
    finally:
        Forgetful.is_deaf = False
    assert isinstance(answer, frames.Error)
    assert answer.code == status.partition(":")[0] == "storage"
    granted = await worker.ask(frames.Claim, post.id)
    assert isinstance(granted, frames.Claimed)
    other = await (await process.join(Trader.named("cy"))).ask(frames.Claim, post.id)
    assert isinstance(other, frames.Error)
    assert await client.publish(ada.intake(1)) == ("accepted",)
    assert [type(record.body) for record in await process.log()] == [Genesis, Award]


async def test_a_lost_lease_is_ended_by_whoever_is_left(relay: SharedRelay) -> None:
    ada, bo = Trader.named("ada"), Trader.named("bo")
    post = ada.claim_post(RELAY.agent)
    async with relay.another() as gone:
        process = await gone.process("gone")
        left = await relay.process("left")
        worker = await process.join(bo)
        assert await worker.publish(bo.genesis()) == ("accepted",)
        assert await (await process.join(ada)).publish(post) == ("accepted",)
        granted = await worker.ask(frames.Claim, post.id)
        assert isinstance(granted, frames.Claimed)
        accept = bo.accept(unseal(granted.record))
        assert await worker.publish(accept) == ("accepted",)
    poster = await left.join(ada)
    await poster.subscribe(Filter(to=(ada.agent,), kinds=("breach",)))
    await left.has_heard_all()
    assert isinstance(post.body, Post)
    relay.now_ms += post.body.lease.heartbeat_timeout_ms + limits.SECOND_MS
    left.tick()
    breach = unseal((await poster.event()).record).body
    assert isinstance(breach, Breach)
    assert breach.accept.id == accept.id


async def test_a_witness_has_heard_what_the_others_heard(relay: SharedRelay) -> None:
    one, two = await relay.process("one"), await relay.process("two")
    ada, bo = Trader.named("ada"), Trader.named("bo")
    begun, post = ada.genesis(), ada.post(mode="claim", bid_window_ms=0)
    award = ada.award(post, bo.agent)
    assert set(await (await one.join(ada)).publish(begun, post, award)) == {"accepted"}
    worker = await two.join(bo)
    assert set(await worker.publish(bo.genesis(), bo.accept(award))) == {"accepted"}
    first, second = (bo.heartbeat(award, relay.now_ms + number) for number in range(2))
    assert await worker.publish(first) == ("accepted",)
    (status,) = await worker.publish(second)
    assert status == "stale: this lease was renewed a moment ago"
    await one.has_heard_all()
    witness = one.service.machine._pipeline.witness
    assert witness._heard.get(post.id) == relay.now_ms, "who is asked here must know of it"


async def test_a_post_wakes_workers_wherever_they_listen(relay: SharedRelay) -> None:
    one, two = await relay.process("one"), await relay.process("two")
    ada, bo = Trader.named("ada"), Trader.named("bo")
    dead = [Trader.named(f"dead {number}") for number in range(20)]
    worker, poster = await two.join(bo), await one.join(ada)
    for trader in dead:  # they offer, and nobody is there
        assert await poster.publish(trader.advert("pdf.extract")) == ("accepted",)
    assert await worker.publish(bo.advert("pdf.extract")) == ("accepted",)
    await worker.subscribe(Filter(to=(bo.agent,), kinds=("post",)))
    await one.knows_that_listens(bo.agent)
    post = ada.claim_post(RELAY.agent)
    assert await poster.publish(post) == ("accepted",)
    assert (await worker.event()).record == post.raw
    assert await two.store.audience(post.id) == [bo.agent], "no other was asked before"
