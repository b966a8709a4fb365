"""Processes of one relay in every order of turns, news, failures and deaths: one log, one truth.

Machines alone, on a store in memory, one step at a time: which process does what next, which
commits fail, and of those which were kept after all, comes from a seed.
"""

import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import given, strategies as st
from tests.market_records import NOW_MS, Trader

from bazaar_protocol import frames, limits
from bazaar_protocol.identity import Keypair
from bazaar_protocol.kinds import Award, Lease
from bazaar_protocol.log import check_segment, recovery_hash
from bazaar_protocol.records import Record, RecordId, unseal
from bazaar_relay.machine.events import (
    Commit,
    CommitFailed,
    Committed,
    Connected,
    ConnectionId,
    Event,
    Heard,
    Read,
    Received,
    Reply,
    Tick,
    TurnBegun,
    TurnFailed,
    Verified,
    Verify,
    WantTurn,
)
from bazaar_relay.machine.shared_machine import SharedRelayMachine
from bazaar_relay.machine.verifying import verify
from bazaar_relay.serving import reading
from bazaar_relay.storage.memory_store import MemoryStore
from bazaar_relay.storage.sharing import News
from bazaar_relay.storage.store import ID_BYTES

T = TypeVar("T")

RELAY = Keypair.from_name("relay")
STEPS, PROCESSES, POSTS = 120, 3, 4
LEASE = Lease(2_000, 30_000, 6_000, 3)


