"""Random ``kill -9`` of a relay and its nodes under load, and what has to hold afterwards.

Two publishers with keys of their own count what the relay has acknowledged; a poster and two
workers trade claims and auctions meanwhile. Afterwards every acknowledged record is there, every
task is over, no task was done twice or under two epochs at once, and every log is one chain.
"""

import asyncio
import random
import shlex
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from tests.market_records import Trader
from tests.relay_client import Client as RelayClient
from tests.town import TERMINAL, Site, Town, find_proofs, raw_client, read_log, until

from bazaar_host import clock
from bazaar_host.addresses import Address
from bazaar_protocol import frames, kinds
from bazaar_protocol.errors import BazaarError
from bazaar_protocol.identity import parse_agent
from bazaar_protocol.records import Record, RecordId, unseal

KILL_PAUSE_S: Final = (0.3, 1.5)
DOWN_S_MAX: Final = 0.5
ENTRIES_PER_PUBLISH: Final = 8
PUBLISH_PAUSE_S: Final = 0.02
RETRY_S: Final = 0.1
TASKS_AT_ONCE: Final = 6
END_S: Final = 60.0

# The lock is held for as long as the program lives, so whoever meets it is the second at once.
PROGRAM = """
import fcntl, os, random, sys, time
folder, task = sys.argv[1], os.environ["BAZAAR_TASK_ID"]
lock = open(f"{folder}/{task}.lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    open(f"{folder}/twice", "a").write(task + "\\n")
time.sleep(random.uniform(0.05, 0.6))
print('"done"')
"""


