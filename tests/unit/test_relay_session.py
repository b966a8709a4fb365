"""A session over links in memory, with a relay at the other end that does what the test says."""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from tests.scripted_relay import ADDRESS, NODE, STORE, Listener, Scene, Wire, opened

from bazaar_host.links import Link
from bazaar_host.memory import MemoryNetwork
from bazaar_node.network.relay_link import Timing
from bazaar_node.network.relay_session import RelaySession
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, MalformedRecord, Refused, StorageError, Unreachable
from bazaar_protocol.framing import pack


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with opened() as scene:
        yield scene


async def serve_publishes(wire: Wire, count: int) -> list[tuple[bytes, ...]]:
    batches: list[tuple[bytes, ...]] = []
    while sum(map(len, batches)) < count:
        publish = await wire.take(frames.Publish)
        batches.append(publish.records)
        statuses = tuple(f"kept {raw[:4].hex()}" for raw in publish.records)
        await wire.say(frames.Published(publish.request, statuses))
    return batches


async def test_news_reach_the_listener_in_order(scene: Scene) -> None:
    wire = await scene.connected()
    assert scene.session.is_connected
    assert scene.session.welcome is not None
    await scene.session.subscribe([frames.Filter(to=(NODE.agent,))], 3)
    subscribe = await wire.take(frames.Subscribe)
    assert subscribe.filters == (frames.Filter(to=(NODE.agent,)),)
    assert subscribe.since == 3
    await wire.say(
        frames.Event(4, b"a"),
        frames.Letter(1, b"sealed"),
        frames.CaughtUp(subscribe.request, 4),
        frames.Lagged(5),
        frames.Event(6, b"b"),
    )
    assert [await scene.listener.said.get() for _ in range(5)] == [
        ("event", 4, b"a"),
        ("letter", 1, b"sealed"),
        ("caught up", 4),
        ("lagged", 5),
        ("event", 6, b"b"),
    ]


async def test_the_end_of_a_replaced_subscription_is_not_told(scene: Scene) -> None:
    wire = await scene.connected()
    await scene.session.subscribe([], 0)
    await scene.session.subscribe([], 9)
    first, second = await wire.take(frames.Subscribe), await wire.take(frames.Subscribe)
    await wire.say(frames.CaughtUp(first.request, 8), frames.CaughtUp(second.request, 9))
    assert await scene.listener.heard("caught up") == ("caught up", 9)


async def test_answers_find_their_requests_whatever_their_order(scene: Scene) -> None:
    wire = await scene.connected()
    asking = [asyncio.create_task(scene.session.head(bytes([n] * 32))) for n in range(5)]
    requests = [await wire.take(frames.GetHead) for _ in range(5)]
    for request in reversed(requests):
        await wire.say(frames.Segment(request.request, (request.author[:1],), 0, more=False))
    assert await asyncio.gather(*asking) == [bytes([n]) for n in range(5)]


async def test_publishing_splits_and_keeps_the_order(scene: Scene) -> None:
    wire = await scene.connected()
    small = [n.to_bytes(4) for n in range(600)]
    large = [n.to_bytes(4) * 16_000 for n in range(40)]
    serving = asyncio.create_task(serve_publishes(wire, 640))
    statuses = await scene.session.publish([*small, *large])
    batches = await serving
    assert [raw for batch in batches for raw in batch] == [*small, *large]
    assert statuses == [f"kept {raw[:4].hex()}" for raw in [*small, *large]]
    assert list(map(len, batches[:3])) == [256, 256, 90]
    assert await scene.session.publish([]) == []


async def test_a_refusal_names_its_code(scene: Scene) -> None:
    wire = await scene.connected()
    asking = asyncio.create_task(scene.session.claim(bytes(32)))
    claim = await wire.take(frames.Claim)
    await wire.say(frames.Error(claim.request, "taken", "by another"))
    with pytest.raises(Refused, match="taken: by another"):
        await asking
    assert scene.session.is_connected


async def test_every_request_has_its_answer(scene: Scene) -> None:
    wire = await scene.connected()

    async def answer() -> None:
        query = await wire.take(frames.Query)
        assert (query.capability, query.words, query.after) == ("pdf", "fast", "p")
        await wire.say(frames.Adverts(query.request, (b"x",), "q"))
        claim = await wire.take(frames.Claim)
        await wire.say(frames.Claimed(claim.request, b"award"))
        mail = await wire.take(frames.Mail)
        assert (mail.to, mail.sealed) == (NODE.agent, b"s")
        await wire.say(frames.Mailed(mail.request))
        for count in (256, 44):
            collect = await wire.take(frames.Collect)
            assert len(collect.numbers) == count
            await wire.say(frames.Collected(collect.request))
        ping = await wire.take(frames.Ping)
        await wire.say(frames.Pong(ping.request))

    answering = asyncio.create_task(answer())
    assert (await scene.session.query("pdf", "fast", after="p")).records == (b"x",)
    assert await scene.session.claim(bytes(32)) == b"award"
    await scene.session.mail(NODE.agent, b"s")
    await scene.session.collect(range(300))
    assert await scene.session.ping() >= 0
    await answering