def done(work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns; a store in memory never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


class Process:
    """A machine, how much it was told, and what it has answered."""

    def __init__(self, relay: "Relay") -> None:
        self.relay = relay
        self.machine = SharedRelayMachine(
            RELAY, recovery=recovery_hash(RELAY.agent), entropy=lambda: bytes(32)
        )
        self.told = relay.newest
        self.wants_turn = False
        self.do(done(reading.start(relay.store, RELAY.agent, relay.now_ms)))
        for number, trader in enumerate(relay.traders):
            link = ConnectionId(number)
            self.do(Connected(link, trader.agent))
            self.do(Received(link, frames.Hello(frames.VERSION, "test", ())))

    def do(self, event: Event) -> None:
        for effect in self.machine.handle(event, self.relay.now_ms):
            match effect:
                case Verify(work=work, raws=raws):
                    self.do(Verified(work, list(map(verify, raws))))
                case Read():
                    self.do(done(reading.read(self.relay.store, effect)))
                case WantTurn():
                    self.wants_turn = True
                case Commit():
                    self.do(self.commit(effect))
                case Reply(frame=frames.Claimed(record=raw)):
                    self.relay.granted(unseal(raw))
                case _:
                    continue

    def commit(self, commit: Commit) -> Event:
        outcome = self.relay.random.random()
        if outcome < 0.1:
            return CommitFailed("lost before it was kept")
        kept = done(self.relay.store.commit(commit.batch))
        if outcome < 0.2:
            return CommitFailed("kept, and lost before it was said")
        self.told = self.relay.newest
        return Committed(kept)

    def news(self) -> News:
        since, self.told = self.told, self.relay.newest
        return self.relay.news(since)

    def take_turn(self) -> None:
        self.wants_turn = False
        if self.relay.random.random() < 0.1:
            self.do(TurnFailed("the database is away"))
        else:
            self.do(TurnBegun(self.news()))


class Relay:
    """The processes, their store, and those who trade through them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.is_rough = seed % 2 == 1
        """Whether processes die, and time passes before news are heard."""
        self.now_ms = NOW_MS
        self.store = MemoryStore(bytes(32))
        self.traders = [Trader.named(name) for name in ("ada", "bo", "cy", "di")]
        self.to_say = [[trader.genesis()] for trader in self.traders]
        poster = self.traders[0]
        self.posts = [
            poster.claim_post(RELAY.agent, lease=LEASE, idempotency_key=str(number))
            for number in range(POSTS)
        ]
        self.awards: dict[RecordId, None] = {}
        self.processes = [Process(self) for _ in range(PROCESSES)]

    @property
    def newest(self) -> tuple[int, int]:
        return self.store._cursor, self.store._letter

    def news(self, since: tuple[int, int]) -> News:
        entries = self.store._index.entries.items()
        letters = self.store._letters.items()
        return News(
            [entry for cursor, entry in entries if cursor > since[0]],
            [one for one in letters if one[0] > since[1]],
            self.store._covered,
        )

    def granted(self, award: Record) -> None:
        """Let whoever was told of an award for the first time mostly accept it."""
        assert isinstance(award.body, Award)
        if award.id not in self.awards and self.random.random() < 0.8:
            for trader, said in zip(self.traders, self.to_say, strict=True):
                if trader.agent == award.body.worker:
                    said.append(trader.accept(award))
        self.awards[award.id] = None

    def step(self) -> None:
        process = self.random.choice(self.processes)
        who = self.random.randrange(len(self.traders))
        link = ConnectionId(who)
        match self.random.randrange(8):
            case 0 | 1:
                records = tuple(record.raw for record in self.to_say[who])
                process.do(Received(link, frames.Publish(1, records)))
            case 2:
                posts = tuple(post.raw for post in self.random.sample(self.posts, 2))
                process.do(Received(link, frames.Publish(1, posts)))
            case 3 | 4:
                claim = frames.Claim(1, self.random.choice(self.posts).id)
                process.do(Received(link, claim))
            case 5:
                process.do(Heard(process.news()))
            case 6:
                self.let_time_pass()
                process.do(Tick())
            case _:
                if self.is_rough and self.random.random() < 0.2:  # it died; another begins
                    self.processes[self.processes.index(process)] = Process(self)
        for one in self.random.sample(self.processes, PROCESSES):
            if one.wants_turn and self.random.random() < 0.5:
                one.take_turn()

    def let_time_pass(self) -> None:
        for one in () if self.is_rough else self.processes:
            one.do(Heard(one.news()))
        self.now_ms += self.random.choice((1, 100, 2_500, limits.INTAKE_AFTER_MS))

    def settle(self) -> None:
        """Let nothing fail any more, and all hear of everything."""
        self.random.random = lambda: 0.99  # type: ignore[method-assign]
        for _ in range(20):
            for process in self.processes:
                process.do(Heard(process.news()))
                if process.wants_turn:
                    process.take_turn()


@given(st.integers(0, 2**32))
def test_they_are_one_relay(seed: int) -> None:
    relay = Relay(seed)
    for _ in range(STEPS):
        relay.step()
    relay.settle()
    own = done(relay.store.log(RELAY.agent, first=1, last=10_000, limit=10_000))
    log = check_segment(own, author=RELAY.agent)
    grants = Counter((one.body.task, one.body.epoch) for one in log if isinstance(one.body, Award))
    assert set(grants.values()) <= {1}, "each epoch is granted once"
    assert relay.awards.keys() <= {record.id for record in log}, "what was told is kept"
    check_receipts(relay)
    for process in relay.processes:
        state = process.machine._state
        assert state.own_head.seq == len(log)
        for trader in relay.traders:
            kept = done(relay.store.heads([trader.agent])).get(trader.agent)
            assert kept is None or state.heads.get(trader.agent) in (kept, None)
    for post in () if relay.is_rough else relay.posts:  # a start begins deadlines anew
        known = [one.machine._state.tasks.get(post.id) for one in relay.processes]
        told = {(task.epoch, task.accept) for task in known if task is not None}
        assert len(told) <= 1, "they agree on what became of it"


def check_receipts(relay: Relay) -> None:
    entries = relay.store._index.entries.items()
    covered = Counter(
        receipt.ids[start : start + ID_BYTES]
        for receipt in relay.store._receipts.values()
        for start in range(0, len(receipt.ids), ID_BYTES)
    )
    due = Counter(
        entry.record.id
        for cursor, entry in entries
        if entry.route_of is None
        and entry.record.author != RELAY.agent
        and cursor <= relay.store._covered
    )
    assert covered == due, "each record has one receipt"
