"""Claiming and completing tasks in one process, beside SQLite written by hand."""

import asyncio
import sqlite3
from collections import deque
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Final

from tests.benchmarks.asker import Asker
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Stopwatch,
    at_least,
    at_most,
    interleave,
    row,
)
from tests.benchmarks.publishing import new_author, publishes, send
from tests.benchmarks.relay_links import RELAY, RelayPlace, relay_in_process
from tests.benchmarks.signing import signatures
from tests.market_records import Trader

from bazaar_protocol import frames
from bazaar_protocol.records import Record, unseal

WORKERS: Final = (1, 16)
BY_HAND: Final = "SQLite FULL by hand"
SIGNED, VERIFIED = 4, 4
"""Award, accept, deliver and verdict; the relay checks three of them, the worker the award."""
_NOTE: Final = (
    "claim, award, accept, deliver, verdict, each signed and durable in the relay's store; relay, "
    "workers and poster in one process over links in memory. By hand: unsigned rows, claimed and "
    "completed in a transaction each, or 16 at a time"
)


async def run(bench: Bench) -> list[Row]:
    """Measure cycles of one worker and of 16, and what the signatures alone would allow."""
    cycles = bench.count(320, 32)
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(relay_in_process(bench.folder))
        cases: dict[str, Case] = {"signatures": signatures(SIGNED, VERIFIED, cycles)}
        for count in WORKERS:
            backlog = await _Backlog.open(place, count, cycles, stack)
            cases[f"ours {count}"] = backlog.run
            cases[f"hand {count}"] = _by_hand(bench.folder / f"hand-{count}", count, cycles * 10)
        samples = await interleave(bench.rounds, cases)
    floor = Beside(f"{SIGNED} signed + {VERIFIED} verified, one core", samples["signatures"])
    one, many = (samples[f"ours {count}"] for count in WORKERS)
    name = "claim + complete in process: {} workers".format
    return [
        row(name("1").rstrip("s"), "cycles/s", one, beside=Beside(BY_HAND, samples["hand 1"]),
            goal=at_least(0.5), note=_NOTE),
        row(name("16"), "cycles/s", many, beside=Beside(BY_HAND, samples["hand 16"]),
            goal=at_least(0.5)),
        row(f"{name('1').rstrip('s')}, its commits", "cycles/s", one, beside=floor,
            goal=at_most(2, "commits")),
        row(f"{name('16')}, its commits", "cycles/s", many, beside=floor,
            goal=at_most(0.3, "commits")),
        row(f"{name('16')} against one", "cycles/s", many, beside=Beside("1 worker", one),
            goal=at_least(2)),
    ]  # fmt: skip


class _Backlog:
    """Tasks that wait at a relay, and workers that do them one after the other."""

    def __init__(self, place: RelayPlace, cycles: int) -> None:
        self._place = place
        self._cycles = cycles
        self._poster = new_author()
        self._asker: Asker
        self._workers: list[tuple[Asker, Trader]] = []

    @classmethod
    async def open(
        cls, place: RelayPlace, workers: int, cycles: int, stack: AsyncExitStack
    ) -> "_Backlog":
        backlog = cls(place, cycles)
        backlog._asker = await backlog._join(backlog._poster, stack)
        for _ in range(workers):
            trader = new_author()
            backlog._workers.append((await backlog._join(trader, stack), trader))
        return backlog

    async def run(self) -> Sample:
        """Do all tasks of a new backlog."""
        posts = [
            self._poster.claim_post(RELAY.agent, idempotency_key=f"{number}")
            for number in range(self._cycles)
        ]
        client = (await self._place.clients(1))[0]
        await send(client, publishes([post.raw for post in posts]))
        client.link.close()
        waiting = deque(posts)
        commits = -await self._place.commits()
        with Stopwatch(self._place.process) as watch:
            async with asyncio.TaskGroup() as tasks:
                for asker, trader in self._workers:
                    tasks.create_task(self._work(asker, trader, waiting, tasks))
        commits += await self._place.commits()
        return Sample.rate(self._cycles, watch.wall_s, watch.cpu_s, commits)

    async def _join(self, trader: Trader, stack: AsyncExitStack) -> Asker:
        client = await self._place.client(trader.keys)
        asker = await stack.enter_async_context(Asker.over(client.link))
        await asker.publish(trader.genesis())
        return asker

    async def _work(
        self, asker: Asker, trader: Trader, waiting: deque[Record], tasks: asyncio.TaskGroup
    ) -> None:
        while waiting:
            answer = await asker.ask(frames.Claim, waiting.popleft().id)
            assert isinstance(answer, frames.Claimed), answer
            award = unseal(answer.record)
            accept, deliver = trader.accept(award), trader.deliver(award)
            await asker.publish(accept, deliver)
            # Its verdict goes along with the next claim.
            tasks.create_task(self._asker.publish(self._poster.verdict(deliver)))


def _by_hand(path: Path, group: int, cycles: int) -> Case:
    """Return the same without signatures and links: one table, ``group`` tasks a transaction."""

    async def cycle() -> Sample:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("CREATE TABLE IF NOT EXISTS task (id INTEGER PRIMARY KEY, state, worker)")
            db.execute("CREATE INDEX IF NOT EXISTS by_state ON task (state)")
            db.execute("BEGIN")
            db.executemany("INSERT INTO task VALUES (NULL, 0, NULL)", [()] * cycles)
            db.execute("COMMIT")
            with Stopwatch() as watch:
                for _ in range(cycles // group):
                    _claim_and_complete(db, group)
        return Sample.rate(cycles, watch.wall_s, watch.cpu_s, 2 * cycles / group)

    return cycle


def _claim_and_complete(db: sqlite3.Connection, group: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    found = db.execute("SELECT id FROM task WHERE state = 0 LIMIT ?", (group,)).fetchall()
    db.executemany("UPDATE task SET state = 1, worker = 7 WHERE id = ? AND state = 0", found)
    db.execute("COMMIT")
    db.execute("BEGIN IMMEDIATE")
    db.executemany("UPDATE task SET state = 2 WHERE id = ? AND state = 1", found)
    db.execute("COMMIT")
