"""Somebody honest at a relay: it does the work that is asked for, and times its answers."""

import time
from contextlib import AsyncExitStack

from tests.market_records import Trader
from tests.relay_client import Client
from tests.strangers import stranger

from bazaar_host import clock
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol.evidence import find_stamp
from bazaar_protocol.identity import parse_agent
from bazaar_protocol.records import Record
from bazaar_protocol.work_wanted import WorkWanted, read_work_wanted


async def connect(stack: AsyncExitStack, address: str, name: str) -> tuple[Client, Trader]:
    """Connect an identity that has said hello, and nothing else."""
    transport = await stack.enter_async_context(stranger(name))
    client = Client(await transport.dial(None, [address], RELAY_PROTOCOL))
    await client.hello()
    return client, Trader.named(name, clock.now_ms())


async def show_work(client: Client, trader: Trader, address: str) -> None:
    """Write something, do the work that is asked for, and write it again."""
    _, status = await client.publish(trader.advert("a"), trader.advert("a", version=2))
    wanted = read_work_wanted(status)  # one of them was free
    if wanted is not None:
        assert await client.publish(stamp(trader, address, wanted)) == ("accepted",)


def stamp(trader: Trader, address: str, wanted: WorkWanted) -> Record:
    """Do the work."""
    found = find_stamp(
        trader.agent,
        day=wanted.day,
        bits=wanted.bits,
        relay=parse_agent(address.rpartition("/")[2]),
        numbers=range(2**24),
    )
    assert found is not None
    return trader.say(found)


async def latencies(client: Client, trader: Trader, count: int) -> list[float]:
    """Publish one record after the other; return how many ms each answer took, sorted."""
    acks: list[float] = []
    for number in range(count):
        began = time.perf_counter()
        assert await client.publish(trader.intake(number)) == ("accepted",)
        acks.append(1000 * (time.perf_counter() - began))
    return sorted(acks)
