"""What a node does when a relay asks it for a proof of work."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from tests.market_records import NOW_MS
from tests.scripted_relay import NODE, RELAY, Scene, Wire, opened

from bazaar_node.network.stamping import Stamper
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import Refused
from bazaar_protocol.evidence import stamp_bits
from bazaar_protocol.evidence_kinds import Stamp
from bazaar_protocol.records import unseal
from bazaar_protocol.work_wanted import WorkWanted, say_work_wanted

TODAY = NOW_MS // limits.DAY_MS
WANTED = f"pow: {say_work_wanted(WorkWanted(9, TODAY))}"


def stamper(bits_max: int = 12) -> Stamper:
    return Stamper(NODE, lambda: NOW_MS, bits_max=bits_max)


def check(raw: bytes, bits: int) -> None:
    record = unseal(raw)
    assert isinstance(record.body, Stamp)
    assert (record.author, record.body.relay, record.body.day) == (NODE.agent, RELAY.agent, TODAY)
    assert stamp_bits(record.author, record.body) >= bits


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with opened() as scene:
        scene.session.work = partial(stamper().stamp, RELAY.agent)
        yield scene


async def answer(wire: Wire, *statuses: str) -> tuple[bytes, ...]:
    """Answer the next publish, and return what was in it."""
    publish = await wire.take(frames.Publish)
    await wire.say(frames.Published(publish.request, statuses))
    return publish.records


async def test_what_was_refused_is_sent_again_after_a_stamp(scene: Scene) -> None:
    wire = await scene.connected()
    publishing = asyncio.create_task(scene.session.publish([b"a", b"b", b"c", b"d"]))
    assert await answer(wire, "accepted", WANTED, "gap: have 1", WANTED) == (b"a", b"b", b"c", b"d")
    (shown,) = await answer(wire, "accepted")
    check(shown, 9)
    assert await answer(wire, "accepted", "accepted", "stale: no") == (b"b", b"c", b"d")
    assert await publishing == ["accepted", "accepted", "accepted", "stale: no"]


async def test_a_request_is_made_again_after_a_stamp(scene: Scene) -> None:
    wire = await scene.connected()
    claiming = asyncio.create_task(scene.session.claim(bytes(32)))
    claim = await wire.take(frames.Claim)
    await wire.say(frames.Error(claim.request, "pow", WANTED.removeprefix("pow: ")))
    (shown,) = await answer(wire, "accepted")
    check(shown, 9)
    again = await wire.take(frames.Claim)
    await wire.say(frames.Claimed(again.request, b"award"))
    assert await claiming == b"award"


@pytest.mark.parametrize(
    "status",
    [
        f"pow: {say_work_wanted(WorkWanted(13, TODAY))}",
        f"pow: {say_work_wanted(WorkWanted(9, TODAY + 2))}",
        f"pow: {say_work_wanted(WorkWanted(9, TODAY - 2))}",
        "pow: a lot, please",
    ],
)
async def test_what_is_too_much_or_unclear_is_left(scene: Scene, status: str) -> None:
    wire = await scene.connected()
    publishing = asyncio.create_task(scene.session.publish([b"a"]))
    await answer(wire, status)
    assert await publishing == [status]
    mailing = asyncio.create_task(scene.session.mail(NODE.agent, b"x"))
    mail = await wire.take(frames.Mail)
    await wire.say(frames.Error(mail.request, "pow", status.removeprefix("pow: ")))
    with pytest.raises(Refused, match="pow"):
        await mailing


async def test_a_stamp_that_is_refused_is_not_insisted_on(scene: Scene) -> None:
    wire = await scene.connected()
    publishing = asyncio.create_task(scene.session.publish([b"a"]))
    await answer(wire, WANTED)
    await answer(wire, WANTED)
    assert await publishing == [WANTED]


async def test_a_stamp_is_looked_for_once_and_the_loop_goes_on_meanwhile() -> None:
    worker = stamper(bits_max=16)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    wanted = WorkWanted(16, TODAY)
    first, second = await asyncio.gather(*(worker.stamp(RELAY.agent, wanted) for _ in range(2)))
    ticking.cancel()
    assert ticks > 1
    assert first is not None
    assert first == second
    check(first, 16)
    assert await worker.stamp(RELAY.agent, WorkWanted(3, TODAY)) == first
    assert await worker.stamp(NODE.agent, WorkWanted(3, TODAY)) != first
