"""What each path of the API does: translate a request, ask the node, translate its answer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar, cast, get_args

import msgspec
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bazaar_host import metrics
from bazaar_node.api import api_errors
from bazaar_node.api.api_guard import Bodies
from bazaar_node.api.api_requests import json_response, limit_of, parsed
from bazaar_node.api.trust_routes import TrustRoutes
from bazaar_node.pledge_service import VouchRequest
from bazaar_node.service import (
    CanaryRequest,
    NodeService,
    OfferRequest,
    PostRequest,
    Role,
    TaskDetail,
)
from bazaar_protocol import limits
from bazaar_protocol.errors import BazaarError, ConfigError

T = TypeVar("T")


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a request to cancel, or to dispute."""

    reason: str = ""


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a request to decide."""

    accepted: bool
    reason: str = ""


class Progress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a heartbeat."""

    progress: int = 0
    note: str = ""


class NextTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a request for work."""

    capabilities: tuple[str, ...] = ()
    wait_s: float = 0.0


_POST: Final = msgspec.json.Decoder(PostRequest)
_OFFER: Final = msgspec.json.Decoder(OfferRequest)
_CANARY: Final = msgspec.json.Decoder(CanaryRequest)
_VOUCH: Final = msgspec.json.Decoder(VouchRequest)
_REASON: Final = msgspec.json.Decoder(Reason)
_DECISION: Final = msgspec.json.Decoder(Decision)
_PROGRESS: Final = msgspec.json.Decoder(Progress)
_NEXT_TASK: Final = msgspec.json.Decoder(NextTask)


class Routes:
    """The paths of the API over one node."""

    def __init__(
        self,
        service: NodeService,
        bodies: Bodies,
        stop: asyncio.Event,
        registry: CollectorRegistry,
    ) -> None:
        self._service = service
        self._bodies = bodies
        self._stop = stop
        self._registry = registry

    def table(self) -> list[Route]:
        """Return every path with what it does."""
        task = "/v1/tasks/{task}"
        return [
            _route("GET", "/livez", self._live),
            _route("GET", "/readyz", self._ready),
            _route("GET", "/metrics", self._metrics),
            _route("GET", "/statusz", self._status_page),
            _route("GET", "/v1/status", self._status),
            _route("POST", "/v1/tasks", self._post),
            _route("GET", "/v1/tasks", self._tasks),
            _route("GET", task, self._task),
            _route("GET", f"{task}/watch", self._watch),
            _route("POST", f"{task}/cancel", self._cancel),
            _route("POST", f"{task}/decide", self._decide),
            _route("POST", f"{task}/dispute", self._dispute),
            _route("GET", f"{task}/result", self._result),
            _route("PUT", f"{task}/result", self._deliver),
            _route("POST", f"{task}/heartbeat", self._heartbeat),
            _route("GET", "/v1/offers", self._offers),
            _route("POST", "/v1/offers", self._offer),
            _route("DELETE", "/v1/offers/{capability}", self._retract),
            _route("GET", "/v1/canaries", self._canaries),
            _route("POST", "/v1/canaries", self._add_canary),
            _route("DELETE", "/v1/canaries/{number:int}", self._remove_canary),
            _route("POST", "/v1/vouches", self._vouch),
            _route("POST", "/v1/stamp", self._stamp),
            *TrustRoutes(self._service.reputations, self._bodies).table(),
            _route("GET", "/v1/find", self._find),
            _route("GET", "/v1/audit/{target}", self._audit),
            _route("POST", "/v1/work/next", self._next_task),
        ]

    async def _live(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _request: Request) -> Response:
        status = await self._service.status()
        if status.is_ready:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"{status.trouble or 'not ready yet'}\n", 503)

    async def _metrics(self, _request: Request) -> Response:
        return Response(metrics.render(self._registry), media_type=metrics.CONTENT_TYPE)

    async def _status_page(self, _request: Request) -> Response:
        status = msgspec.to_builtins(await self._service.status())
        lines = [f"{name}: {msgspec.json.encode(value).decode()}" for name, value in status.items()]
        return PlainTextResponse("\n".join([*lines, ""]))

    async def _status(self, _request: Request) -> Response:
        return json_response(await self._service.status())

    async def _post(self, request: Request) -> Response:
        return json_response(
            await self._service.post(await parsed(request, self._bodies, _POST)), 201
        )

    async def _tasks(self, request: Request) -> Response:
        query = request.query_params
        found = await self._service.tasks(
            role=_role(request), state=query.get("state") or None, limit=limit_of(request)
        )
        return json_response({"tasks": found})

    async def _task(self, request: Request) -> Response:
        return json_response(await self._service.task(request.path_params["task"]))

    async def _watch(self, request: Request) -> Response:
        details = self._service.watch(request.path_params["task"])
        # The first one before the answer begins, so that a task unknown is an answer of its own.
        first = await anext(details)
        lines = _lines(first, details, self._stop)
        return StreamingResponse(lines, media_type="application/jsonl")

    async def _cancel(self, request: Request) -> Response:
        body = await parsed(request, self._bodies, _REASON)
        task = request.path_params["task"]
        return json_response(await self._service.cancel(task, reason=body.reason))

    async def _decide(self, request: Request) -> Response:
        body = await parsed(request, self._bodies, _DECISION)
        task = request.path_params["task"]
        return json_response(
            await self._service.decide(task, accepted=body.accepted, reason=body.reason)
        )

    async def _dispute(self, request: Request) -> Response:
        body = await parsed(request, self._bodies, _REASON)
        task = request.path_params["task"]
        return json_response(await self._service.dispute(task, reason=body.reason))

    async def _result(self, request: Request) -> Response:
        path = await self._service.result(request.path_params["task"])
        # A stranger made it: nothing may be led to run or to render it.
        headers = {"X-Content-Type-Options": "nosniff"}
        return FileResponse(path, headers=headers, media_type="application/octet-stream")

    async def _deliver(self, request: Request) -> Response:
        data = await self._bodies.read(request)
        media_type = request.headers.get("content-type", "application/octet-stream")
        task = request.path_params["task"]
        return json_response(await self._service.deliver(task, data, media_type=media_type))

    async def _heartbeat(self, request: Request) -> Response:
        body = await parsed(request, self._bodies, _PROGRESS)
        task = request.path_params["task"]
        await self._service.heartbeat(task, progress=body.progress, note=body.note)
        return Response(status_code=204)

    async def _offers(self, _request: Request) -> Response:
        return json_response({"offers": await self._service.offers()})

    async def _offer(self, request: Request) -> Response:
        return json_response(
            await self._service.offer(await parsed(request, self._bodies, _OFFER)), 201
        )

    async def _retract(self, request: Request) -> Response:
        await self._service.retract(request.path_params["capability"])
        return Response(status_code=204)

    async def _canaries(self, _request: Request) -> Response:
        return json_response({"canaries": await self._service.canaries.all()})

    async def _add_canary(self, request: Request) -> Response:
        wanted = await parsed(request, self._bodies, _CANARY)
        return json_response(await self._service.canaries.add(wanted), 201)

    async def _remove_canary(self, request: Request) -> Response:
        await self._service.canaries.remove(request.path_params["number"])
        return Response(status_code=204)

    async def _vouch(self, request: Request) -> Response:
        await self._service.pledges.vouch(await parsed(request, self._bodies, _VOUCH))
        return Response(status_code=204)

    async def _stamp(self, _request: Request) -> Response:
        return json_response(await self._service.pledges.stamp(), 201)

    async def _find(self, request: Request) -> Response:
        query = request.query_params
        found = await self._service.find(
            capability=query.get("capability", ""),
            words=query.get("words", ""),
            limit=limit_of(request),
        )
        return json_response({"found": found})

    async def _audit(self, request: Request) -> Response:
        return json_response(await self._service.audit(request.path_params["target"]))

    async def _next_task(self, request: Request) -> Response:
        body = await parsed(request, self._bodies, _NEXT_TASK)
        taking = self._service.next_task(
            capabilities=body.capabilities,
            wait_s=min(max(body.wait_s, 0.0), limits.API_WAIT_S_MAX),
        )
        # Somebody who has gone must not be given work: it would be nobody's until its lease ends.
        assignment = await _unless_over(taking, request, self._stop)
        return Response(status_code=204) if assignment is None else json_response(assignment)


def _route(method: str, path: str, does: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, does, methods=[method])


def _role(request: Request) -> Role | None:
    text = request.query_params.get("role", "")
    if text and text not in get_args(Role):
        raise ConfigError(f"no such role: {text[:40]!r}; there are poster and worker")
    return cast("Role", text) if text else None


async def _lines(
    first: TaskDetail, details: AsyncIterator[TaskDetail], stop: asyncio.Event
) -> AsyncGenerator[bytes]:
    yield msgspec.json.encode(first) + b"\n"
    stopping = asyncio.create_task(stop.wait())
    coming: asyncio.Task[TaskDetail] | None = None
    try:
        while True:
            coming = asyncio.create_task(_next(details))
            await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return
            try:
                yield msgspec.json.encode(coming.result()) + b"\n"
            except StopAsyncIteration:
                return
            except BazaarError as error:
                yield api_errors.encode(error) + b"\n"
                return
    finally:
        stopping.cancel()
        if coming is not None:
            await _ended(coming)
        if isinstance(details, AsyncGenerator):
            await details.aclose()


async def _next(details: AsyncIterator[TaskDetail]) -> TaskDetail:
    return await anext(details)


async def _unless_over(
    work: Coroutine[Any, Any, T], request: Request, stop: asyncio.Event
) -> T | None:
    doing = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({doing, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        leaving.cancel()
        stopping.cancel()
        await _ended(doing)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
