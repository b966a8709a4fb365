"""Whom real nodes deal with, through a real relay: probes, policies, invitations, disputes."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from tests.market_records import Trader
from tests.town import raw_client

from bazaar_host import clock
from bazaar_host.bridge import Libp2pTransport
from bazaar_node import Node, OpenNode, PostRequest, Task
from bazaar_node.market.opinions import About, Opinions
from bazaar_node.market.policy import All, Deny, Policies
from bazaar_node.pledge_service import VouchRequest
from bazaar_node.service import CanaryRequest, TaskDetail, TaskView
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import ConfigError, Refused, SchemaMismatch
from bazaar_protocol.evidence import check_reveal, stamp_bits
from bazaar_protocol.evidence_kinds import Reveal, Stamp
from bazaar_protocol.frames import RELAY_PROTOCOL
from bazaar_protocol.identity import AgentId, Keypair, parse_agent, to_did
from bazaar_protocol.letters import Invitation, encode_letter
from bazaar_protocol.records import Record, unseal
from bazaar_protocol.sealing import seal_to
from bazaar_relay.serving.service import RelayService
from bazaar_relay.storage.sqlite_store import SqliteStore

pytestmark = pytest.mark.xdist_group("heavy")

TIMEOUT_S = 20
PROBED_AFTER_MAX = 150
"""One task in ten brings a probe: that none of so many does happens once in seven million times."""
QUESTION, ANSWER = b"one two", b'{"words":2}'


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncGenerator[str]:
    keys = Keypair.from_name("relay")
    async with (
        SqliteStore.open(tmp_path / "relay" / "relay.sqlite3", name=os.urandom(32)) as store,
        RelayService.open(keys, store) as service,
        Libp2pTransport.open(
            keys, ["/ip4/127.0.0.1/tcp/0"], [RELAY_PROTOCOL], service.on_link
        ) as transport,
    ):
        service.addresses = transport.addresses
        yield transport.addresses[0]


class Place:
    """Nodes around one relay."""

    def __init__(self, folder: Path, relay: str) -> None:
        self._folder = folder
        self._relay = relay

    @asynccontextmanager
    async def counter(
        self, name: str, *, price: int = 2, answer: bytes | None = None,
        policies: Policies | None = None,
    ) -> AsyncIterator[OpenNode]:  # fmt: skip
        """Run a node that counts words, or has one ``answer``, and that to one question alone."""
        node = Node(self._folder / name, relays=[self._relay], slots=4, policies=policies)

        @node.offer("text.count", price=price)
        async def count(task: Task) -> object:
            if answer is None:
                return {"words": len(task.input.split())}
            if task.input != QUESTION:
                raise ValueError("not that")
            return answer

        async with node.open() as opened:
            await opened.ready()
            yield opened

    @asynccontextmanager
    async def poster(self) -> AsyncIterator[OpenNode]:
        async with Node(self._folder / "ada", relays=[self._relay]).open() as ada:
            await ada.ready()
            yield ada


@pytest.fixture
def place(tmp_path: Path, relay: str) -> Place:
    return Place(tmp_path, relay)


async def ended(node: OpenNode, task: str) -> TaskDetail:
    async with asyncio.timeout(TIMEOUT_S):
        return [detail async for detail in node.watch(task)][-1]


async def noted(node: OpenNode, task: str, what: str) -> TaskDetail:
    """Return the task once this node has noted ``what`` of it."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            detail = await node.desk.task(task)
            if any(event.what == what for event in detail.events):
                return detail
            await asyncio.sleep(0.02)


async def probed(ada: OpenNode) -> TaskView:
    """Let ada have tasks done until one has brought a probe along."""
    for number in range(PROBED_AFTER_MAX):
        data = b"word " * (number % 2)
        task = await ada.post(
            PostRequest(capability="text.count", input=data, price_max=100, bid_window_ms=60)
        )
        await ada.result(task, timeout_s=TIMEOUT_S)
        posted = await ada.desk.tasks(role="poster", state=None, limit=2)
        for one in posted:
            if one.mode == "direct":
                return one
    raise AssertionError(f"{PROBED_AFTER_MAX} tasks, and no probe")


