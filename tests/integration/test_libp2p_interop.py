"""Our links are plain libp2p on the wire: hosts that know nothing of ours can speak with us."""

import asyncio

import trio
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr
from tests.attackers import attack
from tests.links import Libp2pPlace

from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import limits
from bazaar_protocol.framing import Splitter, pack


async def test_stock_libp2p_host_can_talk_to_us() -> None:
    bodies = [bytes([number]) * (number * 5_000 % limits.FRAME_BYTES_MAX) for number in range(100)]

    async def talk() -> None:
        stock = new_host()
        async with stock.run([]):
            info = info_from_p2p_addr(Multiaddr(address))
            await stock.connect(info)
            stream = await stock.new_stream(info.peer_id, [TProtocol(RELAY_PROTOCOL)])
            splitter, echoed = Splitter(), list[bytes]()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.write, b"".join(map(pack, bodies)))
                while len(echoed) < len(bodies):
                    echoed += splitter.feed(await stream.read(65_536))
            await stock.disconnect(info.peer_id)
        assert echoed == bodies

    async with Libp2pPlace().open("host") as host:
        address = host.transport.addresses[0]
        talking = asyncio.create_task(attack(talk))
        link = await asyncio.wait_for(host.inbound.get(), 10)
        count = 0
        while count < len(bodies):
            for body in await asyncio.wait_for(link.receive(), 10):
                await link.send(pack(body))
                count += 1
        await talking
