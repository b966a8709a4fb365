"""Strangers against a relay and nodes that live: nothing they send stops or fills one of them.

Each process is the real one, and each link a real one. How much is sent, and which, can be set:
``BAZAAR_FUZZ_INPUTS`` (``make fuzz`` sends ten times as much) and ``BAZAAR_FUZZ_SEED``.
"""

import asyncio
import itertools
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.attackers import Caller
from tests.fuzzing import Fuzz
from tests.market_records import Trader
from tests.processes import LISTEN, Daemon, node_up, relay_up, run
from tests.relay_client import Client
from tests.strangers import Siege, stranger

from bazaar_host import clock
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import frames, kinds, limits
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId, parse_agent

INPUTS = int(os.environ.get("BAZAAR_FUZZ_INPUTS", "100000"))
SEED = int(os.environ.get("BAZAAR_FUZZ_SEED", str(random.SystemRandom().randrange(2**32))))
ROUNDS, WARM_UP_ROUNDS = 10, 3
GROWTH_BYTES_MAX = 10 * limits.MIB
ACKS, ACK_P99_S_MAX = 100, 1.0
SLEEPERS, HALF_OPEN = 16, 100
CAPABILITY = "pdf.extract"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("heavy"),
    pytest.mark.timeout(120 + INPUTS // 500),
]


@dataclass(frozen=True)
class Market:
    """A relay, a poster and a worker, each a process of its own."""

    relay: Daemon
    ada: Daemon
    bo: Daemon
    bo_agent: AgentId
    bo_address: str

    @property
    def daemons(self) -> tuple[Daemon, ...]:
        return self.relay, self.ada, self.bo

    async def trade(self) -> None:
        """Have a task done, from the post to the verdict."""
        out = await run(
            "post", "--home", str(self.ada.home), "-c", CAPABILITY, "-i", '{"rows": 3}',
            "--wait", "--price-max", "100",
        )  # fmt: skip
        assert "rows" in out

    async def end(self) -> None:
        """Stop all three, each of which has to end well and without complaints."""
        for daemon in (self.ada, self.bo, self.relay):
            assert await daemon.stop() == 0
            assert "Traceback" not in daemon.log()


