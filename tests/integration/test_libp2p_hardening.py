"""Each defect of libp2p 0.8.1 that we know of and mend, attacked: the host goes on serving."""

import asyncio
import random
import socket
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from libp2p.transport.exceptions import SecurityUpgradeFailure
from tests.attackers import (
    MULTISTREAM,
    Caller,
    Proxy,
    attack,
    connect,
    secure,
    wait_for_end,
    yamux_stream,
)
from tests.links import Libp2pPlace, Program, check_echo, receive

from bazaar_host.addresses import Address
from bazaar_host.admission import ConnectionLimits
from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_protocol import limits
from bazaar_protocol.errors import AddressInUse, Unreachable
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair

ANY_PORT = ["/ip4/127.0.0.1/tcp/0"]
PLACE = Libp2pPlace()
USUAL = ConnectionLimits()


@asynccontextmanager
async def victim(bounds: ConnectionLimits = USUAL) -> AsyncGenerator[Program]:
    """Open a host that listens, with a few limits of its own."""
    keys = Keypair.from_name("victim")
    inbound: asyncio.Queue[Link] = asyncio.Queue()
    async with Libp2pTransport.open(
        keys,
        ANY_PORT,
        [RELAY_PROTOCOL],
        inbound.put_nowait,
        bounds=bounds,
    ) as transport:
        yield Program(transport, keys, inbound)


@pytest.fixture
async def host() -> AsyncGenerator[Program]:
    async with victim() as program:
        yield program


def address_of(host: Program) -> str:
    return host.transport.addresses[0]


async def check_serves(host: Program) -> None:
    """Check that an honest newcomer gets a link."""
    async with PLACE.open("newcomer", listen=[]) as newcomer:
        await check_echo(*await newcomer.pair(host))


async def wait_until_served(host: Program) -> None:
    """Try until a newcomer gets a link: a slot is given back a moment after its end."""
    async with asyncio.timeout(10), PLACE.open("newcomer", listen=[]) as newcomer:
        while True:
            try:
                await check_echo(*await newcomer.pair(host))
            except Unreachable:
                continue
            return


# Who is there.


async def test_plaintext_is_refused(host: Program) -> None:
    async def claim_without_proof() -> None:
        with pytest.raises(SecurityUpgradeFailure):
            await secure(address_of(host), plaintext=True)

    await attack(claim_without_proof)
    await check_serves(host)
    assert host.inbound.empty()


# Bytes.


async def test_garbage_instead_of_a_handshake_harms_nobody(host: Program) -> None:
    rng = random.Random(1)
    garbage = [
        b"",
        b"\xff" * 2000,
        b"\xff\xff\xff\xff\x07" + bytes(1000),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x04\xff\xfe\xfd\xfc",
        MULTISTREAM + b"\x03\xff\xfe\n",
        MULTISTREAM + b"\x07/noise\n" + b"\x00\x00" * 50,
        MULTISTREAM + b"\x07/noise\n" + b"\xff\xff" + rng.randbytes(70_000),
        *(MULTISTREAM + b"\x07/noise\n" + rng.randbytes(rng.randrange(300)) for _ in range(50)),
        *(MULTISTREAM + rng.randbytes(rng.randrange(300)) for _ in range(50)),
        *(rng.randbytes(rng.randrange(300)) for _ in range(50)),
    ]
    for raw in garbage:
        caller = await Caller.connect(address_of(host))
        caller.writer.write(raw)
        caller.writer.write_eof()
        await caller.end()
    await check_serves(host)


async def test_endless_negotiation_is_cut_off(host: Program) -> None:
    caller = await Caller.connect(address_of(host))
    announced = b"\x80\x80\x80\x80\x04"  # a name of a gigabyte
    caller.writer.write(announced + bytes(2 * limits.NEGOTIATION_BYTES_MAX))
    await caller.end()
    await check_serves(host)