async def test_logs_and_tasks_are_read_to_the_end(scene: Scene) -> None:
    wire = await scene.connected()

    async def answer() -> None:
        for first in (3, 5, 7):
            get = await wire.take(frames.GetLog)
            assert (get.first, get.last) == (first, 7)
            records = tuple(b"%d" % n for n in range(first, min(first + 2, 8)))
            await wire.say(frames.Segment(get.request, records, 0, more=first < 7))
        for after in (0, 50):
            task = await wire.take(frames.GetTask)
            assert task.after == after
            await wire.say(frames.Segment(task.request, (b"t",), after + 50, more=after == 0))
        head = await wire.take(frames.GetHead)
        await wire.say(frames.Segment(head.request, (), 0, more=False))

    answering = asyncio.create_task(answer())
    assert await scene.session.log(NODE.agent, 3, 7) == [b"3", b"4", b"5", b"6", b"7"]
    assert await scene.session.task(bytes(32)) == [b"t", b"t"]
    assert await scene.session.head(NODE.agent) is None
    await answering


async def test_a_lost_link_fails_what_waits_and_is_dialed_again(scene: Scene) -> None:
    wire = await scene.connected()
    asking = asyncio.create_task(scene.session.ping())
    await wire.take(frames.Ping)
    wire.link.close()
    with pytest.raises(LinkClosed):
        await asking
    await scene.listener.heard("disconnected")
    with pytest.raises(Unreachable):
        await scene.session.ping()
    await scene.connected()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xc1",
        b"\x93\xa5event",
        frames.encode_frame(frames.Ping(1)),
        frames.encode_frame(frames.Welcome(1, "", (), STORE, 0, b"")),
        frames.encode_frame(frames.Pong(99)),
        frames.encode_frame(frames.Mailed(1)),
        frames.encode_frame(frames.Error(99, "x", "")),
    ],
    ids=["garbage", "cut", "request", "second welcome", "pong to nothing", "wrong type", "error"],
)
async def test_nonsense_ends_the_link_and_never_the_session(scene: Scene, nonsense: bytes) -> None:
    wire = await scene.connected()
    asking = asyncio.create_task(scene.session.ping())
    await wire.take(frames.Ping)
    await wire.link.send(pack(nonsense))
    await scene.listener.heard("disconnected")
    with pytest.raises(LinkClosed):
        await asking
    assert scene.session.malformed_count == 1
    await scene.connected()
    assert not scene.running.done()


@pytest.mark.parametrize(
    "answer",
    [
        frames.Segment(1, (), 0, more=True),
        frames.Segment(1, (b"a", b"b", b"c"), 0, more=False),
        frames.Segment(1, (b"a", b"b", b"c"), 0, more=True),
    ],
)
async def test_an_answer_that_lies_ends_the_link(scene: Scene, answer: frames.Segment) -> None:
    wire = await scene.connected()
    asking = asyncio.create_task(scene.session.log(NODE.agent, 1, 2))
    await wire.take(frames.GetLog)
    await wire.say(answer)
    with pytest.raises(MalformedRecord):
        await asking
    await scene.listener.heard("disconnected")
    assert scene.session.malformed_count == 1


async def test_records_of_a_task_without_end_end_the_link(scene: Scene) -> None:
    wire = await scene.connected()
    asking = asyncio.create_task(scene.session.task(bytes(32), after=5))
    get = await wire.take(frames.GetTask)
    await wire.say(frames.Segment(get.request, (b"t",), 5, more=True))
    with pytest.raises(MalformedRecord, match="no end"):
        await asking


async def test_too_few_statuses_end_the_link(scene: Scene) -> None:
    wire = await scene.connected()
    asking = asyncio.create_task(scene.session.publish([b"a", b"b"]))
    publish = await wire.take(frames.Publish)
    await wire.say(frames.Published(publish.request, ("accepted",)))
    with pytest.raises(MalformedRecord, match="1 statuses for 2 records"):
        await asking
    await scene.listener.heard("disconnected")


async def test_a_refused_subscription_ends_the_link(scene: Scene) -> None:
    wire = await scene.connected()
    await scene.session.subscribe([], 0)
    subscribe = await wire.take(frames.Subscribe)
    await wire.say(frames.Error(subscribe.request, "rate-limited", "later"))
    assert await scene.listener.heard("disconnected") == ("disconnected", "rate-limited: later")