async def test_a_stranger_that_bids_is_tried_and_found_out(place: Place, relay: str) -> None:
    async with AsyncExitStack() as stack:
        ada = await stack.enter_async_context(place.poster())
        await stack.enter_async_context(place.counter("bo", price=2))
        cheat = await stack.enter_async_context(place.counter("cy", price=3, answer=b"{}"))
        expected = sha256(ANSWER).hexdigest()
        canary = CanaryRequest(capability="text.count", input=QUESTION, expected_sha256=expected)
        kept = await ada.desk.canaries.add(canary)
        assert [one.number for one in await ada.desk.canaries.all()] == [kept.number]
        probe = await probed(ada)
        assert probe.worker in {None, (await cheat.desk.status()).agent}
        detail = await ended(ada, probe.id)
        assert detail.task.state == "rejected"
        assert any(event.what == "probe" for event in detail.events)
        await noted(cheat, probe.id, "reveal")
        report = await ada.desk.audit(probe.id)
        assert report.is_sound, [one.what for one in report.checks if not one.ok]
        post, reveal = await published(relay, probe)
        assert isinstance(reveal.body, Reveal)
        check_reveal(post, reveal.body)
        assert reveal.body.digest.hex() == expected


async def published(relay: str, probe: TaskView) -> tuple[Record, Record]:
    """Return what anyone finds at the relay: the post of a probe, and its opened commitment."""
    async with raw_client(relay, "reader") as reader:
        answer = await reader.ask(frames.GetTask, bytes.fromhex(probe.id), 0)
        post = next(one for one in map(unseal, answer.records) if one.kind == "post")
        await reader.subscribe(frames.Filter(kinds=("reveal",)))
        reveals = [unseal((await reader.event()).record)]
        return post, next(one for one in reveals if one.author == post.author)


async def test_canaries_outlive_the_node_and_can_be_removed(place: Place) -> None:
    async with place.poster() as ada:
        wanted = CanaryRequest(capability="a.b@2", input=b"x", expected_sha256="ab" * 32)
        number = (await ada.desk.canaries.add(wanted)).number
    async with place.poster() as ada:
        (kept,) = await ada.desk.canaries.all()
        assert (kept.number, kept.capability, kept.expected_sha256) == (number, "a.b@2", "ab" * 32)
        await ada.desk.canaries.remove(number)
    async with place.poster() as ada:
        assert await ada.desk.canaries.all() == []


async def test_a_poster_that_a_worker_denies_is_told_so(place: Place) -> None:
    async with place.poster() as ada:
        me = parse_agent((await ada.desk.status()).agent)
        policies = Policies(posters=All(Deny([me])))
        async with place.counter("bo", policies=policies) as bo:
            worker = (await bo.desk.status()).agent
            request = PostRequest(capability="text.count", input=b"x", worker=worker, price=9)
            with pytest.raises(Refused, match="untrusted_poster"):
                await ada.result(await ada.post(request), timeout_s=TIMEOUT_S)


async def test_a_result_that_is_not_the_one_expected_is_never_delivered(place: Place) -> None:
    async with place.poster() as ada, place.counter("bo", answer=b"{}") as bo:
        request = PostRequest(
            capability="text.count", input=QUESTION, price=9, attempts_max=1,
            expected_sha256=sha256(ANSWER).hexdigest(),
        )  # fmt: skip
        task = await ada.post(request)
        detail = await ended(ada, task)
        assert detail.task.state == "failed"
        assert "hash" in detail.task.why
        assert not any(event.what == "deliver" for event in detail.events)
        with pytest.raises(SchemaMismatch):
            await bo.desk.deliver(task, b"{}", media_type="application/json")


async def test_an_owner_contradicts_a_rejection_and_the_poster_reads_it(place: Place) -> None:
    async with place.poster() as ada, place.counter("bo") as bo:
        request = PostRequest(capability="text.count", input=QUESTION, price=9, accept="human")
        task = await ada.post(request)
        await noted(ada, task, "deliver")
        await ada.desk.decide(task, accepted=False, reason="no")
        await ended(bo, task)
        await bo.desk.dispute(task, reason="there are two words")
        told = await noted(ada, task, "dispute")
        assert told.events[-1].untrusted_note == "there are two words"