@dataclass
class Report:
    """What was done, and what was found; ``faults`` has to stay empty."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    epochs: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        ended = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
        return (
            f"seed {self.seed}: {self.kills.total()} kills ({killed}) in {self.seconds:.0f} s; "
            f"{self.acknowledged} records acknowledged; {self.outcomes.total()} tasks ({ended}) "
            f"in {self.epochs} epochs; {len(self.faults)} faults"
        )


async def crash_at_random(
    it: Town, *, kills: int, seed: int, schedule_to_start_ms: int = 4_000
) -> Report:
    """Start a market in an empty town, kill its processes ``kills`` times, and judge the end.

    ``schedule_to_start_ms`` is about what a restart takes, so that awards are replaced and accepts
    come too late. The product's default is longer.
    """
    report = Report(seed)
    begun = time.monotonic()
    work = it.folder / "work"
    work.mkdir()
    program = shlex.join([sys.executable, "-I", "-S", "-c", PROGRAM, str(work)])
    relay = await it.relay()
    offer = ("--offer", "word.find", "--exec", program, "--slots", "2")
    ada, bo, cy = await asyncio.gather(
        it.node("ada"),
        it.node("bo", *offer, "--price", "4"),
        it.node("cy", *offer, "--price", "5"),
    )
    agents = {site.home.name: parse_agent(await site.agent()) for site in (ada, bo, cy)}
    publishers = [Publisher(it.address, name) for name in ("pat", "sam")]
    poster = Poster(ada, schedule_to_start_ms)
    async with asyncio.TaskGroup() as group:
        publishing = [group.create_task(publisher.run()) for publisher in publishers]
        posting = group.create_task(poster.run())
        await _kill(random.Random(seed), (relay, ada, bo, cy), kills, report)
        poster.stop.set()
        for publisher in publishers:
            publisher.stop.set()
        await asyncio.gather(*publishing)
        report.faults += await _stuck(ada, poster, posting)
    report.outcomes = poster.outcomes
    async with raw_client(it.address, "reader") as reader:
        for publisher in publishers:
            report.acknowledged += len(publisher.acknowledged)
            report.faults += await publisher.missing(reader)
        for site in (ada, bo, cy):
            report.faults += await _check_log(reader, site, agents[site.home.name])
        relay_agent = Address.parse(it.address).peer
        assert relay_agent is not None
        await read_log(reader, relay_agent)
        report.faults += [f"fork: {proof.hex()}" for proof in await find_proofs(reader)]
        for task in poster.posted:
            report.faults += await _check_task(reader, task, report)
    if (work / "twice").exists():
        report.faults += [f"done twice at once: {(work / 'twice').read_text()}"]
    report.faults += await _audit(ada, poster.posted[-TASKS_AT_ONCE:])
    report.seconds = time.monotonic() - begun
    return report


async def _audit(site: Site, tasks: list[str]) -> list[str]:
    """Return what the audits of ``tasks`` find wrong."""
    reports = [await asyncio.to_thread(site.client.audit, task) for task in tasks]
    return [
        f"unsound: {check.what}" for report in reports for check in report.checks if not check.ok
    ]


async def _stuck(ada: Site, poster: "Poster", posting: asyncio.Task[None]) -> list[str]:
    """Return the tasks that do not end in time."""
    faults: list[str] = []
    try:
        async with asyncio.timeout(END_S):
            await posting
    except TimeoutError:
        for task in sorted(poster.under_way):
            detail = await ada.detail(task)
            events = " ".join(f"{event.what}:{event.epoch}" for event in detail.events)
            faults.append(f"{task[:8]} is stuck as {detail.task.state}: {events}")
    return faults


class Publisher:
    """Publishes through every outage, and remembers what was acknowledged."""

    def __init__(self, address: str, name: str) -> None:
        self.acknowledged: list[Record] = []
        self.stop = asyncio.Event()
        self._address = address
        self._name = name
        self._author = Trader.named(name, clock.now_ms())
        self._waiting = [self._author.genesis()]

    async def run(self) -> None:
        while not self.stop.is_set():
            try:
                async with raw_client(self._address, self._name) as client:
                    while not self.stop.is_set():
                        await self._publish(client)
                        await asyncio.sleep(PUBLISH_PAUSE_S)
            except (BazaarError, TimeoutError):
                await asyncio.sleep(RETRY_S)  # it is being killed, or not yet back

    async def _publish(self, client: RelayClient) -> None:
        if not self._waiting:
            number = len(self.acknowledged)
            entries = [self._author.intake(number + n) for n in range(ENTRIES_PER_PUBLISH)]
            post = self._author.post(title=f"number {number}", capability="nobody.does.this")
            self._waiting = [*entries, post]
        statuses = await client.publish(*self._waiting)
        assert set(statuses) <= {"accepted", "duplicate"}, statuses
        self.acknowledged += self._waiting
        self._waiting = []

    async def missing(self, reader: RelayClient) -> list[str]:
        """Return which acknowledged records the relay no longer has."""
        kept = {record.id for record in await read_log(reader, self._author.agent)}
        for record in self.acknowledged:
            if isinstance(record.body, kinds.Post):
                segment = await reader.ask(frames.GetTask, record.id, 0)
                kept.update(unseal(raw).id for raw in segment.records)
        lost = [record for record in self.acknowledged if record.id not in kept]
        return [f"lost: {record.kind} {record.seq} of {self._name}" for record in lost]


class Poster:
    """Posts a few tasks at a time, each once however often it has to ask, and sees them end."""

    def __init__(self, site: Site, schedule_to_start_ms: int) -> None:
        self._schedule_to_start_ms = schedule_to_start_ms
        self.posted: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.under_way: set[str] = set()
        self.stop = asyncio.Event()
        self._site = site
        self._room = asyncio.Semaphore(TASKS_AT_ONCE)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while not self.stop.is_set():
                await self._room.acquire()
                task = await self._post(len(self.posted))
                self.posted.append(task)
                group.create_task(self._see_end(task))

    async def _post(self, number: int) -> str:
        mode: dict[str, Any] = (
            {"price": 9},
            {"price_max": 9, "bid_window_ms": 200},
            {"price": 9, "sequencer": "relay"},
        )[number % 3]
        while True:
            try:
                view = await self._site.post(
                    "word.find", input=b"%d" % number, idempotency_key=f"task {number}",
                    heartbeat_timeout_ms=3_000, schedule_to_start_ms=self._schedule_to_start_ms,
                    attempts_max=50, **mode,
                )  # fmt: skip
            except BazaarError:
                await asyncio.sleep(RETRY_S)
            else:
                return view.id

    async def _see_end(self, task: str) -> None:
        self.under_way.add(task)
        while task in self.under_way:
            try:
                over = await self._site.reached(task, *TERMINAL, timeout_s=END_S)
            except (BazaarError, AssertionError):  # an AssertionError: the stream ended early
                await asyncio.sleep(RETRY_S)
            else:
                self.outcomes[over.task.state] += 1
                self.under_way.remove(task)
        self._room.release()


async def _kill(chance: random.Random, sites: tuple[Site, ...], kills: int, report: Report) -> None:
    relay, *nodes = sites
    while report.kills.total() < kills:
        # The relay as often as all nodes together, and now and then two at once.
        victims = {site.home.name: site for site in (relay, chance.choice(nodes))}
        if chance.random() > 0.2:
            victims.pop(chance.choice(list(victims)))
        await asyncio.sleep(chance.uniform(*KILL_PAUSE_S))
        for name, site in victims.items():
            await site.crash()
            report.kills[name] += 1
        await asyncio.sleep(chance.uniform(0, DOWN_S_MAX))
        await asyncio.gather(*(site.up() for site in victims.values()))


async def _check_log(reader: RelayClient, site: Site, agent: bytes) -> list[str]:
    """Wait until the outbox is empty; the relay then has the whole log, as one chain."""
    await until(lambda: site.client.status().outbox, lambda waiting: waiting == 0, timeout_s=END_S)
    ours = site.client.status().log_seq
    theirs = len(await read_log(reader, agent))
    if theirs == ours:
        return []
    return [f"the log of {site.home.name} has {ours} entries, {theirs} of them at the relay"]


async def _check_task(reader: RelayClient, task: str, report: Report) -> list[str]:
    segment = await reader.ask(frames.GetTask, RecordId(bytes.fromhex(task)), 0)
    epochs: dict[str, list[int]] = {kind: [] for kind in ("award", "accept", "deliver", "verdict")}
    for record in map(unseal, segment.records):
        if record.kind in epochs:
            epochs[record.kind].append(getattr(record.body, "epoch", 0))
    report.epochs += len(epochs["award"])
    faults = [
        f"{task[:8]}: two records of kind {kind} in one epoch: {seen}"
        for kind, seen in epochs.items()
        if len(set(seen)) != len(seen)
    ]
    if len(epochs["verdict"]) > 1:
        faults.append(f"{task[:8]}: judged in epochs {epochs['verdict']}")
    return faults