@pytest.mark.parametrize(
    "first",
    [
        frames.Welcome(99, "", (), STORE, 0, b""),
        frames.Error(0, "blocked", "go away"),
        frames.Pong(1),
    ],
)
async def test_a_relay_that_does_not_welcome_us_is_asked_again(
    scene: Scene, first: frames.Frame
) -> None:
    wire = await scene.relay.next()
    await wire.take(frames.Hello)
    await wire.say(first)
    await wire.link.wait_closed()
    await scene.connected()
    assert scene.session.last_failure


async def test_a_silent_welcome_has_a_deadline() -> None:
    hasty = Timing(request_s=0.05, backoff_first_s=0.001, backoff_s_max=0.01)
    async with opened(hasty) as scene:
        silent = await scene.relay.next()
        await silent.link.wait_closed()
        await scene.connected()


async def test_a_request_has_a_deadline_and_a_late_answer_harms_nobody() -> None:
    async with opened(Timing(request_s=0.05)) as scene:
        wire = await scene.connected()
        with pytest.raises(LinkClosed, match="no answer"):
            await scene.session.ping()
        late = await wire.take(frames.Ping)
        await wire.say(frames.Pong(late.request), frames.Event(1, b"x"))
        await scene.listener.heard("event")


async def test_a_stopped_relay_is_noticed() -> None:
    hasty = Timing(ping_after_s=0.05, pong_s=0.05, backoff_first_s=0.001, backoff_s_max=0.01)
    async with opened(hasty) as scene:
        wire = await scene.connected()
        ping = await wire.take(frames.Ping)
        await wire.say(frames.Pong(ping.request))
        await wire.take(frames.Ping)
        assert "said nothing" in str((await scene.listener.heard("disconnected"))[1])
        await scene.connected()


async def test_a_slow_listener_holds_the_relay_back_but_may_still_ask() -> None:
    listener = Listener()
    listener.gate.clear()
    async with opened(listener=listener) as scene:
        wire = await scene.connected()
        sent = 0
        event = pack(frames.encode_frame(frames.Event(1, bytes(20_000))))
        while wire.link.offer(event):
            sent += 1
            for _ in range(5):
                await asyncio.sleep(0)
        held = limits.SESSION_QUEUE_BYTES_MAX + 3 * limits.LINK_SEND_QUEUE_BYTES_MAX
        assert sent * len(event) < held
        # The relay's answer stands behind all of these events.
        asking = asyncio.create_task(scene.session.ping())
        ping = await wire.take(frames.Ping)
        await wire.say(frames.Pong(ping.request))
        await asking
        listener.gate.set()
        for _ in range(sent):
            await listener.heard("event")


async def test_a_refusal_that_leaves_the_listener_costs_the_link_only(scene: Scene) -> None:
    scene.listener.failure = Refused("no", "way")
    wire = await scene.connected()
    await wire.say(frames.Event(1, b"x"))
    await scene.listener.heard("disconnected")
    await scene.connected()


async def test_our_own_fault_ends_the_session(scene: Scene) -> None:
    scene.listener.failure = StorageError("the disk is gone")
    wire = await scene.connected()
    await wire.say(frames.Event(1, b"x"))
    with pytest.raises(StorageError):
        await scene.running


async def test_cancelling_closes_the_link(scene: Scene) -> None:
    wire = await scene.connected()
    scene.running.cancel()
    await wire.link.wait_closed()
    await asyncio.wait([scene.running])
    assert not scene.session.is_connected


@pytest.mark.parametrize("steps", range(12))
async def test_cancelling_is_not_forgotten_when_the_link_fails_as_well(steps: int) -> None:
    async with opened() as scene:
        wire = await scene.connected()
        await wire.link.send(pack(b"\xc1"))
        for _ in range(steps):
            await asyncio.sleep(0)
        scene.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scene.running


async def test_attempts_grow_rarer_and_are_spread() -> None:
    network, ear = MemoryNetwork(), Listener()
    dialed: list[float] = []
    async with network.open(NODE, [], [], lambda link: link.close()) as transport:
        loop = asyncio.get_running_loop()

        class Counting:
            addresses: list[str] = []  # noqa: RUF012

            async def dial(self, peer: None, addresses: list[str], protocol: str) -> Link:
                dialed.append(loop.time())
                return await transport.dial(peer, addresses, protocol)

            async def close(self) -> None: ...

        timing = Timing(backoff_first_s=0.02, backoff_s_max=0.1)
        session = RelaySession(Counting(), ADDRESS, ear, rng=random.Random(1), timing=timing)  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await session.run()
    gaps = [later - earlier for earlier, later in pairwise(dialed)]
    assert "nobody listens there" in session.last_failure
    assert ADDRESS not in session.last_failure, "whoever shows it says of which relay it is"
    assert 5 <= len(dialed) <= 13
    assert gaps[0] < 0.04 < max(gaps)
    assert ear.said.empty()
