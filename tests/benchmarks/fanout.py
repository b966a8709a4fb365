"""How fast a relay passes records on to many, beside a program that only writes bytes."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Final

import psutil
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Stopwatch,
    at_most,
    interleave,
    percentile,
    row,
)
from tests.benchmarks.peer import TO_ALL, Plain, peer
from tests.benchmarks.publishing import RECORDS_PER_FRAME, new_author, publishes, send
from tests.benchmarks.relay_links import RelayPlace, relay_in_process, relay_over_libp2p
from tests.relay_client import Client

from bazaar_protocol.frames import Filter

MANY: Final = 100
KIND: Final = "intake"
NOBODY: Final = bytes(32)
RAW: Final = "plain TCP writer"
_MS: Final = 1_000


async def run(bench: Bench) -> list[Row]:
    """Measure deliveries to 1 and to 100 subscribers, and how long one record takes."""
    many = bench.count(MANY, 10)
    rows: list[Row] = []
    async with (
        relay_over_libp2p(bench.folder / "libp2p") as network,
        relay_in_process(bench.folder) as memory,
    ):
        for count in (1, many):
            async with AsyncExitStack() as stack:
                rows += await _compare(bench, count, (network, memory), stack)
    return rows


async def _compare(
    bench: Bench, count: int, places: tuple[RelayPlace, RelayPlace], stack: AsyncExitStack
) -> list[Row]:
    network, memory = places
    port, process_id = await stack.enter_async_context(peer("star"))
    plain = [await Plain.dial(port) for _ in range(count + 1)]
    for link in plain:
        stack.callback(link.close)
    records = bench.count(4_096 if count == 1 else 2_048, 64)
    raw = _Raw(psutil.Process(process_id), plain, records)
    ours = await _Fanout.over(network, count, records)
    near = await _Fanout.over(memory, count, records)
    cases: dict[str, Case] = {"raw": raw.stream, "libp2p": ours.stream, "memory": near.stream}
    streams = await interleave(bench.rounds, cases)
    singles = bench.count(200, 20)
    cases = {
        "raw": lambda: raw.singles(singles),
        "libp2p": lambda: ours.singles(singles),
        "memory": lambda: near.singles(singles),
    }
    delays = await interleave(bench.rounds, cases)
    for fanout in (ours, near):
        fanout.close()
    control, quick = Beside(RAW, streams["raw"]), Beside(RAW, delays["raw"])
    name = f"fan-out to {count} subscriber{'s' * (count > 1)}"
    return [
        row(f"{name}, libp2p", "deliveries/s", streams["libp2p"], beside=control, note=_NOTE),
        row(f"{name}, memory", "deliveries/s", streams["memory"], beside=control,
            goal=at_most(4, "cpu") if count > 1 else None),
        row(f"{name}, libp2p: p50 of one record", "ms", delays["libp2p"], beside=quick,
            goal=at_most(1.5, "figure")),
        row(f"{name}, memory: p50 of one record", "ms", delays["memory"], beside=quick),
    ]  # fmt: skip


_NOTE: Final = (
    f"CPU for each delivery: of the relay's process over libp2p, taking in and encryption "
    f"included; of relay, publisher and readers in memory. Published {RECORDS_PER_FRAME} in a "
    f"frame, 8 frames under way. p50: one record at a time, from its sending to its arrival"
)


class _Fanout:
    """A publisher and its subscribers at a relay."""

    def __init__(self, place: RelayPlace, clients: list[Client], records: int) -> None:
        self._place = place
        self._publisher, *self._readers = clients
        self._records = records
        self._author = new_author()

    @classmethod
    async def over(cls, place: RelayPlace, readers: int, records: int) -> "_Fanout":
        """Subscribe ``readers`` links to everything of one kind."""
        clients = await place.clients(readers + 1)
        fanout = cls(place, clients, records)
        await clients[0].publish(fanout._author.genesis())
        newest = await clients[0].subscribe(Filter(authors=(NOBODY,)))
        for client in clients[1:]:
            await client.subscribe(Filter(kinds=(KIND,)), since=newest)
        return fanout

    def close(self) -> None:
        """End the links, so that they cost nothing more."""
        for client in (self._publisher, *self._readers):
            client.link.close()

    async def stream(self) -> Sample:
        """Publish as fast as the relay takes records, until all readers have all of them."""
        packed = publishes([self._author.intake(number).raw for number in range(self._records)])
        commits = -await self._place.commits()
        with Stopwatch(self._place.process) as watch:
            reading = asyncio.gather(*(_count(one, self._records) for one in self._readers))
            await send(self._publisher, packed)
            await reading
        commits += await self._place.commits()
        deliveries = self._records * len(self._readers)
        return Sample.rate(deliveries, watch.wall_s, watch.cpu_s, commits)

    async def singles(self, count: int) -> Sample:
        """Publish one record at a time; the median time until a reader has it."""
        delays: list[float] = []
        for number in range(count):
            record = self._author.intake(number)
            began = time.perf_counter()
            publishing = asyncio.create_task(self._publisher.publish(record))
            arrivals = await asyncio.gather(*(_arrival(one) for one in self._readers))
            await publishing
            delays += [arrived - began for arrived in arrivals]
        return Sample(percentile(delays, 0.5) * _MS)


class _Raw:
    """The same with a program that passes bytes on and does nothing else."""

    def __init__(self, process: psutil.Process, links: list[Plain], records: int) -> None:
        self._process = process
        self._publisher, *self._readers = links
        self._records = records
        self._raw = new_author().genesis().raw

    async def stream(self) -> Sample:
        """Send the same bytes in the same portions."""
        with Stopwatch(self._process) as watch:
            reading = asyncio.gather(*(_count_raw(one, self._records) for one in self._readers))
            for first in range(0, self._records, RECORDS_PER_FRAME):
                for _ in range(min(RECORDS_PER_FRAME, self._records - first)):
                    self._publisher.send(TO_ALL, self._raw)
                await self._publisher.writer.drain()
            await reading
        return Sample.rate(self._records * len(self._readers), watch.wall_s, watch.cpu_s)

    async def singles(self, count: int) -> Sample:
        """Send one at a time; the median time until a reader has it."""
        delays: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            self._publisher.send(TO_ALL, self._raw)
            arrivals = await asyncio.gather(*(_arrival_raw(one) for one in self._readers))
            delays += [arrived - began for arrived in arrivals]
        return Sample(percentile(delays, 0.5) * _MS)


async def _count(client: Client, count: int) -> None:
    while count:
        count -= len(await client.link.receive())


async def _count_raw(link: Plain, count: int) -> None:
    while count:
        count -= len(await link.receive())


async def _arrival(client: Client) -> float:
    await client.link.receive()
    return time.perf_counter()


async def _arrival_raw(link: Plain) -> float:
    await link.receive()
    return time.perf_counter()
