"""The other end of a control, in a process of its own: ``python -m tests.benchmarks.peer KIND``.

``star`` passes on over plain TCP what its links send, as a relay does, and does nothing else: no
encryption, no signature, no store. ``echo`` sends every frame back, over plain TCP or libp2p, the
latter with our session layers or with libp2p's own (``stock``). ``sink`` answers every 256th frame.
"""

import asyncio
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from tests.benchmarks.relay_process import program, ready

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_protocol.errors import LinkClosed
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair

TO_ALL = 255
SINK_ANSWERS_EVERY = 256
_HEAD = struct.Struct(">IB")
_READ_BYTES = 256 * 1024


class Plain:
    """A plain TCP link: frames of a length, an addressee and bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader
        self._left = b""

    @classmethod
    async def dial(cls, port: str) -> "Plain":
        """Connect to a peer; it numbers its links in the order in which they come."""
        return cls(*await asyncio.open_connection("127.0.0.1", int(port)))

    def send(self, to: int, body: bytes) -> None:
        """Send one frame to the link with the number ``to``."""
        self.writer.write(_HEAD.pack(len(body), to) + body)

    async def receive(self) -> list[tuple[int, bytes]]:
        """Return the frames that have arrived, at least one; none when the link has ended."""
        frames: list[tuple[int, bytes]] = []
        while not frames:
            data = await self._reader.read(_READ_BYTES)
            if not data:
                return []
            data = self._left + data if self._left else data
            start = 0
            while len(data) - start >= _HEAD.size:
                size, to = _HEAD.unpack_from(data, start)
                end = start + _HEAD.size + size
                if end > len(data):
                    break
                frames.append((to, data[start + _HEAD.size : end]))
                start = end
            self._left = data[start:]
        return frames

    def close(self) -> None:
        """End the link."""
        self.writer.close()


@asynccontextmanager
async def peer(kind: str) -> AsyncGenerator[tuple[str, int]]:
    """Run a peer inside this block; where it listens, and its process id."""
    async with program("tests.benchmarks.peer", kind) as process:
        yield await ready(process), process.pid


async def _serve_tcp(kind: str) -> None:
    links: list[Plain] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Plain(reader, writer)
        links.append(link)
        while arrived := await link.receive():
            if kind == "echo-tcp":
                writer.write(b"".join(_HEAD.pack(len(body), 0) + body for _, body in arrived))
            else:
                _pass_on(link, links, arrived)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("READY", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def _pass_on(link: Plain, links: list[Plain], arrived: list[tuple[int, bytes]]) -> None:
    packed = b"".join(_HEAD.pack(len(body), TO_ALL) + body for to, body in arrived if to == TO_ALL)
    if packed:
        for other in links:
            if other is not link:
                other.writer.write(packed)
    for to, body in arrived:
        if to != TO_ALL:
            links[to].send(to, body)


async def _echo(link: Link) -> None:
    while True:
        await link.send(b"".join(map(pack, await link.receive())))


async def _sink(link: Link) -> None:
    count = 0
    while True:
        for _ in await link.receive():
            count += 1
            if count % SINK_ANSWERS_EVERY == 0:
                await link.send(pack(b""))


async def _serve_libp2p(kind: str) -> None:
    serving: set[asyncio.Task[None]] = set()

    async def serve(link: Link) -> None:
        with suppress(LinkClosed):
            await (_sink(link) if "sink" in kind else _echo(link))

    def on_link(link: Link) -> None:
        task = asyncio.create_task(serve(link))
        serving.add(task)
        task.add_done_callback(serving.discard)

    keys, listen = Keypair.from_name(kind), ["/ip4/127.0.0.1/tcp/0"]
    # Only now, since it imports libp2p, which plain peers do without.
    from tests.benchmarks.stock_layers import stock_layers

    with stock_layers(are_stock="stock" in kind):
        async with Libp2pTransport.open(keys, listen, [RELAY_PROTOCOL], on_link) as transport:
            print("READY", transport.addresses[0], flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_libp2p(sys.argv[1]) if "libp2p" in sys.argv[1] else _serve_tcp(sys.argv[1]))
