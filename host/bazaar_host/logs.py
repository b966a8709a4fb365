"""What a daemon says while it runs: to standard error, lines for people or JSON for machines.

Only daemons import this: structlog takes a fifth of a second to load, which a command that answers
at once would feel. Log names, counts and ids; never what a record or a letter holds.
"""

import logging
import sys
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Final, Literal, TextIO, cast, get_args

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from bazaar_protocol.untrusted import clean

LogFormat = Literal["auto", "human", "json"]
Level = Literal["debug", "info", "warning", "error"]

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
_VALUE_CHARS_MAX: Final = 256
_ID_BYTES: Final = 32
_ID_CHARS_SHOWN: Final = 12


def set_up(
    level: Level = "info", log_format: LogFormat = "auto", *, to: TextIO | None = None
) -> None:
    """Send the logs of this process to a stream, standard error unless given.

    ``auto`` means lines for people on a terminal, and JSON otherwise. What other libraries log is
    shown in the same form from WARNING on.
    """
    stream = cast("TextIO", _Forgiving(sys.stderr if to is None else to))
    human = log_format == "human" or (log_format == "auto" and stream.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _make_fit_to_show,
    ]
    after = _rendering(human=human, colors=stream.isatty())
    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
    _route_others(stream, before, after)


def logger(name: str) -> FilteringBoundLogger:
    """Return the logger of the part of the program called ``name``."""
    return cast("FilteringBoundLogger", structlog.get_logger(part=name))


@contextmanager
def silenced() -> Generator[None]:
    """Say nothing at all inside this block, whoever says it: for simulations."""
    before = structlog.get_config()
    asyncio_logger = logging.getLogger("asyncio")
    level = asyncio_logger.level
    nothing = structlog.make_filtering_bound_logger(logging.CRITICAL)  # we never say that
    structlog.configure(**{**before, "wrapper_class": nothing})
    asyncio_logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        asyncio_logger.setLevel(level)
        structlog.configure(**before)


class _Forgiving:
    """Writes what ``stream`` takes and drops the rest: a full disk must not end who logs to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


def _rendering(*, human: bool, colors: bool) -> list[Processor]:
    if human:
        # The default formatter prints local variables, secrets and payloads among them.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _route_others(stream: TextIO, before: list[Processor], after: list[Processor]) -> None:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    name = structlog.stdlib.add_logger_name
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[name, *before], processors=[remove, *after]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _make_fit_to_show(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    shown: MutableMapping[str, object] = {key: _shown(value) for key, value in event.items()}
    return shown


def _shown(value: object) -> object:
    match value:
        case str():
            return clean(value, _VALUE_CHARS_MAX)
        case bytes() if len(value) == _ID_BYTES:
            return value.hex()[:_ID_CHARS_SHOWN]
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case _:
            return value
