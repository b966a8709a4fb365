"""The contract of links, for every kind of link: whoever passes these may be used for another."""

import asyncio
import os
from collections.abc import AsyncGenerator

import pytest
from tests.links import (
    Libp2pPlace,
    MemoryPlace,
    Place,
    Program,
    WebSocketPlace,
    check_echo,
    receive,
)

from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_protocol import limits
from bazaar_protocol.errors import AddressInUse, LinkClosed, Unreachable
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair, to_peer_id

STRANGER = Keypair.from_name("stranger").agent
FLOOD_BYTES_MAX = 4 * limits.MIB
"""Both queues, a yamux window and what the kernel holds fit into it."""


@pytest.fixture(params=[MemoryPlace, Libp2pPlace, WebSocketPlace])
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.param()
    return made


@pytest.fixture
async def server(place: Place) -> AsyncGenerator[Program]:
    async with place.open("server") as program:
        yield program


@pytest.fixture
async def client(place: Place) -> AsyncGenerator[Program]:
    async with place.open("client", listen=[]) as program:
        yield program


@pytest.fixture
async def pair(client: Program, server: Program) -> tuple[Link, Link]:
    return await client.pair(server)


async def fill(link: Link) -> int:
    """Send until the link takes no more, and return how many frames of 10 kB it took."""
    count = 0
    while count * 10_000 < 2 * FLOOD_BYTES_MAX:
        try:
            await asyncio.wait_for(link.send(pack(count.to_bytes(4) + bytes(9_996))), 0.5)
        except TimeoutError:
            return count
        count += 1
    raise AssertionError("nothing held the sender back")


async def test_both_ends_know_who_is_at_the_other(
    client: Program, server: Program, pair: tuple[Link, Link]
) -> None:
    ours, theirs = pair
    assert (ours.peer, ours.protocol, ours.inbound) == (server.agent, RELAY_PROTOCOL, False)
    assert (theirs.peer, theirs.protocol, theirs.inbound) == (client.agent, RELAY_PROTOCOL, True)
    assert ours.address == theirs.address
    assert theirs.address in {"memory", "127.0.0.1"}


@pytest.mark.parametrize("size", [0, 1, 300, 65_507, limits.FRAME_BYTES_MAX])
async def test_frames_of_every_size_come_back(pair: tuple[Link, Link], size: int) -> None:
    await check_echo(*pair, os.urandom(size))


async def test_many_frames_stay_in_order(pair: tuple[Link, Link]) -> None:
    ours, theirs = pair
    bodies = [number.to_bytes(4) * (1 + number % 100) for number in range(20_000)]

    async def send() -> None:
        for start in range(0, len(bodies), 7):
            await ours.send(b"".join(map(pack, bodies[start : start + 7])))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        assert await receive(theirs, len(bodies)) == bodies


async def test_sender_waits_for_a_reader_that_pauses_and_goes_on(pair: tuple[Link, Link]) -> None:
    ours, theirs = pair
    count = await fill(ours)
    assert count * 10_000 < FLOOD_BYTES_MAX
    bodies = await receive(theirs, count)
    assert [int.from_bytes(body[:4]) for body in bodies] == list(range(count))
    await check_echo(ours, theirs)


async def test_offer_never_waits(pair: tuple[Link, Link]) -> None:
    ours, theirs = pair
    assert ours.offer(pack(b"first"))
    assert await receive(theirs, 1) == [b"first"]
    count = await fill(ours)
    assert not ours.offer(pack(b"too much"))
    await receive(theirs, count)
    await ours.send(pack(b"room again"))
    assert await receive(theirs, 1) == [b"room again"]
    assert ours.offer(pack(b"last"))
    assert await receive(theirs, 1) == [b"last"]


async def test_what_was_sent_before_the_end_arrives(pair: tuple[Link, Link]) -> None:
    ours, theirs = pair
    for number in range(100):
        await ours.send(pack(number.to_bytes(4) + bytes(5_000)))
    ours.close()
    assert len(await receive(theirs, 100)) == 100
    with pytest.raises(LinkClosed):
        await theirs.receive()


async def test_end_is_seen_on_both_sides(pair: tuple[Link, Link]) -> None:
    ours, theirs = pair
    waiting = asyncio.create_task(theirs.receive())
    await asyncio.sleep(0)
    ours.close()
    async with asyncio.timeout(5):
        await ours.wait_closed()
        await theirs.wait_closed()
        with pytest.raises(LinkClosed):
            await waiting
    for link in pair:
        with pytest.raises(LinkClosed):
            await link.send(pack(b"x"))
        with pytest.raises(LinkClosed):
            link.offer(pack(b"x"))
        with pytest.raises(LinkClosed):
            await link.receive()
        link.close()


async def test_end_frees_a_sender_that_waits(pair: tuple[Link, Link]) -> None:
    ours, theirs = pair
    await fill(ours)
    sending = asyncio.create_task(ours.send(pack(b"x")))
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(sending, 5)