async def test_garbage_after_the_handshake_harms_nobody(host: Program) -> None:
    rng = random.Random(2)
    garbage = [
        yamux_stream(MULTISTREAM + b"\x03\xff\xfe\n"),
        yamux_stream(b"\xff" * 100),
        yamux_stream(b""),
        *(rng.randbytes(200) for _ in range(10)),
        *(yamux_stream(MULTISTREAM + rng.randbytes(100)) for _ in range(10)),
    ]

    async def send(raw: bytes) -> None:
        connection = await connect(address_of(host))
        await connection.write(raw)
        with trio.move_on_after(0.05):
            await wait_for_end(connection)
        await connection.close()

    async def send_all() -> None:
        for raw in garbage:
            await send(raw)

    await attack(send_all)
    await check_serves(host)


async def test_bytes_that_are_no_text_end_their_stream_and_no_other(host: Program) -> None:
    text = f"{RELAY_PROTOCOL}\n".encode()
    hello = MULTISTREAM + bytes([len(text)]) + text

    async def send() -> None:
        connection = await connect(address_of(host))
        await connection.write(yamux_stream(MULTISTREAM + b"\x03\xff\xfe\n", number=1))
        await connection.write(yamux_stream(hello + pack(b"good"), number=3))
        await trio.to_thread.run_sync(arrived.wait)
        await connection.close()

    arrived = threading.Event()
    attacking = asyncio.create_task(attack(send))
    link = await asyncio.wait_for(host.inbound.get(), 5)
    assert await asyncio.wait_for(link.receive(), 5) == [b"good"]
    arrived.set()
    await attacking


async def test_handler_that_raises_ends_nothing() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    seen: asyncio.Queue[Link] = asyncio.Queue()

    def handle(link: Link) -> None:
        seen.put_nowait(link)
        if seen.qsize() == 1:
            raise ZeroDivisionError

    keys = Keypair.from_name("victim")
    async with (
        Libp2pTransport.open(keys, ANY_PORT, [RELAY_PROTOCOL], handle) as transport,
        PLACE.open("client", listen=[]) as client,
    ):
        first = await client.transport.dial(None, transport.addresses, RELAY_PROTOCOL)
        second = await client.transport.dial(None, transport.addresses, RELAY_PROTOCOL)
        ends = [await seen.get(), await seen.get()]
        assert isinstance(reports[0]["exception"], ZeroDivisionError)
        await check_echo(first, ends[0])
        await check_echo(second, ends[1])


# Slots.


async def test_slots_are_given_back_after_300_connections(host: Program) -> None:
    async def come_and_go() -> None:
        for _ in range(300):
            connection = await connect(address_of(host))
            await connection.close()

    await attack(come_and_go)
    for _ in range(100):
        await (await Caller.connect(address_of(host))).close()
    await wait_until_served(host)


async def test_a_hundred_links_one_after_the_other_share_a_connection() -> None:
    async with (
        victim(ConnectionLimits(per_address_max=1)) as host,
        PLACE.open("client", listen=[]) as client,
    ):
        for _ in range(100):
            ours, theirs = await client.pair(host)
            ours.close()
            await theirs.wait_closed()


@pytest.mark.parametrize(
    "bounds",
    [
        ConnectionLimits(per_address_max=2),
        ConnectionLimits(pending_max=2),
        ConnectionLimits(total_max=2),
    ],
)
async def test_connections_past_a_bound_are_refused_until_one_ends(
    bounds: ConnectionLimits,
) -> None:
    async with victim(bounds) as host:
        callers = [await Caller.connect(address_of(host)) for _ in range(3)]
        admitted = [await caller.is_admitted() for caller in callers]
        assert admitted.count(True) == 2
        for caller in callers:
            await caller.close()
        await wait_until_served(host)


async def test_streams_past_the_bound_are_refused() -> None:
    async with (
        victim(ConnectionLimits(per_address_max=1, streams_max=2)) as host,
        PLACE.open("client", listen=[]) as client,
    ):
        first, second = await client.pair(host), await client.pair(host)
        with pytest.raises(Unreachable):
            await client.link_to(host)
        await check_echo(*first)
        await check_echo(*second)


