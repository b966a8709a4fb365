"""What the API refuses before it looks: pages in a browser, and bodies too large or too slow.

The socket can be opened by its owner alone, but a browser runs as the owner as well, and a page
may find a way to make it send requests (a proxy, a forwarded port). Programs send neither an
``Origin`` nor a ``Sec-Fetch-…`` header, and name the host that they mean; pages cannot help it.
"""

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bazaar_node.api import api_errors
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, Refused, TimedOut, TooLarge

HOST: Final = "bazaar"
"""What a client of the Unix socket sends as its ``Host``."""

_HOSTS: Final = frozenset({HOST, "localhost"})
_FORBIDDEN: Final = 403
_MISDIRECTED: Final = 421


class Guard:
    """The application ``app``, for programs of this machine only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        refusal = _refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)


class Bodies:
    """Reads the bodies of requests: each bounded in size and time, and all together in size."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._held = 0

    async def read(self, request: Request) -> bytes:
        """Return the body of ``request``.

        Raises:
            TooLarge: It has more than ``limits.API_BODY_BYTES_MAX`` bytes.
            Refused: Too many large requests at the same time.
            TimedOut: It did not arrive in time.
            starlette.requests.ClientDisconnect: Whoever sent it has gone.

        """
        _check_size(_announced(request))
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._held += len(chunk)
                    _check_size(size)
                    if self._held > limits.API_BODIES_BYTES_MAX:
                        raise Refused("busy", "too many large requests at the same time")
                    chunks.append(chunk)
        except TimeoutError as error:
            raise TimedOut(f"the body has to arrive within {self._timeout_s:g} s") from error
        finally:
            self._held -= size
        return b"".join(chunks)


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise ConfigError("not a Content-Length")
    return int(text)


def _check_size(size: int) -> None:
    if size > limits.API_BODY_BYTES_MAX:
        raise TooLarge(f"a body has at most {limits.API_BODY_BYTES_MAX} bytes")


def _refusal(headers: Headers) -> Response | None:
    if headers.get("host", "").partition(":")[0].lower() not in _HOSTS:
        return _refused(_MISDIRECTED, f"this is the node's own socket; its Host is {HOST!r}")
    if any(name == "origin" or name.startswith("sec-fetch-") for name in headers):
        return _refused(_FORBIDDEN, "pages in a browser may not talk to this node")
    return None


def _refused(status: int, reason: str) -> Response:
    body = api_errors.encode(Refused("forbidden", reason))
    return Response(body, status, media_type="application/json")
