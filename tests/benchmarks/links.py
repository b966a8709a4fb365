"""What a libp2p link costs: requests and replies beside those over plain TCP."""

from contextlib import AsyncExitStack
from typing import Final

from tests.benchmarks.measuring import Bench, Beside, Case, Row, Sample, Stopwatch, interleave, row
from tests.benchmarks.peer import Plain, peer

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair

BODY: Final = bytes(300)
IN_FLIGHT: Final = (1, 32, 256)


async def run(bench: Bench) -> list[Row]:
    """Measure requests and replies of 300 bytes, 1, 32 and 256 under way on one link."""
    async with AsyncExitStack() as stack:
        port, _ = await stack.enter_async_context(peer("echo-tcp"))
        plain = await Plain.dial(port)
        stack.callback(plain.close)
        address, _ = await stack.enter_async_context(peer("echo-libp2p"))
        transport = await stack.enter_async_context(
            Libp2pTransport.open(Keypair.from_name("asks"), [], [], lambda link: link.close())
        )
        link = await transport.dial(None, [address], RELAY_PROTOCOL)
        cases: dict[str, Case] = {}
        for count in IN_FLIGHT:
            requests = bench.count(1_000 if count == 1 else 20_000, 200)
            cases[f"tcp {count}"] = _over_tcp(plain, count, requests)
            cases[f"libp2p {count}"] = _over_libp2p(link, count, requests)
        samples = await interleave(bench.rounds, cases)
    return [
        row(
            f"link: {count} in flight over libp2p",
            "replies/s",
            samples[f"libp2p {count}"],
            beside=Beside("plain asyncio TCP", samples[f"tcp {count}"]),
            note="300 bytes, the peer in another process; CPU of the asking side" * (count == 1),
        )
        for count in IN_FLIGHT
    ]


def _over_tcp(plain: Plain, in_flight: int, requests: int) -> Case:
    async def ask() -> Sample:
        sent = received = 0
        with Stopwatch() as watch:
            while received < requests:
                for _ in range(min(in_flight - (sent - received), requests - sent)):
                    plain.send(0, BODY)
                    sent += 1
                received += len(await plain.receive())
        return Sample.rate(requests, watch.wall_s, watch.cpu_s)

    return ask


def _over_libp2p(link: Link, in_flight: int, requests: int) -> Case:
    frame = pack(BODY)

    async def ask() -> Sample:
        sent = received = 0
        with Stopwatch() as watch:
            while received < requests:
                for _ in range(min(in_flight - (sent - received), requests - sent)):
                    await link.send(frame)
                    sent += 1
                received += len(await link.receive())
        return Sample.rate(requests, watch.wall_s, watch.cpu_s)

    return ask