async def test_closing_a_transport_ends_its_links_and_its_waiters(
    place: Place, client: Program
) -> None:
    async with place.open("other") as other:
        ours, theirs = await client.pair(other)
        waiting = asyncio.create_task(theirs.receive())
        await asyncio.sleep(0)
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(ours.receive(), 5)
    with pytest.raises(Unreachable):
        await client.link_to(other)
    with pytest.raises(Unreachable):
        await other.link_to(client)
    await other.transport.close()


async def test_a_new_link_after_the_end_of_the_first(client: Program, server: Program) -> None:
    for _ in range(3):
        ours, theirs = await client.pair(server)
        await check_echo(ours, theirs)
        ours.close()
        await theirs.wait_closed()


async def test_dialing_nobody_names_every_address(place: Place, client: Program) -> None:
    with pytest.raises(Unreachable, match=place.nobody) as caught:
        await client.transport.dial(STRANGER, [place.nobody, "nonsense"], RELAY_PROTOCOL)
    assert "nonsense" in str(caught.value)
    with pytest.raises(Unreachable, match="no addresses"):
        await client.transport.dial(STRANGER, [], RELAY_PROTOCOL)


async def test_another_identity_at_the_address_is_not_the_peer(
    client: Program, server: Program
) -> None:
    addresses = [text.partition("/p2p/")[0] for text in server.transport.addresses]
    with pytest.raises(Unreachable):
        await client.transport.dial(STRANGER, addresses, RELAY_PROTOCOL)
    named = [f"{text}/p2p/{to_peer_id(STRANGER)}" for text in addresses]
    with pytest.raises(Unreachable):
        await client.transport.dial(None, named, RELAY_PROTOCOL)
    assert server.inbound.empty()


async def test_peer_may_be_named_by_the_address_alone(client: Program, server: Program) -> None:
    link = await client.transport.dial(None, server.transport.addresses, RELAY_PROTOCOL)
    assert link.peer == server.agent
    bare = [text.partition("/p2p/")[0] for text in server.transport.addresses]
    with pytest.raises(Unreachable):
        await client.transport.dial(None, bare, RELAY_PROTOCOL)


async def test_first_address_that_answers_is_taken(
    place: Place, client: Program, server: Program
) -> None:
    addresses = [place.nobody, *server.transport.addresses]
    link = await client.transport.dial(server.agent, addresses, RELAY_PROTOCOL)
    assert link.peer == server.agent


async def test_protocol_that_is_not_spoken_is_refused(client: Program, server: Program) -> None:
    with pytest.raises(Unreachable):
        await client.transport.dial(server.agent, server.transport.addresses, "/other/1")
    await check_echo(*await client.pair(server))


async def test_oversized_frame_ends_its_link_and_no_other(client: Program, server: Program) -> None:
    bad, theirs_bad = await client.pair(server)
    good, theirs_good = await client.pair(server)
    await bad.send((limits.FRAME_BYTES_MAX + 1).to_bytes(4))
    async with asyncio.timeout(5):
        await theirs_bad.wait_closed()
        await bad.wait_closed()
    await check_echo(good, theirs_good)


async def test_cancelled_receive_loses_nothing(pair: tuple[Link, Link]) -> None:
    ours, theirs = pair
    bodies: list[bytes] = []
    for number in range(200):
        waiting = asyncio.create_task(theirs.receive())
        await asyncio.sleep(0)
        await ours.send(pack(bytes([number])))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        bodies += [] if waiting.cancelled() else waiting.result()
    bodies += await receive(theirs, 200 - len(bodies))
    assert bodies == [bytes([number]) for number in range(200)]


async def test_cancelled_dials_harm_nobody(client: Program, server: Program) -> None:
    ours, theirs = await client.pair(server)
    for turns in range(30):
        dialing = asyncio.create_task(client.link_to(server))
        for _ in range(turns):
            await asyncio.sleep(0)
        dialing.cancel()
        await asyncio.wait([dialing])
        if not dialing.cancelled():
            dialing.result().close()
    await check_echo(ours, theirs)
    while not server.inbound.empty():
        await asyncio.wait_for(server.inbound.get_nowait().wait_closed(), 5)
    await check_echo(*await client.pair(server))


async def test_link_that_comes_up_too_late_is_closed(client: Program, server: Program) -> None:
    for _ in range(20):
        dialing = asyncio.create_task(client.link_to(server))
        theirs = await asyncio.wait_for(server.inbound.get(), 5)
        dialing.cancel()  # between the answer and the moment in which it gets here
        await asyncio.wait([dialing])
        if not dialing.cancelled():
            dialing.result().close()
        await asyncio.wait_for(theirs.wait_closed(), 5)


async def test_a_taken_address_is_refused(place: Place, server: Program) -> None:
    taken = [text.partition("/p2p/")[0] for text in server.transport.addresses]
    with pytest.raises(AddressInUse):
        async with place.open("late", listen=taken):
            pass
