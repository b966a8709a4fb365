"""Our links are plain libp2p on the wire: hosts that know nothing of ours can speak with us."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio
from libp2p import new_host
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_pair
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE, Transport as Noise
from multiaddr import Multiaddr
from tests.attackers import attack
from tests.links import Libp2pPlace, check_echoes, echoing

from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import limits
from bazaar_protocol.framing import Splitter, pack

STREAMS = 50
PROTOCOL = TProtocol(RELAY_PROTOCOL)
LARGE = [bytes([number % 256]) * limits.CHUNK_BYTES for number in range(256)]
MIXED = [bytes([number]) * (number * 5_000 % limits.FRAME_BYTES_MAX) for number in range(100)]


async def exchange(stream: INetStream, bodies: Sequence[bytes]) -> None:
    """Send frames on one of libp2p's streams while their echoes are read."""
    splitter, echoed = Splitter(), list[bytes]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, b"".join(map(pack, bodies)))
        while len(echoed) < len(bodies):
            echoed += splitter.feed(await stream.read(65_536))
    assert echoed == list(bodies)
    await stream.close()


async def test_stock_libp2p_host_can_talk_to_us() -> None:
    async def talk(address: str) -> None:
        stock = new_host()
        async with stock.run([]):
            info = info_from_p2p_addr(Multiaddr(address))
            await stock.connect(info)
            for bodies in (MIXED, LARGE):
                await exchange(await stock.new_stream(info.peer_id, [PROTOCOL]), bodies)
            async with trio.open_nursery() as nursery:
                for number in range(STREAMS):
                    stream = await stock.new_stream(info.peer_id, [PROTOCOL])
                    nursery.start_soon(exchange, stream, LARGE[number : number + 8])
            await stock.disconnect(info.peer_id)

    async with echoing(STREAMS + 1) as address:
        await attack(talk, address)


@asynccontextmanager
async def stock_echo() -> AsyncGenerator[str]:
    """Run a stock host, in a thread of its own, that sends back what it gets; where it listens."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    tell = asyncio.get_running_loop().call_soon_threadsafe
    stop = trio.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def send_back(stream: INetStream) -> None:
        try:
            while data := await stream.read(65_536):
                await stream.write(data)
        except StreamError:
            pass
        await stream.close()

    async def serve() -> None:
        token.append(trio.lowlevel.current_trio_token())
        pair = create_new_key_pair()
        noise = Noise(pair, noise_privkey=create_noise_pair().private_key)
        stock = new_host(key_pair=pair, sec_opt={NOISE: noise})
        stock.set_stream_handler(PROTOCOL, send_back)
        async with stock.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            tell(address.set_result, str(stock.get_addrs()[0]))
            await stop.wait()

    serving = asyncio.create_task(attack(serve))
    try:
        yield await asyncio.wait_for(address, 10)
    finally:
        token[0].run_sync_soon(stop.set)
        await serving


async def test_we_can_talk_to_a_stock_libp2p_host() -> None:
    async with stock_echo() as address, Libp2pPlace().open("client", listen=[]) as client:
        links = [
            await client.transport.dial(None, [address], RELAY_PROTOCOL) for _ in range(STREAMS)
        ]
        await check_echoes(links[0], MIXED)
        await check_echoes(links[1], LARGE)
        async with asyncio.TaskGroup() as tasks:
            for number, link in enumerate(links):
                tasks.create_task(check_echoes(link, LARGE[number : number + 8]))
        for link in links:
            link.close()
