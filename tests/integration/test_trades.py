"""Whole trades between real nodes through a real relay, each mode and each way of carrying data."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.metrics import render
from bazaar_node import Node, OfferRequest, OpenNode, PostRequest, Task
from bazaar_protocol.errors import Refused
from bazaar_protocol.frames import RELAY_PROTOCOL
from bazaar_protocol.identity import Keypair
from bazaar_relay.serving.service import RelayService
from bazaar_relay.storage.sqlite_store import SqliteStore

pytestmark = pytest.mark.xdist_group("heavy")

TIMEOUT_S = 20
SCHEMA = b'{"type": "object", "required": ["words"], "properties": {"words": {"type": "integer"}}}'

OpenAgent = Callable[[Node], AbstractAsyncContextManager[OpenNode]]


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


@pytest.fixture
async def pair(tmp_path: Path, relay: str) -> AsyncGenerator["Pair"]:
    async with AsyncExitStack() as stack:
        worker = Node(tmp_path / "bo", relays=[relay], name="bo", slots=2)
        _offer_everything(worker)
        poster = Node(tmp_path / "ada", relays=[relay], name="ada")
        bo = await stack.enter_async_context(worker.open())
        ada = await stack.enter_async_context(poster.open())
        await bo.ready()
        await ada.ready()
        yield Pair(ada, bo)


class Pair:
    def __init__(self, ada: OpenNode, bo: OpenNode) -> None:
        self.ada = ada
        self.bo = bo

    async def trade(self, **request: object) -> bytes:
        task = await self.ada.post(PostRequest(**request))  # type: ignore[arg-type]
        return await self.ada.result(task, timeout_s=TIMEOUT_S)


def _offer_everything(node: Node) -> None:
    @node.offer("text.count", price=5)
    async def count(task: Task) -> object:
        task.progress(50, "half")
        return {"words": len(task.input.split())}

    @node.offer("bytes.double", price=5, media_type="application/octet-stream")
    async def double(task: Task) -> bytes:
        return task.input * 2

    @node.offer("always.fails")
    async def fail(task: Task) -> bytes:
        raise ValueError(f"cannot do {len(task.input)} bytes")


async def test_an_auction_ends_in_a_result(pair: Pair) -> None:
    result = await pair.trade(
        capability="text.count", input=b"one two three", bid_window_ms=100, output_schema=SCHEMA
    )
    assert result == b'{"words":3}'


async def test_a_claim_is_sequenced_by_its_poster_or_by_the_relay(pair: Pair) -> None:
    for sequencer in ("self", "relay"):
        result = await pair.trade(
            capability="text.count", input=b"one two", price=9, sequencer=sequencer
        )
        assert result == b'{"words":2}'


async def test_a_direct_task_goes_to_the_worker_named(pair: Pair) -> None:
    worker = (await pair.bo.desk.status()).agent
    result = await pair.trade(capability="text.count", input=b"one", worker=worker, price=9)
    assert result == b'{"words":1}'


async def test_a_private_input_reaches_the_worker_and_nobody_else(pair: Pair, relay: str) -> None:
    result = await pair.trade(
        capability="text.count", input=b"very secret words", price=9, private=True
    )
    assert result == b'{"words":3}'


@pytest.mark.parametrize("size", [0, 20_000, 200_000, 3_000_000])
async def test_inputs_and_results_of_any_size_travel(pair: Pair, size: int) -> None:
    data = os.urandom(size)
    result = await pair.trade(
        capability="bytes.double", input=data, price=9, media_type="application/octet-stream"
    )
    assert result == data * 2


async def test_a_result_that_misses_its_schema_is_not_delivered(pair: Pair) -> None:
    with pytest.raises(Refused, match="failed"):
        await pair.trade(
            capability="text.count", input=b"x", price=9, attempts_max=1,
            output_schema=b'{"type": "string"}',
        )  # fmt: skip


async def test_a_worker_that_fails_says_why(pair: Pair) -> None:
    with pytest.raises(Refused, match="cannot do 4 bytes"):
        await pair.trade(capability="always.fails", input=b"four", price=9, attempts_max=1)


async def test_the_owners_own_check_decides(pair: Pair) -> None:
    good = await pair.trade(
        capability="text.count", input=b"a b", price=9, check_command="grep -q words"
    )
    assert good == b'{"words":2}'
    with pytest.raises(Refused, match="rejected"):
        await pair.trade(capability="text.count", input=b"a b", price=9, check_command="grep -q no")


async def test_a_person_can_approve(pair: Pair) -> None:
    task = await pair.ada.post(
        PostRequest(capability="text.count", input=b"a b c", price=9, accept="human")
    )
    states: list[str] = []
    async with asyncio.timeout(TIMEOUT_S):
        async for detail in pair.ada.watch(task):
            states.append(detail.task.state)
            if detail.task.awaits_approval:
                await pair.ada.desk.decide(task, accepted=True, reason="fine")
    assert states[-2:] == ["delivered", "accepted"]


async def test_the_same_idempotency_key_is_one_task(pair: Pair) -> None:
    request = PostRequest(
        capability="text.count", input=b"a b c", price=9, idempotency_key="only-once"
    )
    assert await pair.ada.post(request) == await pair.ada.post(request)


async def test_an_agent_fetches_its_tasks_itself(pair: Pair) -> None:
    await pair.bo.offer(OfferRequest(capability="poem.write"))
    task = await pair.ada.post(PostRequest(capability="poem.write", input=b"rain", price=9))
    assignment = await pair.bo.desk.next_task(capabilities=("poem.write",), wait_s=TIMEOUT_S)
    assert assignment is not None
    assert assignment.untrusted_input == b"rain"
    await pair.bo.desk.heartbeat(task, progress=40, note="rhyming")
    await pair.bo.desk.deliver(task, b"drip drop", media_type="text/plain")
    assert await pair.ada.result(task, timeout_s=TIMEOUT_S) == b"drip drop"


async def test_a_cancelled_task_stops_its_worker(pair: Pair) -> None:
    await pair.bo.offer(OfferRequest(capability="poem.write"))
    task = await pair.ada.post(PostRequest(capability="poem.write", input=b"rain", price=9))
    assert await pair.bo.desk.next_task(capabilities=(), wait_s=TIMEOUT_S) is not None
    await pair.ada.desk.cancel(task, reason="no longer needed")
    async with asyncio.timeout(TIMEOUT_S):
        states = [detail.task.state async for detail in pair.bo.watch(task)]
    assert states[-1] == "cancelled"
    assert (await pair.bo.desk.status()).load == 0


async def test_an_audit_finds_every_record_in_order(pair: Pair) -> None:
    task = await pair.ada.post(
        PostRequest(capability="text.count", input=b"a b", bid_window_ms=100)
    )
    await pair.ada.result(task, timeout_s=TIMEOUT_S)
    report = await pair.ada.desk.audit(task)
    assert report.is_sound, report.checks
    assert report.records >= 6
    agent = (await pair.bo.desk.status()).agent
    assert (await pair.ada.desk.audit(agent)).is_sound


async def test_a_node_counts_what_it_does(pair: Pair) -> None:
    await pair.trade(capability="text.count", input=b"a b", price=9)
    text = render(pair.ada.desk.metrics.registry).decode()
    assert "bazaar_relays_connected 1.0" in text
    assert "bazaar_log_entries 3.0" in text  # genesis, award, verdict


async def test_a_watch_ends_with_the_record_that_ended_the_task(pair: Pair) -> None:
    for _ in range(5):  # it was a race, lost one time in three
        task = await pair.ada.post(PostRequest(capability="text.count", input=b"a b", price=9))
        async with asyncio.timeout(TIMEOUT_S):
            seen = [detail async for detail in pair.ada.watch(task)]
        assert (seen[-1].task.state, seen[-1].events[-1].what) == ("accepted", "verdict")
        for detail in seen:
            is_judged = any(event.what == "verdict" for event in detail.events)
            assert is_judged == (detail.task.state == "accepted"), "state and events of one moment"


async def test_a_poster_learns_why_nobody_bids(pair: Pair) -> None:
    task = await pair.ada.post(PostRequest(capability="text.count", input=b"a", price_max=1))
    bo = (await pair.bo.desk.status()).agent
    async with asyncio.timeout(TIMEOUT_S):
        async for detail in pair.ada.watch(task):
            declines = [event for event in detail.events if event.what == "decline"]
            if declines:
                assert (declines[0].agent, declines[0].untrusted_note) == (bo, "price")
                assert detail.task.state == "open"
                return
    raise AssertionError("the task was over before")