async def test_silent_callers_are_sent_away(host: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NEGOTIATION_TIMEOUT_S", 0.2)
    await (await Caller.connect(address_of(host))).end()


async def test_idle_connections_are_closed(host: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTION_IDLE_S_MAX", 0.1)

    async def idle() -> None:
        await wait_for_end(await connect(address_of(host)))

    await attack(idle)
    await check_serves(host)


# Dialing.


async def test_black_hole_is_given_up_in_time_and_blocks_nobody(
    host: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIAL_TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        address = str(Address("127.0.0.1", hole.getsockname()[1], host.agent))
        async with PLACE.open("client", listen=[]) as client:
            start = time.monotonic()
            waiting = asyncio.create_task(client.transport.dial(None, [address], RELAY_PROTOCOL))
            await asyncio.sleep(0)
            await check_echo(*await client.pair(host))
            assert not waiting.done()
            with pytest.raises(Unreachable, match="no answer"):
                await waiting
            assert 0.9 < time.monotonic() - start < 5


async def test_cancelled_dial_hangs_up(host: Program) -> None:
    called: asyncio.Queue[Caller] = asyncio.Queue()
    hole = await asyncio.start_server(
        lambda reader, writer: called.put_nowait(Caller(reader, writer)), "127.0.0.1", 0
    )
    address = str(Address("127.0.0.1", hole.sockets[0].getsockname()[1], host.agent))
    async with hole, PLACE.open("client", listen=[]) as client:
        dialing = asyncio.create_task(client.transport.dial(None, [address], RELAY_PROTOCOL))
        caller = await called.get()
        dialing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialing
        await caller.end()


async def test_half_dead_connection_does_not_keep_us_from_the_peer(
    host: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REUSE_TIMEOUT_S", 0.2)
    async with (
        Proxy.open(address_of(host)) as proxy,
        PLACE.open("client", listen=[]) as client,
    ):
        await client.transport.dial(None, [proxy.address], RELAY_PROTOCOL)
        await host.inbound.get()
        proxy.freeze()
        async with asyncio.timeout(5):
            for _ in range(2):
                await check_echo(*await client.pair(host))


async def test_sending_waits_longer_than_yamux_would_for_a_reader_that_pauses(
    host: Program,
) -> None:
    async with PLACE.open("client", listen=[]) as client:
        ours, theirs = await client.pair(host)
        count = 0
        pause_s = 6  # yamux gives up after 5
        while True:
            try:
                await asyncio.wait_for(ours.send(pack(bytes(50_000))), pause_s)
            except TimeoutError:
                break
            count += 1
        assert len(await receive(theirs, count)) == count
        await check_echo(ours, theirs)


# Listening.


async def listen_on(addresses: Sequence[str]) -> list[str]:
    async with PLACE.open("second", listen=addresses) as program:
        return list(program.transport.addresses)


@pytest.mark.parametrize("is_shared", [False, True])
async def test_taken_port_is_an_error_even_if_its_owner_would_share_it(is_shared: bool) -> None:
    with socket.socket() as taken:
        if is_shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AddressInUse, match=str(taken.getsockname()[1])):
            await listen_on([str(Address(*taken.getsockname()))])


async def test_nobody_can_share_our_port(host: Program) -> None:
    place = Address.parse(address_of(host))
    with pytest.raises(AddressInUse):
        await listen_on([str(Address(place.host, place.port))])
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind((place.host, place.port))


async def test_addresses_are_bound_all_or_none() -> None:
    free = (await listen_on(ANY_PORT))[0].partition("/p2p/")[0]
    not_ours = "/ip4/192.0.2.1/tcp/4001"
    with pytest.raises(AddressInUse, match=r"192\.0\.2\.1"):
        await listen_on([free, not_ours])
    assert await listen_on([free])


async def test_starting_and_stopping_leaves_nothing_behind(host: Program) -> None:
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    for number in range(10):
        async with PLACE.open(f"program {number}") as program:
            await check_echo(*await program.pair(host))
    assert threading.active_count() <= threads  # trio keeps idle workers, which go by themselves
    assert len(asyncio.all_tasks()) == tasks
