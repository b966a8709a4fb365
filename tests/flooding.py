"""A flood in a process of its own: ``python -m tests.flooding ADDRESS IDENTITIES``.

It writes ``pouring`` when it begins, pours until its standard input ends, and then writes how often
each status came back.
"""

import asyncio
import itertools
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack, suppress

from tests.market_records import Trader
from tests.relay_client import Client
from tests.strangers import stranger

from bazaar_host import clock
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import frames
from bazaar_protocol.errors import LinkClosed

LINKS = 8
RECORDS_PER_FRAME = 50

Batches = list[tuple[bytes, ...]]


async def main(address: str, identities: int) -> None:
    """Pour."""
    now_ms = clock.now_ms()
    traders = [Trader.named(f"made up {number}", now_ms) for number in range(identities)]
    raws = [one.genesis().raw for one in traders] + [one.post().raw for one in traders]
    starts = range(0, len(raws), RECORDS_PER_FRAME)
    batches = [tuple(raws[start : start + RECORDS_PER_FRAME]) for start in starts]
    statuses: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        pouring: list[asyncio.Task[None]] = []
        for number in range(LINKS):
            transport = await stack.enter_async_context(stranger(f"flooder {number}"))
            client = Client(await transport.dial(None, [address], RELAY_PROTOCOL))
            await client.hello()
            first = number * len(batches) // LINKS
            pouring.append(asyncio.create_task(pour(client, batches, first)))
            pouring.append(asyncio.create_task(drain(client, statuses)))
        _tell("pouring")
        await asyncio.to_thread(sys.stdin.read)
        for task in pouring:
            task.cancel()
        await asyncio.wait(pouring)
    _tell(json.dumps(statuses))


async def pour(client: Client, batches: Batches, first: int) -> None:
    """Send one batch after the other, for ever."""
    with suppress(LinkClosed):
        for number in itertools.count(first):
            await client.send(frames.Publish(number + 1, batches[number % len(batches)]))


async def drain(client: Client, statuses: Counter[str]) -> None:
    """Count what comes back, for ever."""
    with suppress(LinkClosed):
        while True:
            for status in (await client.next(frames.Published)).statuses:
                statuses[status.partition(":")[0]] += 1


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
