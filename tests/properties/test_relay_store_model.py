"""The stores on disk do what the one in memory does, however merges and restarts fall."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.postgres import Server
from tests.relay_records import AGENTS, NAME, advert, decline, heartbeat, log_of, post, succession

from bazaar_protocol.frames import Filter
from bazaar_protocol.records import Record, RecordId
from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_relay.storage.postgres_store import PostgresStore
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Batch, NewLetter, NewRecord, Receipt, Store

IDS = tuple(agent.agent for agent in AGENTS)
TASK = post(AGENTS[0], "text.translate", tags=("fast",))
LOGS = [log_of(agent, 6) for agent in AGENTS[:2]]
LOOSE: list[Record] = [
    TASK,
    post(AGENTS[1], "image"),
    advert(AGENTS[1], {"text": ("fast",), "image.draw": ()}),
    *(decline(number, author=AGENTS[number % 3], task=TASK.id) for number in range(6)),
    *(heartbeat(number, author=AGENTS[number % 4]) for number in range(6)),
    *(succession(number, of=AGENTS[number % 2]) for number in range(3)),
]
HOURS = st.integers(1, 20)

loose = st.sampled_from(LOOSE)
agents = st.sampled_from(IDS)
audiences = st.lists(agents, max_size=2).map(tuple)
filters = st.builds(
    Filter,
    kinds=st.lists(st.sampled_from(["post", "decline", "intake"]), max_size=2).map(tuple),
    capability=st.sampled_from(["", "", "", "text", "text.translate", "image"]),
    authors=audiences,
    tags=st.sampled_from([(), (), ("fast",)]),
    tasks=st.sampled_from([(), (), (TASK.id,)]),
    to=audiences,
)


class StoresAgree(RuleBasedStateMachine):
    """Does everything to both stores, and compares what they answer.

    It is SQLite's here, which merges; ``OnServer`` has PostgreSQL's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.model = MemoryStore(NAME)
        self.stack = AsyncExitStack()
        self.positions = [0, 0]

    @initialize()
    def open(self) -> None:
        self.store = self.run(self.stack.enter_async_context(self.opened()))

    def opened(self) -> Any:
        path = Path(self.folder.name) / "relay.db"
        return SqliteStore.open(path, name=NAME, synchronous="OFF")

    def run(self, work: Any) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(20):
                return await work

        return self.runner.run(bounded())

    def both(self, method: str, *args: object, **named: object) -> Any:
        stores: tuple[Store, Store] = (self.model, self.store)
        expected, got = (self.run(getattr(store, method)(*args, **named)) for store in stores)
        assert got == expected, method
        return got

    @rule(
        records=st.lists(st.builds(NewRecord, loose, audiences, st.none() | HOURS), max_size=6),
        entries=st.tuples(st.sampled_from([0, 1]), st.integers(0, 3)),
        routes=st.lists(st.tuples(loose.map(lambda record: record.id), agents), max_size=2),
        letters=st.lists(st.builds(NewLetter, agents, st.binary(max_size=3), HOURS), max_size=2),
        collected=st.lists(st.tuples(agents, st.integers(1, 9)), max_size=2),
    )
    def commit(self, records: Any, entries: Any, routes: Any, letters: Any, collected: Any) -> None:
        which, count = entries
        log = LOGS[which][: self.positions[which] + count]
        self.positions[which] = len(log)
        batch = [*records, *(NewRecord(entry, ()) for entry in log[-3:])]
        kept = self.both("commit", Batch(batch, routes, letters, collected))
        assert len(kept.cursors) == len(batch)

    @rule(ids=st.lists(loose.map(lambda record: record.id), max_size=3), expires_ms=HOURS)
    def cover(self, ids: Any, expires_ms: int) -> None:
        first, last = self.run(self.model.covered()) + 1, self.run(self.model.cursor())
        if first <= last:
            intake = RecordId(first.to_bytes(32))  # each receipt has its own
            receipt = Receipt(intake, first, last, b"".join(ids), b"", expires_ms)
            self.both("commit", Batch(receipts=[receipt]))

    @rule()
    def merge(self) -> None:
        if isinstance(self.store, SqliteStore):
            self.run(self.store.merge())

    @rule()
    def reopen(self) -> None:
        self.run(self.stack.aclose())
        self.open()

    @rule(now_ms=HOURS)
    def forget(self, now_ms: int) -> None:
        self.both("forget", now_ms=now_ms)

    @rule(wanted=st.lists(filters, max_size=3), after=st.integers(0, 30), limit=st.integers(1, 9))
    def scan(self, wanted: list[Filter], after: int, limit: int) -> None:
        self.both("scan", wanted, after=after, limit=limit)

    @rule(now_ms=HOURS, after=st.integers(0, 30), limit=st.integers(1, 9))
    def read(self, now_ms: int, after: int, limit: int) -> None:
        self.both("task", TASK.id, after=after, limit=limit)
        self.both("unexpired", "heartbeat", now_ms=now_ms, after=after, limit=limit)
        for agent in IDS:
            self.both("letters", agent)
            self.both("log", agent, first=after, last=after + limit, limit=limit)

    @rule(record=loose)
    def ask_for_evidence(self, record: Record) -> None:
        self.both("covered")
        self.both("receipt", record.id)
        self.both("against", IDS)

    @invariant()
    def same_content(self) -> None:
        self.both("cursor")
        self.both("heads", IDS)
        self.both("scan", [Filter()], after=0, limit=1000)
        for record in LOOSE:
            self.both("get", record.id)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_the_one_on_a_server_agrees(postgres_server: Server) -> None:
    class OnServer(StoresAgree):
        def __init__(self) -> None:
            super().__init__()
            self.address = self.run(postgres_server.new_database())

        def opened(self) -> Any:
            return PostgresStore.open(self.address, name=NAME)

    run_state_machine_as_test(
        OnServer, settings=settings(max_examples=10, stateful_step_count=25, deadline=None)
    )
