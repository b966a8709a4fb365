"""Errors as they travel between a node and its clients: the same classes at both ends."""

from typing import Any, Final

import msgspec

from bazaar_node import outcomes
from bazaar_protocol import errors
from bazaar_protocol.errors import BazaarError, LocalError

Detail = dict[str, str | int]


class ErrorBody(msgspec.Struct, frozen=True):
    """What an answer says about an error."""

    code: str
    message: str
    next: str = ""
    """A command that helps."""
    detail: Detail = {}
    """The attributes of the error, such as the two epochs of a stale one."""


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: ErrorBody


_DECODER: Final = msgspec.json.Decoder(ErrorAnswer)
_CLASSES: Final[dict[str, type[BazaarError]]] = {
    value.code: value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, BazaarError)
}


def describe(error: BazaarError) -> ErrorAnswer:
    """Return ``error`` as it travels."""
    detail = {name: value for name, value in vars(error).items() if isinstance(value, str | int)}
    next_command = outcomes.next_command(error)
    return ErrorAnswer(ErrorBody(error.code, str(error), next_command, detail))


def encode(error: BazaarError) -> bytes:
    """Return the body of an answer that says ``error``."""
    return msgspec.json.encode(describe(error))


def decode(raw: bytes, status: int) -> BazaarError:
    """Return the error that an answer with this body says, to be raised."""
    try:
        body = _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return LocalError(f"the node answered with HTTP status {status} and no reason")
    return _remade(body.error)


def _remade(body: ErrorBody) -> BazaarError:
    cls = _CLASSES.get(body.code, LocalError)
    # Past the constructors, since each takes other arguments; what they would have set follows.
    error: Any = cls.__new__(cls)
    Exception.__init__(error, body.message)
    for name, value in body.detail.items():
        setattr(error, name, value)
    made: BazaarError = error
    return made