@pytest.fixture
async def market(tmp_path: Path) -> AsyncGenerator[Market]:
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(relay_up(tmp_path / "relay"))
        ada, bo = tmp_path / "ada", tmp_path / "bo"
        poster = await stack.enter_async_context(node_up(ada, relay))
        offer = ("--offer", CAPABILITY, "--exec", "cat", "--slots", "4", "--listen", LISTEN)
        worker = await stack.enter_async_context(node_up(bo, relay, *offer))
        status = json.loads(await run("status", "--home", str(bo), "--json"))
        agent = parse_agent(status["agent"])
        yield Market(relay, poster, worker, agent, status["addresses"][0])


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Show a figure, or what is needed to have this run again, even when the test passes."""
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


async def join(stack: AsyncExitStack, relay: Daemon, name: str) -> tuple[Client, Trader]:
    """Connect a stranger that has said hello, and its log has begun."""
    transport = await stack.enter_async_context(stranger(name))
    client = Client(await transport.dial(None, [relay.address], RELAY_PROTOCOL))
    await client.hello()
    trader = Trader.named(name, clock.now_ms())
    assert await client.publish(trader.genesis()) == ("accepted",)
    return client, trader


async def test_mutated_frames_and_records_harm_nobody(
    market: Market, capsys: pytest.CaptureFixture[str]
) -> None:
    fuzz = Fuzz(SEED, clock.now_ms(), [market.bo_agent], truths=0.05)
    siege = Siege(fuzz, market.relay.address, market.bo_address)
    share = INPUTS // ROUNDS
    memory, descriptors = [0, 0, 0], [0, 0, 0]
    began = time.monotonic()
    for number in range(ROUNDS):
        await siege.send(records=share * 8 // 10, links=share // 100, fetches=share // 10)
        if number == WARM_UP_ROUNDS - 1:
            memory = [daemon.memory_bytes() for daemon in market.daemons]
            descriptors = [daemon.descriptors() for daemon in market.daemons]
    took_s = time.monotonic() - began
    grown = [
        daemon.memory_bytes() - before
        for daemon, before in zip(market.daemons, memory, strict=True)
    ]
    tell(
        capsys,
        f"seed {SEED}: {siege.inputs} inputs in {took_s:.1f} s; grown by "
        f"{[round(size / limits.MIB, 1) for size in grown]} MiB (relay, poster, worker); "
        f"{dict(siege.statuses)}",
    )
    assert siege.inputs > INPUTS * 0.9
    assert {"malformed", "signature", "accepted", "duplicate"} <= set(siege.statuses)
    assert all(daemon.is_alive for daemon in market.daemons)
    assert max(grown) <= GROWTH_BYTES_MAX
    for daemon, before in zip(market.daemons, descriptors, strict=True):
        assert abs(daemon.descriptors() - before) <= 4
    await market.trade()
    await market.end()


async def test_a_flood_delays_nobody_else_and_is_told_to_slow_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "relay"
    home.mkdir(mode=0o700)
    (home / "bazaar.toml").write_text("[relay]\nrecords_per_s = 3000\n")
    async with relay_up(home) as relay, AsyncExitStack() as stack:
        flooder, bad = await join(stack, relay, "flooder")
        honest, good = await join(stack, relay, "honest")
        raws = [bad.intake(number).raw for number in range(15_000)]
        batches = [tuple(raws[start : start + 100]) for start in range(0, len(raws), 100)]
        statuses: Counter[str] = Counter()
        acks: list[float] = []

        async def pour() -> None:
            for number in itertools.count():
                await flooder.send(frames.Publish(number, batches[number % len(batches)]))

        async def drain() -> None:
            while True:
                statuses.update((await flooder.next(frames.Published)).statuses)

        flood = [asyncio.create_task(pour()), asyncio.create_task(drain())]
        while len(acks) < ACKS:
            began = time.perf_counter()
            assert await honest.publish(good.intake(len(acks))) == ("accepted",)
            acks.append(time.perf_counter() - began)
        for task in flood:
            assert not task.done()
            task.cancel()
        p99 = sorted(acks)[len(acks) * 99 // 100]
        tell(
            capsys,
            f"beside {statuses.total()} records in {sum(acks):.1f} s: an honest one is "
            f"acknowledged in {1000 * sorted(acks)[ACKS // 2]:.0f} ms, p99 {1000 * p99:.0f} ms",
        )
        assert p99 < ACK_P99_S_MAX
        assert statuses["accepted"] > 0
        assert statuses["rate-limited: at most 3000 records per second"] > 0
        assert await relay.stop() == 0


async def test_who_never_reads_costs_little_and_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with relay_up(tmp_path / "relay") as relay, AsyncExitStack() as stack:
        publisher, trader = await join(stack, relay, "publisher")
        sleepers = [(await join(stack, relay, f"sleeper {n}"))[0] for n in range(SLEEPERS)]
        for sleeper in sleepers:
            await sleeper.subscribe(Filter(authors=(trader.agent,), kinds=("withdraw",)))
        memory = relay.memory_bytes()
        sent: list[bytes] = []
        for _ in range(120):
            body = kinds.Withdraw(bytes(32), None, 0, "x" * 8000)
            batch = [trader.say(body) for _ in range(10)]
            assert await publisher.publish(*batch) == ("accepted",) * len(batch)
            sent += [record.raw for record in batch]
        grown = relay.memory_bytes() - memory
        unread = sum(map(len, sent)) * SLEEPERS
        tell(capsys, f"{unread / limits.MIB:.0f} MiB unread, {grown / limits.MIB:.1f} MiB grown")
        # What a relay keeps of the newest records for itself is much the same without sleepers.
        assert grown <= unread / 2
        assert await sleepers[0].events(len(sent)) == sent
        assert any(isinstance(frame, frames.Lagged) for frame in sleepers[0].arrived)
        assert await relay.stop() == 0


async def test_half_open_connections_are_bounded_ended_and_harm_no_others(market: Market) -> None:
    async with AsyncExitStack() as stack:
        client, trader = await join(stack, market.relay, "early")
        callers = [await Caller.connect(market.relay.address) for _ in range(HALF_OPEN)]
        admitted = [await caller.is_admitted() for caller in callers]
        assert 0 < sum(admitted) <= limits.CONNECTIONS_PER_ADDRESS_MAX
        assert await client.publish(trader.intake()) == ("accepted",)
        await market.trade()  # nodes that are connected notice nothing
        async with asyncio.timeout(2 * limits.NEGOTIATION_TIMEOUT_S):
            for caller in callers:
                with suppress(ConnectionResetError):
                    await caller.reader.read()
                await caller.close()
        late, _ = await join(stack, market.relay, "late")
        assert await late.ask(frames.Ping) == frames.Pong(2)
    await market.end()
