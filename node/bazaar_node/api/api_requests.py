"""Reading requests and writing answers, as every path of the API does it."""

from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from bazaar_node.api.api_guard import Bodies
from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError

T = TypeVar("T")

PAGE: Final = 100


def json_response(value: object, status: int = 200) -> Response:
    """Return ``value`` as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def limit_of(request: Request, default: int = PAGE) -> int:
    """Return how many of something are asked for.

    Raises:
        ConfigError: It is no number, or too large a one.

    """
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= limits.API_PAGE_MAX:
        raise ConfigError(f"limit is a number from 1 to {limits.API_PAGE_MAX}")
    return int(text)


async def parsed(request: Request, bodies: Bodies, decoder: msgspec.json.Decoder[T]) -> T:
    """Return what the body of a request says.

    Raises:
        ConfigError: It is not understood.
        TooLarge: It is too large.
        TimedOut: It did not come in time.
        Refused: There are too many others.

    """
    body = await bodies.read(request)
    try:
        return decoder.decode(body or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"the request is not understood: {error}") from error
