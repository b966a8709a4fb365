"""What a libp2p link costs: with our session layers, with libp2p's own, and beside plain TCP."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psutil
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Samples,
    Stopwatch,
    at_least,
    cpu_of,
    interleave,
    row,
)
from tests.benchmarks.peer import SINK_ANSWERS_EVERY, Plain, peer
from tests.benchmarks.stock_layers import stock_layers

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL, Link
from bazaar_protocol import limits
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair

BODY: Final = bytes(300)
CHUNK: Final = bytes(limits.CHUNK_BYTES)
IN_FLIGHT: Final = (1, 32, 256)
FASTER: Final = at_least(1.5)
LAYERS: Final = ("ours", "stock")


@dataclass(frozen=True, slots=True)
class Pair:
    """Links to an echo and to a sink, in processes of their own."""

    echo: Link
    echo_process: psutil.Process
    sink: Link


async def run(bench: Bench) -> list[Row]:
    """Measure requests and replies of 300 bytes, 1, 32 and 256 under way on one link, and bulk."""
    cases: dict[str, Case] = {}
    async with AsyncExitStack() as stack:
        port, _ = await stack.enter_async_context(peer("echo-tcp"))
        plain = await Plain.dial(port)
        stack.callback(plain.close)
        pairs = {name: await stack.enter_async_context(_pair(name)) for name in LAYERS}
        for count in IN_FLIGHT:
            requests = bench.count(1_000 if count == 1 else 20_000, 200)
            cases[f"tcp {count}"] = _over_tcp(plain, count, requests)
            for name, pair in pairs.items():
                cases[f"{name} {count}"] = _over_libp2p(pair, count, requests)
        for name, pair in pairs.items():
            cases[f"{name} bulk"] = _bulk(pair.sink, bench.count(2048, SINK_ANSWERS_EVERY))
        samples = await interleave(bench.rounds, cases)
    return _rows(samples)


def _rows(samples: dict[str, list[Sample]]) -> list[Row]:
    rows: list[Row] = []
    for count in IN_FLIGHT:
        ours, stock = samples[f"ours {count}"], samples[f"stock {count}"]
        rows += [
            row(
                f"link: {count} in flight",
                "replies/s",
                ours,
                beside=Beside("libp2p's own layers", stock),
                goal=FASTER,
                note="300 bytes; CPU of both processes" * (count == 1),
            ),
            _cpu(f"link: {count} in flight", ours, stock),
            row(
                f"link: {count} in flight",
                "replies/s",
                ours,
                beside=Beside("plain asyncio TCP", samples[f"tcp {count}"]),
            ),
        ]
    rows.append(
        row(
            "link: bulk in chunks, one way",
            "MB/s",
            samples["ours bulk"],
            beside=Beside("libp2p's own layers", samples["stock bulk"]),
        )
    )
    return rows


def _cpu(name: str, ours: Samples, stock: Samples) -> Row:
    return row(
        f"{name}, CPU",
        "us/reply",
        cpu_of(ours),
        beside=Beside("libp2p's own layers", cpu_of(stock)),
    )


@asynccontextmanager
async def _pair(layers: str) -> AsyncGenerator[Pair]:
    async with AsyncExitStack() as stack:
        echo, pid = await stack.enter_async_context(peer(f"echo-libp2p-{layers}"))
        sink, _ = await stack.enter_async_context(peer(f"sink-libp2p-{layers}"))
        keys = Keypair.from_name("asks")
        # Transports take their layers when they are opened.
        with stock_layers(are_stock=layers == "stock"):
            transport = await stack.enter_async_context(
                Libp2pTransport.open(keys, [], [], lambda link: link.close())
            )
        yield Pair(
            await transport.dial(None, [echo], RELAY_PROTOCOL),
            psutil.Process(pid),
            await transport.dial(None, [sink], RELAY_PROTOCOL),
        )


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


def _over_libp2p(pair: Pair, in_flight: int, requests: int) -> Case:
    frame, link = pack(BODY), pair.echo

    async def ask() -> Sample:
        sent = received = 0
        with Stopwatch(psutil.Process(), pair.echo_process) as watch:
            while received < requests:
                for _ in range(min(in_flight - (sent - received), requests - sent)):
                    await link.send(frame)
                    sent += 1
                received += len(await link.receive())
        return Sample.rate(requests, watch.wall_s, watch.cpu_s)

    return ask


def _bulk(link: Link, chunks: int) -> Case:
    frame = pack(CHUNK)

    async def push() -> Sample:
        answers = chunks // SINK_ANSWERS_EVERY
        with Stopwatch() as watch:
            for _ in range(chunks):
                await link.send(frame)
            while answers:
                answers -= len(await link.receive())
        return Sample.rate(chunks * len(frame) / 1e6, watch.wall_s)

    return push
