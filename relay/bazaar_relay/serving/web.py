"""The relay over HTTP, for those who watch it: who it is, whether it is well, what it counts.

Nothing here changes anything; what nodes do goes over links.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from bazaar_host.metrics import CONTENT_TYPE, render
from bazaar_protocol.errors import AddressInUse
from bazaar_relay.serving.information import MEDIA_TYPE
from bazaar_relay.serving.page import HEADERS, Now, page
from bazaar_relay.serving.service import RelayService

_HEADER_TIMEOUT_S: Final = 5
_GRACE_S: Final = 0.5
_BACKLOG: Final = 64


@asynccontextmanager
async def open_web(service: RelayService, place: tuple[str, int]) -> AsyncGenerator[str]:
    """Serve HTTP at ``place`` and yield where that is, as ``HOST:PORT``.

    Raises:
        AddressInUse: We cannot listen there.

    """
    listening = _listen(place)
    host, port = listening.getsockname()[:2]
    stop = asyncio.Event()
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.backlog = _BACKLOG
    config.graceful_timeout = _GRACE_S
    config.keep_alive_timeout = _HEADER_TIMEOUT_S
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")

    async def wait_for_stop() -> None:
        await stop.wait()

    serving = asyncio.create_task(
        serve(make_app(service), config, shutdown_trigger=wait_for_stop)  # type: ignore[arg-type]
    )
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        stop.set()
        await asyncio.wait({serving}, timeout=_GRACE_S)
        serving.cancel()
        await asyncio.wait({serving})
        listening.detach()  # hypercorn has closed it


def make_app(service: RelayService) -> Starlette:
    """Return the application that answers for ``service``."""

    async def information(request: Request) -> Response:
        if _is_for_people(request):
            now = Now(service.health.trouble, service.health.up_s, service.machine.sizes)
            return HTMLResponse(page(service.information(), now), headers=HEADERS)
        # Nothing in it is secret, and pages that list relays may want to read it.
        headers = {"Access-Control-Allow-Origin": "*", "Vary": "Accept"}
        return Response(service.information(), media_type=MEDIA_TYPE, headers=headers)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        if service.health.trouble:
            return PlainTextResponse(f"not ready: {service.health.trouble}\n", 503)
        return PlainTextResponse("ready\n")

    async def metrics(_request: Request) -> Response:
        machine = service.machine
        service.counters.show_sizes(
            machine.sizes,
            work_bits=service.work_bits(),
            carried_bytes=machine.relayed.carrying.bytes,
        )
        return Response(render(service.counters.registry), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/", information),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def _is_for_people(request: Request) -> bool:
    """Tell whether a browser asks; who takes anything gets what programs read."""
    accepted = request.headers.get("accept", "")
    kinds = [one.partition(";")[0].strip().lower() for one in accepted.split(",")]
    return "text/html" in kinds and MEDIA_TYPE not in kinds


def _listen(place: tuple[str, int]) -> socket.socket:
    host, port = place
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise AddressInUse(f"cannot serve HTTP at {host}:{port}: {error.strerror or error}") from (
            error
        )
    listening.setblocking(False)
    return listening
