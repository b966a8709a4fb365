"""A relay in one event loop: drives the machine, and carries out what it answers.

Links come from any transport, records go to any store. Everything that the machine decides is done
in the order in which it was decided; what has to wait (a commit, a read, a replay) waits in a task
of its own and comes back to the machine as an event.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

from bazaar_host import clock
from bazaar_host.links import Link
from bazaar_host.logs import logger
from bazaar_host.metrics import Metrics
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import LinkClosed, RemoteError, StorageError
from bazaar_protocol.frames import decode_to_relay
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import recovery_hash
from bazaar_protocol.peering_frames import Compare, Forward, GetHeads, GetLogs, GetLoose
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.events import (
    Commit,
    CommitFailed,
    Committed,
    Connected,
    ConnectionId,
    Disconnected,
    Effect,
    EndTurn,
    Event,
    PassOn,
    PolicyChanged,
    Present,
    Read,
    Received,
    Reply,
    Tick,
    Verify,
    WantTurn,
)
from bazaar_relay.peering.peer_counters import PeerCounters
from bazaar_relay.peering.peer_office import Host, PeerOffice
from bazaar_relay.serving import reading
from bazaar_relay.serving.connection import Connection
from bazaar_relay.serving.counters import Counters
from bazaar_relay.serving.health import Health
from bazaar_relay.serving.information import About, document, features, software
from bazaar_relay.serving.intake import THREADS, Intake
from bazaar_relay.serving.outgoing import Outgoing
from bazaar_relay.serving.sharing import machine_for, share
from bazaar_relay.storage.store import Batch, Store

_WAIT_S_MAX: Final = 60.0  # the wall clock may jump while we sleep
_FORGET_INTERVAL_S: Final = 60.0
_SLOWED: Final = ("rate-limited:", "pow:")
"""Statuses after which less is read of who got them."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a relay may be given beside its keys and its store."""

    policy: Policy = field(default_factory=Policy)
    about: About = field(default_factory=About)
    recovery: bytes | None = None
    """Hash of the recovery key, for the first entry of the log; its own key's if None."""
    clock: Callable[[], int] = clock.now_ms
    entropy: Callable[[], bytes] = lambda: os.urandom(32)
    verifies_in_threads: bool = True
    """False makes every run of a simulation the same."""
    metrics: Metrics | None = None


