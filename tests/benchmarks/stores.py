"""A relay's stores beside each other: PostgreSQL, for several processes, and SQLite, for one."""

import itertools
from contextlib import AsyncExitStack
from typing import Final

from tests import postgres
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Stopwatch,
    interleave,
    row,
)
from tests.relay_records import AGENTS, decline

from bazaar_protocol.frames import Filter
from bazaar_relay.storage.postgres_store import PostgresStore
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Batch, NewRecord, Store

_ADDRESSEE: Final = AGENTS[0].agent
_PAGE: Final = 256
_NOTE: Final = (
    "SQLite with synchronous=FULL; PostgreSQL with fsync and synchronous_commit on, over a Unix "
    "socket on this machine; both on the same file system"
)


async def run(bench: Bench) -> list[Row]:
    """Measure commits one by one and in groups, in turns, and reading it all again."""
    if reason := postgres.missing():
        print(f"stores: left out, {reason}")
        return []
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgres.running(place=bench.folder.parent, is_durable=True))
        address = await server.new_database()
        stores: dict[str, Store] = {
            "postgres": await stack.enter_async_context(
                PostgresStore.open(address, name=bytes(32))
            ),
            "sqlite": await stack.enter_async_context(
                SqliteStore.open(bench.folder / "relay.sqlite3", name=bytes(32))
            ),
        }
        numbers = itertools.count()
        cases: dict[str, Case] = {}
        for name, store in stores.items():
            for size, count in ((1, bench.count(300, 20)), (100, bench.count(30, 3))):
                cases[f"{name} {size}"] = _commits(store, numbers, size=size, count=count)
            cases[f"{name} read"] = _reading(store)
        found = await interleave(bench.rounds, cases)

    def compare(name: str, unit: str, what: str, note: str = "") -> Row:
        beside = Beside("SQLite", found[f"sqlite {what}"])
        return row(name, unit, found[f"postgres {what}"], beside=beside, note=note)

    return [
        compare("PostgreSQL: a commit of one record", "commits/s", "1", _NOTE),
        compare("PostgreSQL: records in commits of 100", "records/s", "100"),
        compare("PostgreSQL: reading what is for one agent", "records/s", "read"),
    ]


def _commits(store: Store, numbers: "itertools.count[int]", *, size: int, count: int) -> Case:
    async def commit() -> Sample:
        batches = [
            Batch([NewRecord(decline(next(numbers)), (_ADDRESSEE,)) for _ in range(size)])
            for _ in range(count)
        ]
        with Stopwatch() as watch:
            for batch in batches:
                await store.commit(batch)
        return Sample.rate(count * size, watch.wall_s, watch.cpu_s)

    return commit


def _reading(store: Store) -> Case:
    async def read() -> Sample:
        seen = after = 0
        newest = await store.cursor()
        with Stopwatch() as watch:
            while after < newest:
                wanted = [Filter(to=(_ADDRESSEE,))]
                page, after = await store.scan(wanted, after=after, limit=_PAGE)
                seen += len(page)
        return Sample.rate(max(1, seen), watch.wall_s, watch.cpu_s)

    return read
