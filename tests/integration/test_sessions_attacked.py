"""Peers that abuse their sessions: they are sent away, it is counted why, and others are served."""

import asyncio
import os
import random
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import psutil
import pytest
import trio
from tests import yamux_attacks
from tests.attackers import Proxy, attack, connect, yamux_stream
from tests.benchmarks.peer import peer
from tests.links import Libp2pPlace, Program, check_echo, receive
from tests.yamux_attacks import HELLO, connected
from tests.yamux_frames import DATA, UPDATE, frame

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_host.yamux.breaches import Breach
from bazaar_protocol import limits
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair

PLACE = Libp2pPlace()
INPUTS = int(os.environ.get("BAZAAR_FUZZ_INPUTS", "100000"))
SEED = int(os.environ.get("BAZAAR_FUZZ_SEED", str(random.SystemRandom().randrange(2**32))))
FRAMES_PER_BABBLE = 60
KERNEL_BYTES_MAX = 8 * limits.MIB
"""What may be on its way through the sockets when a peer is cut off."""
GROWTH_BYTES_MAX = 12 * limits.MIB


class Victim(Program):
    """A host, and why it sent peers away."""

    breaches: "asyncio.Queue[str]"


@asynccontextmanager
async def victim() -> AsyncGenerator[Victim]:
    keys = Keypair.from_name("victim")
    inbound: asyncio.Queue[Link] = asyncio.Queue()
    breaches: asyncio.Queue[str] = asyncio.Queue()
    async with Libp2pTransport.open(
        keys,
        ["/ip4/127.0.0.1/tcp/0"],
        [RELAY_PROTOCOL],
        inbound.put_nowait,
        on_breach=breaches.put_nowait,
    ) as transport:
        program = Victim(transport, keys, inbound)
        program.breaches = breaches
        yield program


@pytest.fixture
async def host() -> AsyncGenerator[Victim]:
    async with victim() as program:
        yield program


def address_of(host: Program) -> str:
    return host.transport.addresses[0]


async def next_breach(host: Victim) -> str:
    return await asyncio.wait_for(host.breaches.get(), 10)


async def check_serves(host: Program) -> None:
    async with PLACE.open("newcomer", listen=[]) as newcomer:
        await check_echo(*await newcomer.pair(host))


# Too much.


async def test_two_hundred_megabytes_are_cut_off_at_the_window(host: Victim) -> None:
    pushed: list[int] = []
    await attack(yamux_attacks.overrun_window, address_of(host), 200 * 10**6, pushed.append)
    assert await next_breach(host) == Breach.WINDOW
    assert pushed[0] < KERNEL_BYTES_MAX
    link = host.inbound.get_nowait()
    await asyncio.wait_for(link.wait_closed(), 5)
    await check_serves(host)


@pytest.mark.parametrize("are_reset", [False, True])
async def test_twenty_thousand_streams_end_the_session(host: Victim, are_reset: bool) -> None:
    async def flood() -> None:
        await yamux_attacks.open_streams(
            address_of(host), 20_000, is_reading=False, are_reset=are_reset
        )

    await attack(flood)
    assert await next_breach(host) == Breach.FLOOD
    assert host.inbound.empty()
    await check_serves(host)


async def test_flood_of_pings_ends_the_session(host: Victim) -> None:
    await attack(yamux_attacks.ping, address_of(host), 2_000_000)
    assert await next_breach(host) == Breach.FLOOD
    await check_serves(host)


# Too little.


async def test_stopped_peer_is_found_out(host: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "YAMUX_PING_AFTER_S", 0.3)
    monkeypatch.setattr(limits, "YAMUX_PONG_TIMEOUT_S", 0.2)
    async with Proxy.open(address_of(host)) as proxy, PLACE.open("client", listen=[]) as client:
        ours = await client.transport.dial(None, [proxy.address], RELAY_PROTOCOL)
        theirs = await host.inbound.get()
        for _ in range(4):  # both sides answer as long as they can
            await asyncio.sleep(0.2)
            await check_echo(ours, theirs)
        await asyncio.sleep(1)
        await check_echo(ours, theirs)
        proxy.freeze()
        assert await next_breach(host) == Breach.SILENT
        async with asyncio.timeout(5):
            await theirs.wait_closed()
            await ours.wait_closed()


