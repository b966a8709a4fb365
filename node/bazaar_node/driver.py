"""Drives an agent: hands it events, makes its turns durable, then lets its actions happen.

Events queue up while a commit runs, and what has queued up is the next commit (group commit, no
timers). Nothing leaves the process, and nobody is answered, before the commit. When a commit
fails, the agent is built again from the store, and whoever waited is told.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from bazaar_host.clock import SteadyClock
from bazaar_node.market.agent import Agent
from bazaar_node.market.events import (
    Action,
    AgentEvent,
    Arrived,
    Change,
    Outgoing,
    Resumed,
    Ticked,
    Witnessed,
)
from bazaar_node.market.turn import Turn
from bazaar_node.storage.store import NodeStore, Parcel, RelayMark
from bazaar_protocol.errors import BazaarError, StorageError

EVENTS_QUEUED_MAX: Final = 1_024
EVENTS_PER_COMMIT_MAX: Final = 256
REST_MS_MAX: Final = 60_000
WITNESSED_KINDS: Final = ("proof", "omission", "succession", "stamp", "vouch")
"""Evidence that is no part of a task, and comes by a subscription."""
_MS_PER_S: Final = 1_000


class Reactor(Protocol):
    """Carries out what an agent wants done. Its methods return at once."""

    def act(self, action: Action) -> None:
        """Begin one action."""
        ...

    def dispatch(self, parcels: list[Parcel]) -> None:
        """Hand to the relays what just became durable."""
        ...


@dataclass(slots=True)
class _Waiting:
    event: AgentEvent
    answer: asyncio.Future[Turn]


class Driver:
    """The one place where an agent's events meet its store.

    Args:
        store: Where turns are made durable.
        build: Builds the agent from the store, at the start and after a failed commit.
        clock: The time.

    """

    def __init__(
        self, store: NodeStore, build: Callable[[], Awaitable[Agent]], clock: SteadyClock
    ) -> None:
        self.clock = clock
        self.agent: Agent
        self.reactor: Reactor
        self.handled = 0
        """How many events the agent was handed."""
        self._store = store
        self._build = build
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._is_ticking = False
        self.is_listening = False
        """Whether what others say reaches us, so that their silence means something."""
        self._is_settled = asyncio.Event()
        self._is_settled.set()
        self._marks: dict[str, RelayMark] = {}

    @property
    def queued(self) -> int:
        """How many events wait for the agent."""
        return len(self._queue)

    async def load(self, reactor: Reactor) -> None:
        """Build the agent; to be called once, before anything else."""
        self.reactor = reactor
        await self._rebuild()

    def begin_ticking(self) -> None:
        """Let deadlines pass, since the relays have told what we missed.

        Before that, a result that waits there must not be taken for silence.
        """
        self.is_listening = self.agent.hears_others = True
        if not self._is_ticking:
            self._is_ticking = True
            self._enqueue(Resumed())
        self._wake.set()

    def stop_listening(self) -> None:
        """Judge no silence while no relay is there; our own leases run out all the same."""
        self.is_listening = self.agent.hears_others = False

    def mark(self, address: str, mark: RelayMark) -> None:
        """Remember how far we are with a relay; it is written along with the next commit."""
        self._marks[address] = mark

    async def ask(self, event: AgentEvent) -> Turn:
        """Hand ``event`` to the agent and wait until what follows from it is durable.

        Raises:
            RemoteError: The agent cannot do that, and has not.
            NotFound: It is about something that we do not have.
            StorageError: What followed could not be made durable, and has not happened.

        """
        return await asyncio.shield(await self.tell(event))

    async def tell(self, event: AgentEvent) -> asyncio.Future[Turn]:
        """Queue ``event``; wait only while the queue is full. The future is as ``ask``."""
        while len(self._queue) >= EVENTS_QUEUED_MAX:
            self._room.clear()
            await self._room.wait()
        return self._enqueue(event)

    def hint(self, event: AgentEvent) -> None:
        """Queue ``event`` unless the queue is full: for what may as well be left out."""
        if len(self._queue) < EVENTS_QUEUED_MAX:
            self._enqueue(event)

    async def settled(self) -> Agent:
        """Return the agent once all that it knows is durable; read it before the next await."""
        while not self._is_settled.is_set():
            await self._is_settled.wait()
        return self.agent

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._rest()
            self._is_settled.clear()
            try:
                await self._serve([self._queue.popleft() for _ in range(self._batch_size())])
            finally:
                self._is_settled.set()
            self._room.set()
            await asyncio.sleep(0)  # let those read who wait for a settled moment

    async def flush(self) -> None:
        """Write the marks that no commit has taken along.

        Raises:
            StorageError: They could not be written; what they mark will come again.

        """
        marks, self._marks = self._marks, {}
        if marks:
            await self._store.write((), marks)

    def _enqueue(self, event: AgentEvent) -> asyncio.Future[Turn]:
        answer: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_look_at)
        self._queue.append(_Waiting(event, answer))
        self._wake.set()
        return answer

    def _batch_size(self) -> int:
        return min(len(self._queue), EVENTS_PER_COMMIT_MAX)

    async def _rest(self) -> None:
        """Wait for an event, or for the moment when a deadline passes."""
        while True:
            self._wake.clear()
            rest_ms = self._rest_ms()
            if rest_ms <= 0:  # ahead of all else: a flood of events must not stop the clock
                self._enqueue(Ticked())
                self._queue.rotate(1)
            if self._queue:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_ms / _MS_PER_S):
                    await self._wake.wait()

    def _rest_ms(self) -> int:
        wake_ms = self.agent.wake_ms() if self._is_ticking else None
        return REST_MS_MAX if wake_ms is None else min(REST_MS_MAX, wake_ms - self.clock.now_ms())

    async def _serve(self, batch: list[_Waiting]) -> None:
        done = self._handle(batch)
        changes = [change for _, turn in done for change in turn.changes]
        marks, self._marks = self._marks, {}
        try:
            # Marks alone can wait for company: losing them costs only repetition.
            newest = await self._store.write(changes, marks) if changes else 0
        except StorageError as error:
            await self._rebuild()
            for waiting, _ in done:
                _fail(waiting.answer, error)
            await asyncio.sleep(_FAILED_COMMIT_PAUSE_S)
            return
        if not changes:
            self._marks = marks | self._marks
        self._after([turn for _, turn in done], _parcels(changes, newest))
        for waiting, turn in done:
            if not waiting.answer.done():
                waiting.answer.set_result(turn)
        if self.agent.is_spoiled:
            await self._rebuild()

    def _handle(self, batch: list[_Waiting]) -> list[tuple[_Waiting, Turn]]:
        """Hand the events to the agent, as far as it can be trusted; the others wait again."""
        done: list[tuple[_Waiting, Turn]] = []
        now_ms = self.clock.now_ms()
        for number, waiting in enumerate(batch, start=1):
            self.handled += 1
            try:
                turn = self.agent.handle(waiting.event, now_ms)
                turn.changes += _witnessed(waiting.event)
                done.append((waiting, turn))
            except BazaarError as error:
                _fail(waiting.answer, error)
                if self.agent.is_spoiled:
                    self._queue.extendleft(reversed(batch[number:]))
                    break
        return done

    async def _rebuild(self) -> None:
        """Go back to what is durable, and take up what was under way."""
        self.agent = await self._build()
        self.agent.hears_others = self.is_listening
        if self._is_ticking:
            self._enqueue(Resumed())

    def _after(self, turns: list[Turn], parcels: list[Parcel]) -> None:
        if parcels:
            self.reactor.dispatch(parcels)
        for turn in turns:
            for action in turn.actions:
                self.reactor.act(action)


_FAILED_COMMIT_PAUSE_S: Final = 0.2


def _witnessed(event: AgentEvent) -> list[Change]:
    """Have evidence kept in the same commit; what it says of others concerns no task."""
    match event:
        case Arrived(record) if record.kind in WITNESSED_KINDS:
            return [Witnessed(record)]
        case _:
            return []


def _parcels(changes: list[Change], newest: int) -> list[Parcel]:
    """Return what went into the outbox; the last of it got the newest number."""
    outgoing = [change for change in changes if isinstance(change, Outgoing)]
    first = newest - len(outgoing) + 1
    return [Parcel(number, change.raw, change.to) for number, change in enumerate(outgoing, first)]


def _fail(answer: asyncio.Future[Turn], error: BazaarError) -> None:
    if not answer.done():
        answer.set_exception(error)


def _look_at(answer: asyncio.Future[Turn]) -> None:
    # Not everyone waits for the answer, and asyncio complains of errors that nobody looked at.
    if not answer.cancelled():
        answer.exception()