async def test_a_worker_that_is_invited_bids_for_what_no_relay_offered_it(
    place: Place, relay: str
) -> None:
    now_ms = clock.now_ms()
    ada, dee = Trader.named("ada", now_ms), Trader.named("dee", now_ms)
    async with raw_client(relay, "ada") as poster, raw_client(relay, "dee") as other:
        await poster.subscribe(frames.Filter(to=(ada.agent,)))
        await other.subscribe(frames.Filter(to=(dee.agent,)))
        await other.publish(dee.advert("text.count"))
        # One bidder is enough, and dee is found first; so nobody else is offered the task.
        post = ada.post(
            capability="text.count", capability_version=0, bidders_max=1,
            bid_window_ms=50_000, output_schema=b"",
        )  # fmt: skip
        assert await poster.publish(post) == ("accepted",)
        assert await other.events(1) == [post.raw]
        async with place.counter("bo") as bo:
            worker = parse_agent((await bo.desk.status()).agent)
            letter = encode_letter(Invitation(post.id))
            sealed = seal_to(worker, ada.keys, letter, entropy=os.urandom(32))
            assert poster.drain() == []
            await poster.ask(frames.Mail, worker, sealed)
            bid = unseal((await poster.event()).record)
            assert (bid.kind, bid.author) == ("bid", worker)


async def test_who_has_done_good_work_is_invited_to_the_next_auction(
    place: Place, relay: str
) -> None:
    dee = Trader.named("dee", clock.now_ms())
    async with AsyncExitStack() as stack:
        ada = await stack.enter_async_context(place.poster())
        bo = await stack.enter_async_context(place.counter("bo"))
        other = await stack.enter_async_context(raw_client(relay, "dee"))
        worker = parse_agent((await bo.desk.status()).agent)
        for _ in range(3):
            request = PostRequest(capability="text.count", worker=worker.hex(), price=9)
            await ada.result(await ada.post(request), timeout_s=TIMEOUT_S)
        await known(ada, worker)
        await other.subscribe(frames.Filter(to=(dee.agent,)))
        await other.publish(dee.advert("text.count"))
        # One bidder each, in turns: one of the two is offered to dee, who says nothing.
        request = PostRequest(
            capability="text.count", bidders_max=1, bid_window_ms=TIMEOUT_S * 1000
        )
        first, second = [await ada.post(request) for _ in range(2)]
        await other.event()
        for task in (first, second):
            assert [bid.worker for bid in (await noted(ada, task, "bid")).bids] == [to_did(worker)]


async def test_whom_a_node_answers_for_is_no_bare_stranger_to_it(place: Place) -> None:
    async with place.poster() as ada:
        opinions = ada.desk._driver.agent.trust.opinions
        bo = Keypair.from_name("bo").agent
        for is_withdrawn, admission in ((False, "vouched"), (True, "bare")):
            request = VouchRequest(agent=to_did(bo), is_withdrawn=is_withdrawn)
            await ada.desk.pledges.vouch(request)
            await admitted(opinions, bo, admission)
        me = VouchRequest(agent=(await ada.desk.status()).agent)
        with pytest.raises(ConfigError, match="themselves"):
            await ada.desk.pledges.vouch(me)


async def admitted(opinions: Opinions, agent: AgentId, admission: str) -> None:
    """Wait until an agent is seen like this."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if opinions.standing(About(agent)).admission == admission:
                return
            await asyncio.sleep(0.02)


async def test_a_stamp_is_work_that_anyone_can_check(place: Place, relay: str) -> None:
    async with place.poster() as ada, raw_client(relay, "reader") as reader:
        await reader.subscribe(frames.Filter(kinds=("stamp",)))
        made = await ada.desk.pledges.stamp()
        record = unseal((await reader.event()).record)
        assert to_did(record.author) == (await ada.desk.status()).agent
        assert isinstance(record.body, Stamp)
        assert stamp_bits(record.author, record.body) >= made.bits == limits.STAMP_BITS_MIN


async def known(node: OpenNode, worker: AgentId) -> None:
    """Wait until the evidence of what was traded says something of a worker."""
    opinions = node.desk._driver.agent.trust.opinions
    async with asyncio.timeout(TIMEOUT_S):
        while True:  # evidence follows the trades at a distance, and nothing tells of it
            if list(opinions.best(3, "text.count")) == [worker]:
                return
            await asyncio.sleep(0.02)