async def test_peer_that_reads_nothing_is_sent_away(
    host: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LINK_WRITE_TIMEOUT_S", 0.5)
    done = trio.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def listen_to_nothing() -> None:
        token.append(trio.lowlevel.current_trio_token())
        async with connected(address_of(host), is_reading=False) as connection:
            # Its window is wide open, so all that we send gets as far as its socket.
            await connection.write(yamux_stream(HELLO) + frame(UPDATE, 0, 1, 2**30))
            await done.wait()

    attacking = asyncio.create_task(attack(listen_to_nothing))
    link = await asyncio.wait_for(host.inbound.get(), 5)

    async def send_on() -> None:
        while True:
            await asyncio.wait_for(link.send(pack(bytes(100_000))), 10)

    with pytest.raises(LinkClosed):
        await send_on()
    assert await next_breach(host) == Breach.STUCK
    token[0].run_sync_soon(done.set)
    await attacking
    await check_serves(host)


async def test_peer_that_opens_no_window_holds_up_only_its_own_link(host: Victim) -> None:
    done = trio.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def take_nothing() -> None:
        token.append(trio.lowlevel.current_trio_token())
        async with connected(address_of(host)) as connection:
            await connection.write(yamux_stream(HELLO))
            await done.wait()

    attacking = asyncio.create_task(attack(take_nothing))
    link = await asyncio.wait_for(host.inbound.get(), 5)
    sent = 0
    while link.offer(pack(bytes(10_000))):
        sent += 10_000
        await asyncio.sleep(0)
    assert sent < 2 * limits.LINK_SEND_QUEUE_BYTES_MAX + limits.YAMUX_WINDOW_BYTES
    await check_serves(host)
    assert host.breaches.empty()  # it may; an application may pause its reading
    token[0].run_sync_soon(done.set)
    await attacking
    await asyncio.wait_for(link.wait_closed(), 5)


# Something else.


class Meddler(Proxy):
    """A proxy that changes what passes, once it is told to."""

    meddle: Callable[[bytes], bytes] = staticmethod(lambda data: data)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(self.meddle(data))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.mark.parametrize(
    "meddle",
    [
        lambda data: bytes([*data[:-1], data[-1] ^ 1]),
        lambda data: data + data,
        lambda data: data[: len(data) // 2] + data[len(data) // 2 + 1 :] + b"\0",
    ],
    ids=["a bit flipped", "repeated", "a byte lost"],
)
async def test_bytes_that_were_meddled_with_end_the_session(
    host: Victim, meddle: Callable[[bytes], bytes]
) -> None:
    async with Meddler.open(address_of(host)) as proxy, PLACE.open("client", listen=[]) as client:
        ours = await client.transport.dial(None, [proxy.address], RELAY_PROTOCOL)
        theirs = await host.inbound.get()
        await check_echo(ours, theirs)
        proxy.meddle = meddle
        await ours.send(pack(b"genuine"))
        assert await next_breach(host) == Breach.FORGED
        async with asyncio.timeout(5):
            await theirs.wait_closed()
            await ours.wait_closed()
        with suppress(LinkClosed):
            while True:
                assert await theirs.receive() == [b"genuine"]
    await check_serves(host)


async def test_what_came_before_a_hard_end_is_handed_on(host: Victim) -> None:
    bodies = [number.to_bytes(2) for number in range(3 * limits.LINK_RECEIVE_QUEUE_FRAMES_MAX)]

    is_open = threading.Event()

    async def speak_and_vanish() -> None:
        connection = await connect(address_of(host))
        await connection.write(yamux_stream(HELLO))
        await trio.to_thread.run_sync(is_open.wait)
        frames = b"".join(map(pack, bodies))
        third = len(frames) // 3  # one of which fills the queue of the link
        pieces = (frames[start : start + third] for start in range(0, len(frames), third))
        await connection.write(b"".join(frame(DATA, 0, 1, body=piece) for piece in pieces))
        await connection.close()

    attacking = asyncio.create_task(attack(speak_and_vanish))
    link = await asyncio.wait_for(host.inbound.get(), 5)
    is_open.set()
    await attacking
    await check_serves(host)  # so the host has noticed that the peer is gone
    assert await receive(link, len(bodies)) == bodies
    await asyncio.wait_for(link.wait_closed(), 5)


# All of it, against a process whose memory is measured.


async def babble(address: str) -> None:
    beside = trio.CapacityLimiter(16)

    async def one(seed: int) -> None:
        async with beside:
            await yamux_attacks.babble(address, seed, FRAMES_PER_BABBLE)

    async with trio.open_nursery() as nursery:
        for number in range(max(16, INPUTS // FRAMES_PER_BABBLE // 40)):
            nursery.start_soon(one, SEED + number)


ATTACKS: dict[str, Callable[[str], Awaitable[None]]] = {
    "window": lambda address: yamux_attacks.overrun_window(address, 200 * 10**6, lambda _: None),
    "streams": lambda address: yamux_attacks.open_streams(
        address, 20_000, is_reading=True, are_reset=False
    ),
    "resets": lambda address: yamux_attacks.open_streams(
        address, 20_000, is_reading=True, are_reset=True
    ),
    "pings": lambda address: yamux_attacks.ping(address, 2_000_000),
    "babble": babble,
}


@pytest.mark.slow
@pytest.mark.xdist_group("heavy")
@pytest.mark.timeout(120 + INPUTS // 500)
async def test_no_abuse_of_sessions_fills_a_process() -> None:
    async with peer("echo-libp2p-ours") as (address, pid):
        process = psutil.Process(pid)
        await attack(babble, address)  # so that what is made once has been made
        grown: Counter[str] = Counter()
        for name, run in ATTACKS.items():
            before = process.memory_info().rss
            await attack(run, address)
            grown[name] = process.memory_info().rss - before
            async with PLACE.open("newcomer", listen=[]) as newcomer:
                link = await newcomer.transport.dial(None, [address], RELAY_PROTOCOL)
                await link.send(pack(b"still here"))
                assert await receive(link, 1) == [b"still here"]
        assert max(grown.values()) < GROWTH_BYTES_MAX, f"BAZAAR_FUZZ_SEED={SEED}: {grown}"
