"""A node in memory: the whole of ``NodeService`` without keys, relays or a disk.

It keeps the rules that its callers rely on: names by their first digits, one task for one
idempotency key, leases with an epoch, a verdict for results that wait for one.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from hashlib import sha256
from pathlib import Path

import msgspec
from tests.memory_reputations import MemoryReputations

from bazaar_node.pledge_service import StampView, VouchRequest
from bazaar_node.service import (
    Assignment,
    AuditReport,
    BidView,
    CanaryRequest,
    CanaryView,
    Check,
    Found,
    OfferRequest,
    OfferView,
    PostRequest,
    RelayView,
    Role,
    Status,
    TaskDetail,
    TaskEvent,
    TaskView,
)
from bazaar_protocol.errors import (
    ConfigError,
    IllegalTransition,
    NotFound,
    Refused,
    StaleEpoch,
)

AGENT = "did:key:z6MkmemoryMemoryMemoryMemoryMemoryMemoryMemo"
RELAY = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWmemory"
OVER = {"accepted", "rejected", "cancelled", "failed"}


class Count:
    """How many there are, for one who waits until there are so many."""

    def __init__(self) -> None:
        self.value = 0
        self._changed = asyncio.Event()

    def add(self, step: int) -> None:
        self.value += step
        self._changed.set()

    async def reaches(self, value: int) -> None:
        async with asyncio.timeout(10):
            while self.value != value:
                self._changed.clear()
                await self._changed.wait()


class MemoryCanaries:
    """Canaries in memory, numbered from 1."""

    def __init__(self) -> None:
        self._known: dict[int, CanaryView] = {}

    async def all(self) -> list[CanaryView]:
        return list(self._known.values())

    async def add(self, request: CanaryRequest) -> CanaryView:
        number = len(self._known) + 1
        self._known[number] = CanaryView(
            number=number, capability=request.capability,
            input_sha256=sha256(request.input).hexdigest(), input_size=len(request.input),
            expected_sha256=request.expected_sha256,
        )  # fmt: skip
        return self._known[number]

    async def remove(self, number: int) -> None:
        if self._known.pop(number, None) is None:
            raise NotFound(f"there is no canary {number}")


class MemoryPledges:
    """What was said, in order."""

    def __init__(self) -> None:
        self.vouches: list[VouchRequest] = []

    async def vouch(self, request: VouchRequest) -> None:
        self.vouches.append(request)

    async def stamp(self) -> StampView:
        return StampView(bits=20, day=20_000)


class MemoryNode:
    """A node whose poster and worker are the same agent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_ready = True
        self.canaries = MemoryCanaries()
        self.pledges = MemoryPledges()
        self.reputations = MemoryReputations()
        self.watchers = Count()
        self.takers = Count()
        self._requests: dict[str, PostRequest] = {}
        self._details: dict[str, TaskDetail] = {}
        self._history: dict[str, list[TaskDetail]] = {}
        self._offers: dict[str, OfferView] = {}
        self._results: dict[str, Path] = {}
        self._changed = asyncio.Condition()

    async def status(self) -> Status:
        waiting = sum(detail.task.awaits_approval for detail in self._details.values())
        return Status(
            agent=AGENT, peer_id="12D3KooWmemory", name="memory", version="0",
            home=str(self.folder), pid=1, started_ms=1, is_ready=self.is_ready,
            trouble="" if self.is_ready else "no relay", addresses=("/ip4/127.0.0.1/tcp/9",),
            relays=(self._relay(),), offers=tuple(self._offers), slots=4, load=0,
            tasks=self._counts(), awaiting_approval=waiting, log_seq=1, outbox=0,
        )  # fmt: skip

    async def post(self, request: PostRequest) -> TaskView:
        if sum(msgspec.structs.astuple(request.weights)) not in {0, 10_000}:
            raise ConfigError("the weights sum to 10000 or 0")
        key = request.idempotency_key or str(len(self._details))
        name = sha256(key.encode()).hexdigest()
        if name not in self._details:
            self._requests[name] = request
            self._details[name] = TaskDetail(task=_opened(name, request), bids=(), events=())
            await self._change(name, "post", lambda task: task)
        return self._details[name].task

    async def tasks(self, *, role: Role | None, state: str | None, limit: int) -> list[TaskView]:
        found = [detail.task for detail in reversed(self._details.values())]
        return [
            task for task in found if role in (None, task.role) and state in (None, task.state)
        ][:limit]

    async def task(self, task: str) -> TaskDetail:
        return self._details[self._name(task)]

    async def watch(self, task: str) -> AsyncGenerator[TaskDetail]:
        history = self._history[self._name(task)]
        at = len(history) - 1
        self.watchers.add(1)
        try:
            while True:
                while len(history) <= at:
                    async with self._changed:
                        await self._changed.wait()
                yield history[at]
                if history[at].task.state in OVER:
                    return
                at += 1
        finally:
            self.watchers.add(-1)

    async def cancel(self, task: str, *, reason: str) -> TaskView:
        return await self._change(
            task,
            "withdraw",
            lambda view: msgspec.structs.replace(view, state="cancelled", why=reason),
            {"open", "running"},
        )

    async def decide(self, task: str, *, accepted: bool, reason: str) -> TaskView:
        state = "accepted" if accepted else "rejected"
        return await self._change(
            task,
            "verdict",
            lambda view: msgspec.structs.replace(
                view, state=state, why=reason, awaits_approval=False
            ),
            {"delivered"},
        )

    async def dispute(self, task: str, *, reason: str) -> TaskView:
        return await self._change(task, "dispute", lambda view: view, {"rejected"}, note=reason)

    async def result(self, task: str) -> Path:
        name = self._name(task)
        if name not in self._results:
            raise NotFound(f"task {task} has no result yet")
        return self._results[name]

    async def offers(self) -> list[OfferView]:
        return list(self._offers.values())

    async def offer(self, request: OfferRequest) -> OfferView:
        fields = {name: getattr(request, name) for name in OfferView.__struct_fields__}
        self._offers[request.capability] = OfferView(**fields)
        return self._offers[request.capability]

    async def retract(self, capability: str) -> None:
        if self._offers.pop(capability, None) is None:
            raise NotFound(f"{capability} is not offered")

    async def find(self, *, capability: str, words: str, limit: int) -> list[Found]:
        found = [
            Found(
                agent=AGENT, untrusted_name="evil\x1b[2Jname", capability=offer.capability,
                untrusted_description=offer.description, price=offer.price, slots=4, load=1,
                untrusted_tags=offer.tags, expires_ms=2**50,
            )
            for offer in self._offers.values()
            if offer.capability.startswith(capability) and words in offer.description
        ]  # fmt: skip
        return found[:limit]

    async def audit(self, target: str) -> AuditReport:
        detail = await self.task(target)
        is_whole = detail.task.state != "rejected"
        checks = (Check(ok=True, what="every signature"), Check(ok=is_whole, what="every link"))
        return AuditReport(target=detail.task.id, records=4, signatures=4, checks=checks)

    async def next_task(self, *, capabilities: tuple[str, ...], wait_s: float) -> Assignment | None:
        self.takers.add(1)
        try:
            async with asyncio.timeout(wait_s), self._changed:
                await self._changed.wait_for(lambda: self._open(capabilities) is not None)
                taken = self._open(capabilities)
        except TimeoutError:
            return None
        finally:
            self.takers.add(-1)
        assert taken is not None
        await self._change(taken, "accept", _taken)
        request, view = self._requests[taken], self._details[taken].task
        return Assignment(
            task=taken, epoch=view.epoch, capability=view.capability,
            untrusted_title=request.title, untrusted_input=request.input,
            media_type=request.media_type, output_schema=request.output_schema, poster=AGENT,
            price=request.price or 0, lease_ms=60_000, close_ms=3_600_000,
        )  # fmt: skip

    async def heartbeat(self, task: str, *, progress: int, note: str) -> None:
        self._check_held(task)
        await self._change(
            task,
            "heartbeat",
            lambda view: msgspec.structs.replace(view, progress=progress),
            note=note,
        )

    async def deliver(self, task: str, data: bytes, *, media_type: str) -> TaskView:
        name = self._check_held(task)
        path = self.folder / f"{name}.result"
        path.write_bytes(data)
        self._results[name] = path
        is_for_human = self._requests[name].accept == "human"
        return await self._change(
            task,
            "deliver",
            lambda view: msgspec.structs.replace(
                view,
                state="delivered" if is_for_human else "accepted",
                awaits_approval=is_for_human,
                has_result=True,
                result_sha256=sha256(data).hexdigest(),
                result_size=len(data),
                result_media_type=media_type,
            ),
        )

    async def lose_lease(self, task: str) -> None:
        """Take the task from its worker, as a breach does."""
        await self._change(task, "breach", lambda view: msgspec.structs.replace(view, state="open"))

    def _relay(self) -> RelayView:
        return RelayView(
            address=RELAY, agent=AGENT, is_connected=self.is_ready, is_caught_up=True, cursor=1,
            trouble="" if self.is_ready else "refused",
        )  # fmt: skip

    def _counts(self) -> dict[str, int]:
        states = [detail.task.state for detail in self._details.values()]
        return {state: states.count(state) for state in sorted(set(states))}

    def _name(self, task: str) -> str:
        names = [name for name in self._details if name.startswith(task)]
        if len(names) > 1:
            raise Refused("ambiguous", f"{task} begins the ids of {len(names)} tasks")
        if not names:
            raise NotFound(f"no task {task}")
        return names[0]

    def _open(self, capabilities: tuple[str, ...]) -> str | None:
        for name, detail in self._details.items():
            fits = not capabilities or detail.task.capability in capabilities
            if detail.task.state == "open" and fits:
                return name
        return None

    def _check_held(self, task: str) -> str:
        name = self._name(task)
        view = self._details[name].task
        if view.state == "open" and view.epoch:
            raise StaleEpoch(have=view.epoch, need=view.epoch + 1)
        if view.state != "running":
            raise IllegalTransition(view.state, "deliver")
        return name

    async def _change(
        self,
        task: str,
        what: str,
        change: Callable[[TaskView], TaskView],
        states: set[str] | None = None,
        *,
        note: str = "",
    ) -> TaskView:
        name = self._name(task)
        detail = self._details[name]
        if states is not None and detail.task.state not in states:
            raise IllegalTransition(detail.task.state, what)
        view = change(detail.task)
        event = TaskEvent(
            seen_ms=1_700_000_000_000, what=what, agent=AGENT, epoch=view.epoch, record="",
            untrusted_note=note,
        )  # fmt: skip
        bids = (BidView(id="b", worker=AGENT, price=3, eta_ms=1, confidence=1),)
        async with self._changed:
            self._details[name] = TaskDetail(task=view, bids=bids, events=(*detail.events, event))
            self._history.setdefault(name, []).append(self._details[name])
            self._changed.notify_all()
        return view


def _taken(view: TaskView) -> TaskView:
    return msgspec.structs.replace(view, state="running", epoch=view.epoch + 1, worker=AGENT)


def _opened(name: str, request: PostRequest) -> TaskView:
    return TaskView(
        id=name, role="poster", untrusted_title=request.title, capability=request.capability,
        mode=request.mode or "auction", state="open", epoch=0, attempts=0, poster=AGENT,
        worker=None, price=request.price, why="", awaits_approval=False, has_result=False,
        result_sha256="", result_size=0, result_media_type="", progress=0,
        created_ms=1_700_000_000_000, deadline_ms=None,
    )  # fmt: skip
