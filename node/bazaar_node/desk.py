"""What a running node answers when it is asked: the ``NodeService`` of the daemon."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from bazaar_host.metrics import Metrics
from bazaar_node import views
from bazaar_node.audit import FetchLog, audit_task
from bazaar_node.canary_desk import CanaryDesk
from bazaar_node.driver import Driver
from bazaar_node.errands import Errands
from bazaar_node.market.drafts import draft_offer, draft_post
from bazaar_node.market.events import Asked, Cancelled, Contested, Judged, WorkProgressed
from bazaar_node.market.ledger import Entry, Role
from bazaar_node.market.probes import CANARY_BYTES
from bazaar_node.market.turn import Entropy
from bazaar_node.network.relays import RelayOffice
from bazaar_node.network.searching import search
from bazaar_node.pledge_desk import PledgeDesk
from bazaar_node.service import (
    Assignment,
    AuditReport,
    Found,
    OfferRequest,
    OfferView,
    PostRequest,
    Status,
    TaskDetail,
    TaskView,
)
from bazaar_node.settings import NodeSettings
from bazaar_node.storage.store import NodeStore, fold
from bazaar_node.trust.archive import Archive
from bazaar_node.trust_desk import TrustDesk
from bazaar_node.work.workshop import Workshop
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, IllegalTransition, NotFound, NotReady
from bazaar_protocol.identity import AgentId, to_did, to_peer_id
from bazaar_protocol.kinds import Deliver
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import TERMINAL, State
from bazaar_protocol.untrusted import clean

READY_WAIT_S: Final = 5.0
"""How long a command that signs waits for the first relay to confirm our log."""
ID_DIGITS: Final = 64
_NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node is made of."""

    settings: NodeSettings
    store: NodeStore
    driver: Driver
    office: RelayOffice
    errands: Errands
    workshop: Workshop
    metrics: Metrics
    archive: Archive


