"""The node's own API: HTTP on a Unix socket that only its owner can open.

Commands, dashboards and other programs are clients of it. Names are those of the structs in
``service.py``, bytes travel as base64, errors as ``{"error": {"code", "message", "next"}}``. A body
has at most ``limits.API_BODY_BYTES_MAX`` bytes (64 MiB; an input inside JSON grows by a third) and
ten seconds; results are streamed, so their size has no bound here.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bazaar_host.metrics import Metrics
from bazaar_node import outcomes
from bazaar_node.api import api_errors, api_socket
from bazaar_node.api.api_errors import ErrorAnswer, ErrorBody
from bazaar_node.api.api_guard import Bodies, Guard
from bazaar_node.api.api_requests import json_response
from bazaar_node.api.api_routes import Routes
from bazaar_node.service import NodeService
from bazaar_protocol import limits
from bazaar_protocol.errors import BazaarError

_BACKLOG: Final = 64
# How long after `stop` clients are hung up on, their requests cancelled, and nobody waited for.
_HANG_UP_S: Final = 0.5
_GRACE_S: Final = 0.8
_STOP_TIMEOUT_S: Final = 1.3
_KEEP_ALIVE_S: Final = 5


async def serve_api(
    service: NodeService,
    socket_path: Path,
    stop: asyncio.Event,
    *,
    metrics: Metrics | None = None,
    body_timeout_s: float = limits.API_BODY_TIMEOUT_S,
) -> None:
    """Answer requests at ``socket_path`` until ``stop`` is set; then end within two seconds.

    Whoever is watching a task sees its stream end.

    Raises:
        AddressInUse: Somebody answers there already.
        ConfigError: There can be no socket of that name.

    """
    app = make_app(service, stop, metrics=metrics or Metrics(), body_timeout_s=body_timeout_s)
    with api_socket.bound(socket_path) as listener:
        config = _Config(listener)
        serving = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({serving}, timeout=_HANG_UP_S)
            if not serving.done():
                # It would flush what it has to a client that reads nothing, without an end.
                listener.hang_up()
                await asyncio.wait({serving}, timeout=_STOP_TIMEOUT_S - _HANG_UP_S)
        finally:
            stopping.cancel()
            serving.cancel()
            (outcome,) = await asyncio.gather(serving, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome


def make_app(
    service: NodeService, stop: asyncio.Event, *, metrics: Metrics, body_timeout_s: float
) -> Starlette:
    """Return the application that answers for ``service``."""
    routes = Routes(service, Bodies(body_timeout_s), stop, metrics.registry)
    return Starlette(
        routes=routes.table(),
        middleware=[Middleware(Guard)],
        exception_handlers={
            BazaarError: _on_error,
            HTTPException: _on_http_error,
            ClientDisconnect: _on_disconnect,
            Exception: _on_bug,
        },
    )


class _Config(Config):
    """What hypercorn is to do, at a socket that we have opened."""

    def __init__(self, listener: api_socket.Listener) -> None:
        super().__init__()
        self._listener = listener
        self.backlog = _BACKLOG
        self.graceful_timeout = _GRACE_S
        self.keep_alive_timeout = _KEEP_ALIVE_S
        self.include_server_header = False
        # A logger of its own without handlers: what matters goes to those of the process.
        self.errorlog = logging.getLogger("hypercorn.error")

    def create_sockets(self) -> Sockets:
        """Return the one socket to listen at."""
        return Sockets(secure_sockets=[], insecure_sockets=[self._listener], quic_sockets=[])


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BazaarError)
    return json_response(api_errors.describe(error), outcomes.http_status(error))


async def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = ErrorBody("not-found" if error.status_code == 404 else "config", error.detail)
    return json_response(ErrorAnswer(body), error.status_code)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody is left to read it


async def _on_bug(_request: Request, _error: Exception) -> Response:
    body = ErrorBody("bug", "the node made a mistake; its log says which", "bazaar doctor")
    return json_response(ErrorAnswer(body), 500)
