"""Carries out what an agent wants done: claims, transfers, work, and the judging of results.

Each errand is a task of its own, known by what it is for, so that asking twice (after a restart,
or after a failed commit) does it once. What an errand finds out goes back to the agent as an
event, again and again while the disk is full: a result is never dropped for want of a commit.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Hashable
from contextlib import asynccontextmanager
from typing import Final, Self

from bazaar_host.logs import logger
from bazaar_node.driver import Driver
from bazaar_node.market.claiming import CLAIM_BUSY, CLAIM_ELSEWHERE
from bazaar_node.market.events import (
    Action,
    AgentEvent,
    Arrived,
    ClaimRefused,
    ClaimTask,
    FetchInput,
    FetchResult,
    InputFound,
    InputReady,
    Judge,
    Judged,
    KeepData,
    LearnPost,
    Learnt,
    LearnTask,
    LoadChanged,
    ResultArrived,
    SendInput,
    StartWork,
    StopWork,
    TaskChanged,
    WorkFailed,
)
from bazaar_node.network.reaching import Reaching
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.network.relays import RelayOffice
from bazaar_node.network.transfer import Wanted, fetch
from bazaar_node.storage.store import NodeStore, Parcel
from bazaar_node.watching import Watchers
from bazaar_node.work.acceptance import judge
from bazaar_node.work.workshop import Workshop
from bazaar_protocol import limits
from bazaar_protocol.errors import (
    BazaarError,
    LinkClosed,
    Refused,
    RemoteError,
    StorageError,
    Unreachable,
)
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Deliver, Post
from bazaar_protocol.records import Record, RecordId, unseal

LETTER_WAIT_S: Final = 5.0
"""How long to wait for a letter before asking its sender directly."""
FETCH_DEADLINE_S: Final = 120.0
STORAGE_RETRY_S: Final = 1.0
CLAIM_RETRY_S: Final = 0.5

log = logger(__name__)


class Errands:
    """The hands of a node."""

    def __init__(
        self, driver: Driver, office: RelayOffice, store: NodeStore, workshop: Workshop
    ) -> None:
        self.watchers = Watchers()
        self.rng = office.rng
        self.awaiting_approval: set[RecordId] = set()
        """Tasks whose results only the owner can judge."""
        self._driver = driver
        self._office = office
        self._store = store
        self._transport = Reaching(office.transport, office.exchanges)
        self._workshop = workshop
        self._blobs = workshop.blobs
        self._schemas = workshop.schemas
        self._folder = workshop.folder
        self._running: dict[Hashable, asyncio.Task[None]] = {}
        self._arrivals: dict[bytes, asyncio.Event] = {}
        self._claims = 0
        """How many claims wait for their answers."""
        self._tasks: asyncio.TaskGroup
        office.keep = self.keep

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Self]:
        """Carry out errands inside this block; what is under way at its end is cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                yield self
            finally:
                for errand in list(self._running.values()):
                    errand.cancel()

    def dispatch(self, parcels: list[Parcel]) -> None:
        """Hand to the relays what just became durable."""
        self._office.dispatch(parcels)

    def act(self, action: Action) -> None:
        """Begin one action."""
        match action:
            case TaskChanged(task):
                self.watchers.notify(task)
            case LoadChanged():
                self._office.readvertise()
            case StopWork(task, epoch):
                self._stop(("fetch", task, epoch))
                self._stop(("work", task, epoch))
                self._workshop.stop(task, epoch)
            case KeepData():
                pass  # kept by whoever read the letter, before the relay may forget it
            case _:
                self._begin(action)

    async def keep(self, action: KeepData) -> None:
        """Keep what a letter brought, and wake who waits for it."""
        digest = await self._blobs.put(action.data)
        arrival = self._arrivals.pop(digest, None)
        if arrival is not None:
            arrival.set()

    def _begin(self, action: Action) -> None:
        match action:
            case ClaimTask(task, sequencer):
                self._run(("claim", task), self._claim(task, sequencer))
            case LearnTask() | LearnPost():
                self._begin_learning(action)
            case FetchInput(task, epoch, post):
                # A key of its own: the work begins while this errand still waits for its answer.
                self._run(("fetch", task, epoch), self._fetch_input(task, epoch, post))
            case StartWork():
                self._run(("work", action.task, action.epoch), self._work(action))
            case FetchResult(task, deliver):
                self._run(("result", deliver.id), self._fetch_result(task, deliver))
            case Judge():
                self._run(("judge", action.deliver.id), self._judge(action))
            case SendInput(task, worker, digest):
                self._run(("input", task, worker), self._send_input(task, worker, digest))
            case _:
                raise AssertionError(f"nobody carries out {action}")

    def _begin_learning(self, action: LearnTask | LearnPost) -> None:
        # Anyone can name us in awards of tasks that nobody knows, and invite us to some.
        what = "learn" if isinstance(action, LearnTask) else "invited"
        if self._count(what) >= limits.TASKS_LEARNT_AT_ONCE_MAX:
            return
        match action:
            case LearnTask(task, award):
                self._run((what, task), self._learn(task, award))
            case LearnPost(task, poster):
                self._run((what, task), self._learn_post(task, poster))

    def _count(self, what: str) -> int:
        return sum(isinstance(key, tuple) and key[0] == what for key in self._running)

    def _run(self, key: Hashable, errand: Coroutine[None, None, None]) -> None:
        running = self._running.get(key)
        if running is not None and not running.done():
            errand.close()
            return
        self._running[key] = task = self._tasks.create_task(self._guard(key, errand))
        # One that is cancelled before it has begun has never awaited its errand.
        task.add_done_callback(lambda _: errand.close())

    def _stop(self, key: Hashable) -> None:
        running = self._running.pop(key, None)
        if running is not None:
            running.cancel()

    async def _guard(self, key: Hashable, errand: Coroutine[None, None, None]) -> None:
        try:
            await errand
        except BazaarError as error:
            # Told to the agent where it matters; here it only ends this errand.
            log.info("errand ended", errand=str(key[0]) if isinstance(key, tuple) else "",
                     trouble=str(error))  # fmt: skip
        finally:
            if self._running.get(key) is asyncio.current_task():
                del self._running[key]

    async def _tell(self, event: AgentEvent) -> None:
        while True:
            try:
                await self._driver.ask(event)
            except StorageError:
                await asyncio.sleep(STORAGE_RETRY_S)
            else:
                return

    async def _claim(self, task: RecordId, sequencer: AgentId) -> None:
        # Until there is an answer: the relay offers us a task only once, so a claim that is lost
        # with the link is made again.
        while self._driver.agent.has_to_ask(task):
            if not self._office.uses(sequencer):
                await self._tell(ClaimRefused(task, CLAIM_ELSEWHERE))
                return
            client = self._office.by_agent(sequencer)
            if client is not None and await self._ask_for(task, client.session):
                return
            await asyncio.sleep(CLAIM_RETRY_S)

    async def _ask_for(self, task: RecordId, session: RelaySession) -> bool:
        if self._claims >= self._driver.agent.slots_free:
            # What we ask for is awarded to us: with no slot for it we would only hold others up.
            await self._tell(ClaimRefused(task, CLAIM_BUSY))
            return True
        self._claims += 1
        try:
            await self._tell(Arrived(unseal(await session.claim(task))))
        except (LinkClosed, Unreachable):
            return False
        except Refused as refused:
            await self._tell(ClaimRefused(task, refused.prefix))
        finally:
            self._claims -= 1
        return True

    async def _learn(self, task: RecordId, award: Record) -> None:
        for client in self._office.connected():
            try:
                records = [unseal(raw) for raw in await client.session.task(task)]
            except RemoteError:  # then another relay may know it
                continue
            for record in records:
                if record.id == task:
                    await self._tell(Learnt(record, award))
                    return

    async def _learn_post(self, task: RecordId, poster: AgentId) -> None:
        for client in self._office.connected():
            try:
                records = [unseal(raw) for raw in await client.session.task(task)]
            except RemoteError:  # then another relay may know it
                continue
            for record in records:
                if record.id == task and record.author == poster:
                    await self._tell(Arrived(record))  # as though a relay had offered it to us
                    return

    async def _fetch_input(self, task: RecordId, epoch: int, post: Record) -> None:
        body = post.body
        assert isinstance(body, Post)
        given = body.input
        try:
            if given.data is not None:
                await self._blobs.put(given.data)
            elif not self._blobs.has(given.hash):
                await self._obtain(
                    Wanted(post.author, body.addresses, task, given.hash, given.size)
                )
        except BazaarError as error:  # without room for it, too, nobody is to wait for us
            await self._tell(WorkFailed(task, epoch, f"no input: {error}"))
            return
        await self._tell(InputReady(task, epoch))

    async def _work(self, action: StartWork) -> None:
        event = await self._workshop.work(action)
        if event is not None:
            await self._tell(event)

    async def fetch_result(self, task: RecordId, deliver: Record) -> None:
        """Bring a delivered result here, whatever became of the task since.

        Raises:
            RemoteError: The worker does not give it.
            StorageError: There is no room for it.

        """
        body = deliver.body
        assert isinstance(body, Deliver)
        wanted = Wanted(deliver.author, body.addresses, task, body.hash, body.size)
        await self._fetch(wanted)

    async def _fetch_result(self, task: RecordId, deliver: Record) -> None:
        body = deliver.body
        assert isinstance(body, Deliver)
        if not self._blobs.has(body.hash):
            try:
                await self._obtain(
                    Wanted(deliver.author, body.addresses, task, body.hash, body.size)
                )
            except RemoteError as error:
                reason = f"the result could not be had: {error}"
                await self._tell(Judged(task, deliver.id, accepted=False, reason=reason))
                return
        await self._tell(ResultArrived(task, body.hash))

    async def _obtain(self, wanted: Wanted) -> None:
        """Bring a blob here: small ones come by letter, and else its owner is asked.

        Raises:
            RemoteError: The owner does not give it, or not what it announced.
            StorageError: There is no room for it.

        """
        if wanted.size <= limits.MAILED_BYTES_MAX:
            arrival = self._arrivals.setdefault(wanted.digest, asyncio.Event())
            try:
                async with asyncio.timeout(LETTER_WAIT_S):
                    await arrival.wait()
            except TimeoutError:
                self._arrivals.pop(wanted.digest, None)
            else:
                return
        await self._fetch(wanted)

    async def _fetch(self, wanted: Wanted) -> None:
        await fetch(self._transport, self._blobs, wanted, deadline_s=FETCH_DEADLINE_S, rng=self.rng)

    async def _judge(self, action: Judge) -> None:
        post, deliver = action.post.body, action.deliver.body
        assert isinstance(post, Post)
        assert isinstance(deliver, Deliver)
        judgement = await judge(
            post,
            self._blobs.path(deliver.hash),
            command=await self._store.command(action.task) or None,
            folder=self._folder,
            schemas=self._schemas,
        )
        if judgement.is_final:
            event = Judged(action.task, action.deliver.id, judgement.accepted, judgement.reason)
            await self._tell(event)
        elif judgement.needs_human:
            self.awaiting_approval.add(action.task)
            self.watchers.notify(action.task)

    async def _send_input(self, task: RecordId, worker: AgentId, digest: bytes) -> None:
        data = await self._blobs.read(digest)
        await self._tell(InputFound(task, worker, data))
