"""A flood in a process of its own: ``python -m tests.flooding ADDRESS IDENTITIES``.

It writes ``pouring`` when it begins, pours until its standard input ends, and then writes how often
each status came back. Options: ``--posts`` of each identity beside its genesis; ``--seconds`` after
which each link is given up for one by a fresh identity; ``--capability`` that the posts want.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.market_records import Trader
from tests.processes import kill
from tests.relay_client import Client
from tests.strangers import stranger

from bazaar_host import clock
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import frames
from bazaar_protocol.errors import LinkClosed, Unreachable

LINKS = 8
RECORDS_PER_FRAME = 50
_READY_FRAMES = 400
"""So many are signed before it begins; the rest while it pours."""
_FRAMES_KEPT = 4_000

Batches = Iterator[tuple[bytes, ...]]


@dataclass
class Flooded:
    """What became of what a flood sent."""

    statuses: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0


@asynccontextmanager
async def flood_of(address: str, identities: int, *options: str) -> AsyncGenerator[Flooded]:
    """Have a process of its own pour until the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.flooding", address, str(identities), *options,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    flooded = Flooded()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"pouring\n"
        began = time.perf_counter()
        yield flooded
        flooded.took_s = time.perf_counter() - began
        process.stdin.close()
        async with asyncio.timeout(30):
            flooded.statuses.update(json.loads(await process.stdout.read()))
            assert await process.wait() == 0
    finally:
        await kill(process)


class Flood:
    """What is poured, and what came back."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.statuses: Counter[str] = Counter()
        self.arrived = asyncio.Semaphore(0)
        self._options = options
        self._fresh = _fresh(options)
        self._ready = deque(itertools.islice(self._fresh, _READY_FRAMES))
        self._sent: deque[tuple[bytes, ...]] = deque(maxlen=_FRAMES_KEPT)
        self._names = itertools.count()

    def next(self) -> tuple[bytes, ...]:
        """Return what nobody has seen while there is any, and then all that is kept again."""
        if self._ready:
            batch = self._ready.popleft()
        else:
            batch = next(self._fresh, ()) or self._sent.popleft()
        self._sent.append(batch)
        return batch

    async def link(self) -> None:
        """Pour through one link after the other."""
        while True:
            name = f"flooder {next(self._names)}"
            with suppress(LinkClosed, Unreachable, TimeoutError):
                async with stranger(name) as transport:
                    dialed = await transport.dial(None, [self._options.address], RELAY_PROTOCOL)
                    client = Client(dialed)
                    await client.hello()
                    self.arrived.release()
                    async with asyncio.timeout(self._options.seconds), asyncio.TaskGroup() as both:
                        both.create_task(self._pour(client))
                        both.create_task(self._drain(client))

    async def _pour(self, client: Client) -> None:
        with suppress(LinkClosed):
            for number in itertools.count(1):
                await client.send(frames.Publish(number, self.next()))

    async def _drain(self, client: Client) -> None:
        with suppress(LinkClosed, TimeoutError):
            while True:
                for status in (await client.next(frames.Published)).statuses:
                    self.statuses[status.partition(":")[0]] += 1


async def main(options: argparse.Namespace) -> None:
    """Pour."""
    flood = Flood(options)
    pouring = [asyncio.create_task(flood.link()) for _ in range(LINKS)]
    for _ in pouring:
        await flood.arrived.acquire()
    _tell("pouring")
    await asyncio.to_thread(sys.stdin.read)
    for task in pouring:
        task.cancel()
    await asyncio.wait(pouring)
    _tell(json.dumps(flood.statuses))


def _fresh(options: argparse.Namespace) -> Batches:
    """Sign what each made-up identity says: its genesis, then its posts."""
    now_ms = clock.now_ms()
    traders = (Trader.named(f"made up {n}", now_ms) for n in range(options.identities))
    raws = (
        raw
        for one in traders
        for raw in (
            one.genesis().raw,
            *(one.post(capability=options.capability).raw for _ in range(options.posts)),
        )
    )
    while batch := tuple(itertools.islice(raws, RECORDS_PER_FRAME)):
        yield batch


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("identities", type=int)
    parser.add_argument("--posts", type=int, default=1)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--capability", default="copy")
    asyncio.run(main(parser.parse_args()))