class Desk:
    """Answers for a node; see ``NodeService`` for what each method promises."""

    def __init__(self, parts: Parts, *, started_ms: int, entropy: Entropy = os.urandom) -> None:
        self.parts = parts
        self.metrics = parts.metrics
        self._settings = parts.settings
        self._store = parts.store
        self._driver = parts.driver
        self._office = parts.office
        self._errands = parts.errands
        self._workshop = parts.workshop
        self._started_ms = started_ms
        self._entropy = entropy
        self.archive = parts.archive
        self.canaries = CanaryDesk(parts.store, parts.driver)
        self.reputations = TrustDesk(parts.archive, lambda: parts.driver.agent)
        me = parts.office.keys.agent
        self.pledges = PledgeDesk(parts.driver, me, self._be_ready, entropy)
        # A lock lives as long as somebody posts under its key.
        self._posting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ready(self) -> None:
        """Wait until a relay has confirmed that our store is no old copy."""
        await self._office.is_ready.wait()

    async def status(self) -> Status:
        """Return how the node is."""
        agent = await self._driver.settled()
        counts = await self._store.counts()
        head = await self._store.head()
        me = self._office.keys.agent
        relays = tuple(views.relay_view(client) for client in self._office.clients.values())
        acknowledged = (client.mark.acknowledged for client in self._office.clients.values())
        return Status(
            agent=to_did(me),
            peer_id=to_peer_id(me),
            name=self._settings.name,
            version=version("bazaar"),
            home=str(self._settings.home),
            pid=os.getpid(),
            started_ms=self._started_ms,
            is_ready=self._office.is_ready.is_set(),
            trouble=self._trouble(),
            addresses=agent.addresses,
            relays=relays,
            offers=tuple(agent.offers),
            slots=agent.slots,
            load=agent.load,
            tasks=counts,
            awaiting_approval=len(await self._awaiting()),
            log_seq=head.seq,
            outbox=await self._store.waiting(max(acknowledged, default=0)),
        )

    async def post(self, request: PostRequest) -> TaskView:
        """Post a task."""
        await self._be_ready()
        key = request.idempotency_key
        if not key:
            return await self._post(request)
        async with self._posting.setdefault(key, asyncio.Lock()):
            known = await self._store.by_idempotency_key(key)
            if known is not None:
                return await self._view(await self._entry(known))
            return await self._post(request)

    async def _post(self, request: PostRequest) -> TaskView:
        relay = next((client.agent for client in self._office.connected()), None)
        body = draft_post(
            request,
            poster=self._office.keys.agent,
            relay=relay,
            addresses=self._driver.agent.addresses,
            nonce=self._entropy(_NONCE_BYTES).hex(),
            canary=self._entropy(CANARY_BYTES),
        )
        if body.output_schema:
            await self._workshop.schemas.check_schema(body.output_schema)
        if body.input.data is None:
            await self._workshop.blobs.put(request.input)
        turn = await self._driver.ask(Asked(body, request.check_command))
        return await self._view(await self._entry(turn.begun()))

    async def tasks(self, *, role: Role | None, state: str | None, limit: int) -> list[TaskView]:
        """Return tasks, newest first."""
        if state is not None and state not in set(State):
            raise ConfigError(f"no state is called {state!r}; there are {', '.join(State)}")
        rows = await self._store.tasks(role=role, state=state, limit=min(limit, limits.PAGE_MAX))
        return [await self._view(await self._entry(task)) for task, _ in rows]

    async def task(self, task: str) -> TaskDetail:
        """Return one task with its history."""
        return await self._detail(await self._find(task))

    async def watch(self, task: str) -> AsyncIterator[TaskDetail]:
        """Yield the task now and after each change, until it is over."""
        id_ = await self._find(task)
        with self._errands.watchers.watch(id_) as watch:
            while True:
                detail = await self._detail(id_)
                yield detail
                if detail.task.state in TERMINAL:
                    return
                await watch.changed()

    async def cancel(self, task: str, *, reason: str) -> TaskView:
        """Take back a task of ours, or leave the attempt that we are working on."""
        id_ = await self._find(task)
        await self._be_ready()
        await self._driver.ask(Cancelled(id_, reason))
        return await self._view(await self._entry(id_))

    async def decide(self, task: str, *, accepted: bool, reason: str) -> TaskView:
        """Give the verdict that a task waits for."""
        id_ = await self._find(task)
        await self._be_ready()
        entry = await self._entry(id_)
        deliver = entry.task.deliver
        if deliver is None or entry.task.state is not State.DELIVERED:
            raise IllegalTransition(entry.task.state, "verdict")
        await self._driver.ask(Judged(id_, deliver.id, accepted, reason))
        self._errands.awaiting_approval.discard(id_)
        return await self._view(await self._entry(id_))

    async def dispute(self, task: str, *, reason: str) -> TaskView:
        """Contradict the rejection of a result of ours."""
        entry = await self._entry(await self._find(task))
        await self._be_ready()
        await self._driver.ask(Contested(entry.task, reason))
        return await self._view(entry)

    async def result(self, task: str) -> Path:
        """Return the file with the task's result, fetching it first if need be."""
        entry = await self._entry(await self._find(task))
        deliver = entry.task.deliver
        if deliver is None:
            raise NotFound(f"task {task} has no result yet: it is {entry.task.state}")
        body = _delivered(deliver)
        if not self._workshop.blobs.has(body.hash):
            await self._errands.fetch_result(entry.task.id, deliver)
        return self._workshop.blobs.path(body.hash)

    async def offers(self) -> list[OfferView]:
        """Return what this node offers."""
        return [views.offer_view(offer) for offer in self._driver.agent.offers.values()]

    async def offer(self, request: OfferRequest) -> OfferView:
        """Offer a capability, now and after restarts."""
        offer = draft_offer(request)
        for schema in filter(None, (offer.input_schema, offer.output_schema)):
            await self._workshop.schemas.check_schema(schema)
        self._office.check_offers(self._driver.agent.offers | {offer.capability: offer})
        await self._store.put_offer(offer)
        self._driver.agent.offers[offer.capability] = offer
        self._office.readvertise()
        return views.offer_view(offer)

    async def retract(self, capability: str) -> None:
        """Stop offering a capability."""
        offers = self._driver.agent.offers
        known = [name for name in offers if name in {capability, f"{capability}@1"}]
        if not known:
            ours = ", ".join(offers) or "nothing"
            raise NotFound(f"we do not offer {capability}; we offer {ours}")
        await self._store.drop_offer(known[0])
        del offers[known[0]]
        self._office.readvertise()

    async def find(self, *, capability: str, words: str, limit: int) -> list[Found]:
        """Ask the relays who offers what."""
        clients = self._office.connected()
        if not clients:
            raise NotReady("no relay is connected; see: bazaar status")
        most = limits.PAGE_MAX  # of all, since the relays know nothing of our order
        found = await search(clients, capability=capability, words=words, limit=most)
        return self.reputations.graded(found)[:limit]

    async def audit(self, target: str) -> AuditReport:
        """Check everything behind a task (by id) or an agent (by did:key) again."""
        logs: dict[str, FetchLog] = {
            client.address: client.session.log for client in self._office.connected()
        }
        try:
            task = await self._find(target)
        except NotFound:
            agent = await self.reputations.find_agent(target)
            return await self.reputations.audit(agent, {**logs, **self._own_log(agent)})
        rows = await self._store.history(task)
        openings = {}
        for row in rows:
            if row.record is not None and row.what == "bid":
                opening = await self._store.opening(row.record.id)
                if opening is not None:
                    openings[row.record.id] = opening
        me = self._office.keys.agent
        return await audit_task(task, rows, openings, ours=me, logs=logs)

    async def next_task(self, *, capabilities: tuple[str, ...], wait_s: float) -> Assignment | None:
        """Take the next task awarded to us that no program does."""
        action = await self._workshop.take(capabilities, wait_s)
        if action is None:
            return None
        entry = await self._entry(action.task)
        terms = entry.task.terms
        return Assignment(
            task=action.task.hex(),
            epoch=action.epoch,
            capability=action.offer.capability,
            untrusted_title=clean(terms.title, views.NOTE_CHARS_MAX),
            untrusted_input=await self._workshop.blobs.read(terms.input.hash),
            media_type=terms.input.media_type,
            output_schema=terms.output_schema,
            poster=to_did(entry.task.poster),
            price=terms.price,
            lease_ms=terms.lease.heartbeat_timeout_ms,
            close_ms=entry.task.close_ms or 0,
        )

    async def heartbeat(self, task: str, *, progress: int, note: str) -> None:
        """Report progress on an assignment."""
        entry = await self._entry(await self._find(task))
        await self._driver.ask(WorkProgressed(entry.task.id, entry.task.epoch, progress, note))

    async def deliver(self, task: str, data: bytes, *, media_type: str) -> TaskView:
        """Hand in the result of an assignment."""
        entry = await self._entry(await self._find(task))
        held = entry.task
        await self._workshop.check_result(held.terms, data)
        done = await self._workshop.hand_in(held.id, held.epoch, data, media_type)
        await self._driver.ask(done)
        self._workshop.finish(held.id)
        return await self._view(await self._entry(held.id))

    async def _be_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_WAIT_S):
                await self._office.is_ready.wait()
        except TimeoutError as error:
            raise NotReady(
                f"no relay has confirmed our log since the start, so signing is not safe yet "
                f"({self._trouble() or 'none is configured'}); see: bazaar doctor"
            ) from error

    def _trouble(self) -> str:
        clients = self._office.clients.values()
        if not clients:
            return "no relay is configured; give one with: bazaar up --relay ADDRESS"
        if self._office.connected():
            return ""
        return "; ".join(
            f"{client.address}: {client.trouble or client.session.last_failure}"
            for client in clients
        )

    async def _find(self, text: str) -> RecordId:
        digits = text.lower()
        if len(digits) > ID_DIGITS or not digits or set(digits) - set("0123456789abcdef"):
            raise NotFound(f"no task is called {text[:ID_DIGITS]!r}: an id is hex digits")
        is_odd = len(digits) % 2 == 1
        prefix = bytes.fromhex(digits[:-1] if is_odd else digits)
        found = await self._store.find(prefix, is_odd=is_odd, digits=digits)
        if not found:
            raise NotFound(f"we have no part in a task {text}; see: bazaar tasks")
        if len(found) > 1:
            raise NotFound(f"several tasks begin with {text}; give more digits")
        return found[0]

    async def _entry(self, task: RecordId) -> Entry:
        # What is not durable yet may still not happen, so nobody is told of it.
        entry = (await self._driver.settled()).entry(task)
        if entry is not None:
            return entry
        role = await self._store.role(task)
        if role is None:
            raise NotFound(f"we have no part in a task {task.hex()[:12]}")
        return await self._store.entry(task, role)

    async def _view(self, entry: Entry) -> TaskView:
        task = entry.task
        digest = _delivered(task.deliver).hash if task.deliver is not None else b""
        beat = getattr(task.heartbeat.body, "progress", 0) if task.heartbeat is not None else 0
        return views.task_view(
            entry,
            awaits_approval=task.id in self._errands.awaiting_approval,
            has_result=bool(digest) and self._workshop.blobs.has(digest),
            progress=max(beat, self._driver.agent.progress(task.id)[0]),
        )

    async def _detail(self, task: RecordId) -> TaskDetail:
        rows = await self._store.history(task)
        # Of one moment with the events: the agent in memory is ahead of what is committed.
        entry = Entry(fold(rows), (await self._entry(task)).role)
        opened = {
            row.record.id: opening[1]
            for row in rows
            if row.what == "bid" and row.record is not None
            and (opening := await self._store.opening(row.record.id)) is not None
        }  # fmt: skip
        return TaskDetail(
            task=await self._view(entry),
            bids=views.bid_views(rows, opened),
            events=views.event_views(rows),
        )

    async def _awaiting(self) -> list[RecordId]:
        waiting = self._errands.awaiting_approval
        for task in list(waiting):
            entry = self._driver.agent.entry(task)
            if entry is None or entry.task.state is not State.DELIVERED:
                waiting.discard(task)
        return list(waiting)

    def _own_log(self, agent: AgentId) -> dict[str, FetchLog]:
        if agent != self._office.keys.agent:
            return {}

        async def fetch_log(author: AgentId, first: int, last: int) -> list[bytes]:
            del author
            return await self._store.log(first, last - first + 1)

        return {"our own store": fetch_log}


def _delivered(record: Record) -> Deliver:
    assert isinstance(record.body, Deliver)
    return record.body
