"""How fast a relay takes records in, durably, beside checking their signatures and nothing else."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl import bindings as sodium
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Stopwatch,
    at_least,
    at_most,
    cpu_of,
    interleave,
    row,
)
from tests.benchmarks.publishing import (
    RECORDS_PER_FRAME,
    WINDOW,
    log_entries,
    new_author,
    publishes,
    send,
)
from tests.benchmarks.relay_links import (
    RelayPlace,
    introduce,
    public_relay,
    relay_in_process,
    relay_over_libp2p,
)
from tests.relay_client import Client

from bazaar_protocol.records import parse

PUBLISHERS: Final = (1, 8, 64)
VERIFY: Final = "one core: PyNaCl verify"
NOTES: Final = {
    "libp2p": f"relay as a process of its own, whose CPU is shown; entries of logs, "
    f"{RECORDS_PER_FRAME} in a frame, {WINDOW} frames under way for each publisher",
    "memory": "the same without libp2p: relay and publishers in one process and one event loop, "
    "CPU of all of it",
}
_DOMAIN: Final = b"bazaar/record/1\x00"

Open = Callable[[Path], AbstractAsyncContextManager[RelayPlace]]


async def run(bench: Bench) -> list[Row]:
    """Measure intake over libp2p and in memory, and that of records the relay has already."""
    return [
        *await _compare(bench, "libp2p", relay_over_libp2p),
        *await _compare(bench, "memory", relay_in_process),
        *await _with_all_limits(bench),
    ]


async def _with_all_limits(bench: Bench) -> list[Row]:
    total = bench.count(8_192, 1_024)
    async with public_relay(bench.folder / "public") as place:
        load = Load(place, total, asks_for_work=True)
        count = min(PUBLISHERS[-1], total // RECORDS_PER_FRAME)
        publishers = await load.publishers(count)
        cases = {VERIFY: load.verify, "all": load.case(publishers)}
        samples = await interleave(bench.rounds, cases)
    limit = Beside(VERIFY, samples[VERIFY])
    limit_cpu = Beside(f"{VERIFY}, CPU", cpu_of(limit.samples))
    name = f"intake, libp2p, all limits on: {count} publishers"
    return [
        row(name, "records/s", samples["all"], beside=limit, goal=at_least(0.7),
            note="strangers show work, new logs begin on half of everything, stored bytes counted"),
        row(f"{name}, CPU", "us", cpu_of(samples["all"]), beside=limit_cpu, goal=at_most(1.5)),
    ]  # fmt: skip


async def _compare(bench: Bench, kind: str, open_place: Open) -> list[Row]:
    total = bench.count(8_192, 1_024)
    async with open_place(bench.folder / kind) as place:
        load = Load(place, total)
        cases: dict[str, Case] = {VERIFY: load.verify}
        for count in PUBLISHERS:
            publishers = await load.publishers(min(count, total // RECORDS_PER_FRAME))
            cases[f"{count}"] = load.case(publishers)
            if count == PUBLISHERS[1]:
                cases["again"] = load.again(publishers)
        samples = await interleave(bench.rounds, cases)
    limit = Beside(VERIFY, samples[VERIFY])
    limit_cpu = Beside(f"{VERIFY}, CPU", cpu_of(limit.samples))
    rows = [
        row(
            f"intake, {kind}: {count} publisher{'s'[: count - 1]}",
            "records/s",
            samples[f"{count}"],
            beside=limit,
            goal=at_least(0.7),
            note=NOTES[kind] if count == 1 else "",
        )
        for count in PUBLISHERS
    ]
    name = f"intake, {kind}: 8 publishers"
    again = f"{name}, all duplicates"
    return [
        *rows,
        row(f"{name}, CPU", "us", cpu_of(samples["8"]), beside=limit_cpu, goal=at_most(1.5)),
        row(again, "records/s", samples["again"], beside=limit),
        row(f"{again}, CPU", "us", cpu_of(samples["again"]),
            beside=Beside(f"{name}, CPU", cpu_of(samples["8"])), goal=at_most(0.05)),
    ]  # fmt: skip


@dataclass(slots=True)
class _Publisher:
    client: Client
    sent: list[bytes]
    """Its frames of the round before."""


class Load:
    """Records that nobody has seen yet, and those who publish them."""

    def __init__(self, place: RelayPlace, total: int, *, asks_for_work: bool = False) -> None:
        self._place = place
        self._total = total
        self._asks_for_work = asks_for_work

    async def publishers(self, count: int) -> list[_Publisher]:
        """Return this many publishers with a link each."""
        clients = await self._place.clients(count, asks_for_work=self._asks_for_work)
        return [_Publisher(client, []) for client in clients]

    async def verify(self) -> Sample:
        """Check signatures, one after the other, by nothing but the library."""
        checks = [
            (signature + _DOMAIN + payload, bytes(record.author))
            for raw in log_entries(self._total // 2)
            for record, payload, signature in [parse(raw)]
        ]
        with Stopwatch() as watch:
            for signed, author in checks:
                sodium.crypto_sign_open(signed, author)
        return Sample.rate(len(checks), watch.wall_s, watch.cpu_s)

    def case(self, publishers: list[_Publisher]) -> Case:
        """Return the case in which ``publishers`` publish new records."""

        async def publish() -> Sample:
            each = self._total // len(publishers)
            for publisher in publishers:
                author = new_author()
                if self._asks_for_work:
                    await introduce(publisher.client, author.keys, self._place.address)
                publisher.sent = publishes(log_entries(each, author))
            return await self._measure(publishers, each, "accepted")

        return publish

    def again(self, publishers: list[_Publisher]) -> Case:
        """Return the case in which they publish what they published before."""

        async def publish() -> Sample:
            each = self._total // len(publishers)
            if not publishers[0].sent:
                await self.case(publishers)()
            return await self._measure(publishers, each, "duplicate")

        return publish

    async def _measure(self, publishers: list[_Publisher], each: int, status: str) -> Sample:
        commits = -await self._place.commits()
        with Stopwatch(self._place.process, with_children=True) as watch:
            await asyncio.gather(
                *(send(publisher.client, publisher.sent, expect=status) for publisher in publishers)
            )
        commits += await self._place.commits()
        records = each * len(publishers)
        return Sample.rate(records, watch.wall_s, watch.cpu_s, commits)
