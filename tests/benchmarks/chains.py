"""Checking logs by one signature for a whole segment, alone and on the way into a store."""

import itertools
from collections.abc import Callable, Sequence
from typing import Final

from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Stopwatch,
    at_least,
    interleave,
    row,
)
from tests.benchmarks.publishing import log_entries

from bazaar_protocol.limits import REPLAY_PAGE
from bazaar_protocol.log import Head, check_segment
from bazaar_protocol.records import Record, unseal
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Batch, NewRecord

Check = Callable[[Sequence[bytes], Head], list[Record]]
_NOTE: Final = f"pages of {REPLAY_PAGE} entries, each page one commit with synchronous=FULL"


async def run(bench: Bench) -> list[Row]:
    """Measure the check of a segment, and catching up with logs, storing them."""
    length = bench.count(10_000, 600)
    segment = log_entries(length)
    cases: dict[str, Case] = {
        "segment": lambda: _check(segment, check_segment),
        "each": lambda: _check(segment, lambda raws: [unseal(raw) for raw in raws]),
    }
    checks = await interleave(bench.rounds, cases)
    numbers = itertools.count()

    async def store_all(check: Check | None) -> Sample:
        path = bench.folder / f"store-{next(numbers)}.sqlite3"
        async with SqliteStore.open(path, name=bytes(32)) as store:
            return await _catch_up(store, segment, check)

    cases = {
        "pages": lambda: store_all(check_segment),
        "each": lambda: store_all(lambda raws, _: [unseal(raw) for raw in raws]),
        "none": lambda: store_all(None),
    }
    stores = await interleave(bench.rounds, cases)
    name = "catch-up, checked by pages and stored"
    return [
        row(f"chain: a segment of {length:,} entries", "records/s", checks["segment"],
            beside=Beside("one check for each record", checks["each"]), goal=at_least(12)),
        row(name, "records/s", stores["pages"],
            beside=Beside("each record checked, stored", stores["each"]), goal=at_least(3.5),
            note=_NOTE),
        row(f"{name}: share of storing", "records/s", stores["pages"],
            beside=Beside("parsed before, only stored", stores["none"]), goal=at_least(0.6)),
    ]  # fmt: skip


async def _check(raws: Sequence[bytes], check: Callable[[Sequence[bytes]], object]) -> Sample:
    with Stopwatch() as watch:
        check(raws)
    return Sample.rate(len(raws), watch.wall_s, watch.cpu_s)


async def _catch_up(store: SqliteStore, raws: Sequence[bytes], check: Check | None) -> Sample:
    parsed = check_segment(raws) if check is None else []
    head = Head.empty()
    with Stopwatch() as watch:
        for first in range(0, len(raws), REPLAY_PAGE):
            page = slice(first, first + REPLAY_PAGE)
            records = parsed[page] if check is None else check(raws[page], head)
            head = Head.of(records[-1])
            await store.commit(Batch([NewRecord(record, ()) for record in records]))
    pages = -(-len(raws) // REPLAY_PAGE)
    return Sample.rate(len(raws), watch.wall_s, watch.cpu_s, pages)
