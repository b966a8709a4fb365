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
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bazaar_host.metrics import CONTENT_TYPE, render
from bazaar_protocol.errors import AddressInUse
from bazaar_relay.serving.information import MEDIA_TYPE
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

    async def information(_request: Request) -> Response:
        return Response(service.information(), media_type=MEDIA_TYPE)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        if service.is_ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", 503)

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
