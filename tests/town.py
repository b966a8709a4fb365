"""A market of real processes on this machine, any of which may be killed, frozen, or come back.

``async with town(folder) as it:`` ends all of them in the end. When the block fails it prints the
last lines of every log first, so that a failing test shows what each of them thought.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.processes import LISTEN, STOP_S, Daemon, command, kill, start
from tests.relay_client import Client as RelayClient

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_node import homes
from bazaar_node.api.client import Client
from bazaar_node.service import PostRequest, TaskDetail, TaskView
from bazaar_protocol import frames, limits
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head, check_segment
from bazaar_protocol.records import Record, RecordId, unseal

TERMINAL = frozenset({"accepted", "rejected", "lapsed", "expired", "cancelled", "failed"})
LOG_LINES = 25

T = TypeVar("T")


@dataclass
class Site:
    """A home, and the relay or node that is started in it as often as needed."""

    home: Path
    arguments: tuple[str, ...]
    daemon: Daemon | None = None
    starts: int = 0

    @property
    def running(self) -> Daemon:
        assert self.daemon is not None, f"{self.home.name} has not been started"
        return self.daemon

    @property
    def is_up(self) -> bool:
        return self.daemon is not None and self.daemon.is_alive

    @property
    def client(self) -> Client:
        """A client of the node that lives here."""
        return Client(self.home)

    async def up(self) -> None:
        self.daemon = await start(self.home, *self.arguments)
        self.starts += 1

    async def crash(self) -> None:
        """Kill it, as ``kill -9`` and power cuts do."""
        await kill(self.running.process)

    def send(self, number: signal.Signals) -> None:
        self.running.process.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Tell it to end; return its exit status and the seconds it took."""
        begun = time.monotonic()
        self.send(number)
        async with asyncio.timeout(STOP_S):
            status = await self.running.process.wait()
        return status, time.monotonic() - begun

    async def agent(self) -> str:
        return (await asyncio.to_thread(self.client.status)).agent

    async def post(self, capability: str, **request: Any) -> TaskView:
        wanted = PostRequest(capability=capability, **request)
        return await asyncio.to_thread(self.client.post, wanted)

    async def detail(self, task: str) -> TaskDetail:
        return await asyncio.to_thread(self.client.task, task)

    async def reached(self, task: str, *states: str, timeout_s: float = 20.0) -> TaskDetail:
        """Return the task as soon as this node sees it in one of ``states``."""

        def look() -> TaskDetail:
            seen: list[str] = []
            for detail in self.client.watch(task, timeout_s=timeout_s):
                seen.append(detail.task.state)
                if detail.task.state in states:
                    return detail
            raise AssertionError(f"{task[:8]} went {seen} and not to {states}")

        return await asyncio.to_thread(look)

    async def noted(self, task: str, what: str, *, epoch: int = 0) -> TaskDetail:
        """Return the task as soon as this node has noted an event ``what``."""
        return await until(
            lambda: self.client.task(task),
            lambda detail: any(
                event.what == what and epoch in {0, event.epoch} for event in detail.events
            ),
        )


@dataclass
class Town:
    """The sites of one test. The first relay is the one that nodes use."""

    folder: Path
    sites: dict[str, Site] = field(default_factory=dict)
    address: str = ""

    async def relay(self, name: str = "relay", *, home: Path | None = None) -> Site:
        """Start a relay; when started again it listens at the same address."""
        site = self._site(home or self.folder / name, "relay", "up", "--listen", LISTEN)
        await site.up()
        self.address = site.running.address
        listen = self.address.partition("/p2p/")[0]
        site.arguments = ("relay", "up", "--listen", listen)
        return site

    async def node(
        self, name: str, *arguments: str, home: Path | None = None, is_up: bool = True
    ) -> Site:
        """Make an agent and start its node."""
        home = home or self.folder / name
        homes.create(home, name=name, relays=(), passphrase=None)  # a process more costs a second
        site = self._site(home, "up", "--relay", self.address, *arguments)
        if is_up:
            await site.up()
        return site

    def _site(self, home: Path, *arguments: str) -> Site:
        site = Site(home, arguments)
        self.sites[home.name] = site
        return site

    async def relay_task(self, task: str) -> list[Record]:
        """Return the records of a task as the relay has them."""
        async with raw_client(self.address, "reader") as reader:
            answer = await reader.ask(frames.GetTask, bytes.fromhex(task), 0)
            return [unseal(raw) for raw in answer.records]

    async def end(self) -> None:
        for site in self.sites.values():
            if site.daemon is not None:
                await kill(site.daemon.process)

    def show_logs(self) -> None:
        for name, site in self.sites.items():
            show(f"--- {name}, started {site.starts} times; the end of its log:")
            log = site.home.with_suffix(".log")
            lines = log.read_text().splitlines() if log.exists() else []
            show(*lines[-LOG_LINES:])


def show(*lines: str) -> None:
    """Print lines, which pytest shows if the test fails."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


@asynccontextmanager
async def town(folder: Path) -> AsyncGenerator[Town]:
    it = Town(folder)
    try:
        yield it
    except BaseException:
        it.show_logs()
        raise
    finally:
        await it.end()


@asynccontextmanager
async def raw_client(address: str, name: str) -> AsyncGenerator[RelayClient]:
    """Link to a relay with the keys that ``name`` stands for, and greet it."""
    keys = Keypair.from_name(name)
    async with Libp2pTransport.open(keys, [], [RELAY_PROTOCOL], lambda _: None) as transport:
        client = RelayClient(await transport.dial(None, [address], RELAY_PROTOCOL))
        await client.hello()
        yield client


async def read_log(reader: RelayClient, author: bytes) -> list[Record]:
    """Read a whole log and check that it is one chain from its first entry on."""
    entries: list[Record] = []
    while True:
        first = len(entries) + 1
        answer = await reader.ask(frames.GetLog, author, first, limits.INTEGER_MAX)
        assert isinstance(answer, frames.Segment), answer
        if answer.records:
            after = Head.of(entries[-1]) if entries else Head.empty()
            entries += check_segment(answer.records, after, author=AgentId(author))
        if not answer.more:
            return entries


async def find_proofs(reader: RelayClient) -> list[RecordId]:
    """Return the proofs of equivocation that the relay holds."""
    await reader.subscribe(frames.Filter(kinds=("proof",)))
    return [unseal(raw).id for raw in reader.drain()]


async def until(look: Callable[[], T], is_so: Callable[[T], bool], *, timeout_s: float = 20.0) -> T:
    """Look again and again until it is so: for what no event tells of."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = await asyncio.to_thread(look)
        if is_so(seen):
            return seen
        assert time.monotonic() < deadline, f"it did not come to that: {seen}"
        await asyncio.sleep(0.05)


async def try_command(*arguments: str) -> tuple[int, str, str]:
    """Run a short command; return its exit status and what it printed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command(*arguments), stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(STOP_S):
            out, err = await process.communicate()
    finally:
        await kill(process)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