class RelayService:
    """A relay that serves whatever links it is given. ``open`` makes it."""

    def __init__(
        self, keys: Keypair, store: Store, options: Options, tasks: asyncio.TaskGroup
    ) -> None:
        metrics = options.metrics or Metrics()
        self.counters = Counters(metrics)
        self.machine = machine_for(store)(
            keys,
            recovery=options.recovery or recovery_hash(keys.agent),
            entropy=options.entropy,
            policy=options.policy,
        )
        self._sharing = share(store, self.machine, self._run, self._keep)
        self._keys = keys
        self._store = store
        self._options = options
        self._policy = options.policy
        self._tasks = tasks
        self._addresses: list[str] = []
        self._outgoing = Outgoing(
            partial(
                reading.answer,
                store,
                keys=keys,
                clock=options.clock,
                is_left_out=self.machine.federation.leaves_out,
            ),
            store,
            self.counters,
            newest=lambda: self.machine.cursor,
            welcome=self._welcome,
        )
        self._readers: dict[ConnectionId, asyncio.Task[None]] = {}
        self._links = 0
        self.health = Health(lambda: self._sharing is None or self._sharing.is_reachable)
        self._threads = (
            ThreadPoolExecutor(THREADS, "verify") if options.verifies_in_threads else None
        )
        self._intake = Intake(self._run, self._threads, self._is_stranger)
        host = Host(
            keys.agent, store, self.machine.federation, self._run, PeerCounters(metrics),
            options.clock, software(),
        )  # fmt: skip
        self.peers = PeerOffice(host, tasks)
        """The relays that this one follows; ``open`` and ``follow`` begin that."""
        self._armed_ms: int | None = None
        self._rearmed = asyncio.Event()
        self._became_idle = asyncio.Event()
        self._log = logger("relay")

    @classmethod
    @asynccontextmanager
    async def open(
        cls, keys: Keypair, store: Store, options: Options | None = None
    ) -> AsyncGenerator[Self]:
        """Serve until the block is left; then answer what was taken in, and end every link.

        Raises:
            StorageError: The store cannot be read.

        """
        async with asyncio.TaskGroup() as tasks:
            service = cls(keys, store, options or Options(), tasks)
            loops = await service._start()
            try:
                yield service
            finally:
                await service._stop(loops)

    @property
    def addresses(self) -> Sequence[str]:
        """Where the relay can be dialed, as far as it was told."""
        return self._addresses

    @addresses.setter
    def addresses(self, addresses: Sequence[str]) -> None:
        self._addresses = list(addresses)

    def information(self) -> bytes:
        """Return the information document, JSON."""
        return document(
            self._keys.agent,
            self._options.about,
            self._policy,
            self._addresses,
            work_bits=self.work_bits(),
        )

    def work_bits(self) -> int:
        """Return how much work a stranger is asked for now; 0 for none."""
        return self.machine.work_bits(self._options.clock())

    def change_policy(self, policy: Policy) -> None:
        """Go on as the operator has decided; who is not served any more is sent away."""
        self._policy = policy
        self._run(PolicyChanged(policy))

    def on_link(self, link: Link) -> None:
        """Serve a node that has opened ``link``."""
        if self.health.is_stopping:
            link.close()
            return
        self._links += 1
        connection = Connection(ConnectionId(self._links), link, self._tasks)
        self._outgoing.connections[connection.id] = connection
        self.counters.links.inc()
        self._run(Connected(connection.id, link.peer, link.address))
        self._readers[connection.id] = self._tasks.create_task(self._serve(connection))

    async def _start(self) -> list[asyncio.Task[None]]:
        now_ms = self._options.clock()
        own = partial(reading.start, self._store)
        start = own if self._sharing is None else self._sharing.start
        self._run(await start(self._keys.agent, now_ms))
        self.health.is_started = True
        sharing = [] if self._sharing is None else [self._tasks.create_task(self._sharing.serve())]
        return [
            *sharing,
            self._tasks.create_task(self._intake.serve(self._tasks)),
            self._tasks.create_task(self._tick()),
            self._tasks.create_task(self._forget()),
        ]

    async def drain(self) -> None:
        """Take nothing more, and answer for what is being worked on, for a moment at most.

        What still waits is not answered: nobody was promised anything about it.
        """
        self.health.is_stopping = True
        self.peers.stop()
        self._outgoing.stop_feeds()
        self._intake.stop()
        try:
            async with asyncio.timeout(limits.RELAY_STOP_S):
                while not self.machine.is_idle:
                    self._became_idle.clear()
                    await self._became_idle.wait()
        except TimeoutError:
            self._log.warning("stopped with work left")
        for connection in list(self._outgoing.connections.values()):
            connection.fail("stopping", "this relay is stopping; it may be back soon")

    async def _stop(self, loops: list[asyncio.Task[None]]) -> None:
        try:
            await self.drain()
        finally:
            for connection in list(self._outgoing.connections.values()):
                connection.link.close()
            for task in [*loops, *self._readers.values()]:
                task.cancel()
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, connection: Connection) -> None:
        """Take what one node sends, until its link ends."""
        reason = "a link begins with hello"
        try:
            async with asyncio.timeout(limits.HELLO_TIMEOUT_S) as deadline:
                while not connection.is_failed:
                    bodies = await connection.link.receive()
                    reason = "nothing came for too long"
                    deadline.reschedule(None)
                    for body in bodies:
                        await self._take(connection, body)
                    silent_until_s = asyncio.get_running_loop().time() + limits.LINK_SILENT_S_MAX
                    deadline.reschedule(silent_until_s)
        except LinkClosed:
            pass
        except RemoteError as error:
            self.counters.bad_frames.inc()
            connection.fail(error.code, str(error))
        except TimeoutError:
            connection.fail("timeout", reason)
        finally:
            self._end(connection)

    async def _take(self, connection: Connection, body: bytes) -> None:
        if connection.is_failed:
            return
        frame = decode_to_relay(body)
        await connection.wait_for_room()
        match frame:
            case frames.Publish() | frames.Claim() | frames.Mail() | frames.Collect() | Forward():
                if not self.machine.has_greeted(connection.id):
                    self._run(Received(connection.id, frame))  # which refuses it
                    return
                connection.expect_answer()
                await self._intake.put(connection, frame, len(body))
            case (
                frames.GetLog()
                | frames.GetHead()
                | frames.GetTask()
                | frames.GetInclusion()
                | frames.GetStatement()
                | frames.Query()
                | frames.OpenLink()
                | Compare()
                | GetHeads()
                | GetLogs()
                | GetLoose()
            ):
                connection.expect_answer()
                self._run(Received(connection.id, frame))
            case _:
                self._run(Received(connection.id, frame))

    def _end(self, connection: Connection) -> None:
        self._intake.forget(connection)
        self._outgoing.end(connection.id)
        self._readers.pop(connection.id, None)
        self.counters.links.dec()
        connection.link.close()
        self._run(Disconnected(connection.id))

    def _is_stranger(self, peer: AgentId) -> bool:
        return self.machine.is_strange(peer, self._options.clock())

    def _run(self, event: Event) -> None:
        """Let the machine handle ``event``, and carry out what it answers."""
        self._carry_out(self.machine.handle(event, self._options.clock()))
        wake_ms = self.machine.wake_ms()
        if wake_ms is not None and (self._armed_ms is None or wake_ms < self._armed_ms):
            self._rearmed.set()
        if self.machine.is_idle:
            self._became_idle.set()

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Verify():
                    self._intake.want(effect)
                case Commit() if self._sharing is None:
                    self._tasks.create_task(self._commit(effect))
                case Commit() | EndTurn() | WantTurn():
                    assert self._sharing is not None
                    self._sharing.carry_out(effect)
                case Read():
                    self._tasks.create_task(self._read(effect))
                case PassOn() | Present():
                    self.peers.do(effect)
                case Reply() if effect.connection < 0:
                    self.peers.answered(effect)
                case _:
                    if isinstance(effect, Reply) and isinstance(effect.frame, frames.Published):
                        self._finish(effect.connection, effect.frame.statuses)
                    self._outgoing.carry_out(effect, self._tasks)
        self._outgoing.flush()

    def _finish(self, number: ConnectionId, statuses: tuple[str, ...]) -> None:
        self.counters.count_statuses(statuses)
        self._intake.finished(len(statuses))
        connection = self._outgoing.connections.get(number)
        if connection is None or not statuses:
            return
        if statuses[0].startswith(_SLOWED):
            connection.pause()
        else:
            connection.forgive()

    def _welcome(self) -> frames.Welcome:
        return frames.Welcome(
            frames.VERSION,
            software(),
            features(self._policy),
            self._store.name,
            self.machine.cursor,
            self.information(),
        )

    async def _commit(self, commit: Commit) -> None:
        self._run(await self._keep(commit.batch))

    async def _keep(self, batch: Batch) -> Committed | CommitFailed:
        try:
            kept = await self._store.commit(batch)
        except StorageError as error:
            self.counters.failures.inc()
            self.health.kept(is_well=False)
            self._log.error("commit failed", reason=str(error))
            return CommitFailed(str(error))
        self.health.kept(is_well=True)
        self.counters.commits.inc()
        self.counters.group_size.observe(len(batch.records))
        return Committed(kept)

    async def _read(self, wanted: Read) -> None:
        self._run(await reading.read(self._store, wanted))

    async def _tick(self) -> None:
        """Wake the machine when it wants to be woken."""
        while True:
            self._rearmed.clear()
            self._armed_ms = self.machine.wake_ms()
            wait_s = _WAIT_S_MAX
            if self._armed_ms is not None:
                left_ms = self._armed_ms - self._options.clock()
                wait_s = min(wait_s, max(0.0, left_ms / limits.SECOND_MS))
            try:
                async with asyncio.timeout(wait_s):
                    await self._rearmed.wait()
            except TimeoutError:
                self._run(Tick())

    async def _forget(self) -> None:
        """Delete what has expired, now and then."""
        while True:
            await asyncio.sleep(_FORGET_INTERVAL_S)
            try:
                while await self._store.forget(now_ms=self._options.clock()):
                    pass  # it deletes a bounded number at a time, and others get their turn
            except StorageError as error:
                self._log.error("forgetting failed", reason=str(error))
