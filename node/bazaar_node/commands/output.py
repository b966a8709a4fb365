"""What commands write: data to standard output, talk to standard error.

A table is drawn only on a terminal; anywhere else its rows are lines with tabs, for other programs.
JSON is plain ASCII, so that no text of a stranger's can drive the terminal that shows it.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from bazaar_protocol.untrusted import clean

TITLE_CHARS: Final = 60
_ID_CHARS: Final = 12
_AGENT_CHARS: Final = 20
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400


def emit(value: object) -> None:
    """Write ``value`` as one line of JSON."""
    print(json.dumps(msgspec.to_builtins(value)), flush=True)


def show(text: str) -> None:
    """Write one line of data for people."""
    print(text, flush=True)


def say(text: str) -> None:
    """Write one line of talk."""
    print(text, file=sys.stderr, flush=True)


def suggest(command: str) -> None:
    """Name the command that is most useful now."""
    say(f"next: {command}")


def is_interactive() -> bool:
    """Tell whether a person is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows of data: drawn on a terminal, else as lines with tabs and no headings."""
    if not sys.stdout.isatty():
        for row in rows:
            show("\t".join(row))
        return
    # Imported here: it costs as much as the rest of a short command.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # as text: markup in it means nothing
    Console().print(drawn)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Write names and values, one pair a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        show(f"{name:<{width}}  {value}")


def short_id(text: str) -> str:
    """Return enough of an id to name it to a command."""
    return text[:_ID_CHARS]


def short_agent(did: str | None) -> str:
    """Return enough of an agent's name to tell it from others."""
    return "-" if did is None else did.removeprefix("did:key:")[:_AGENT_CHARS]


def title(untrusted: str) -> str:
    """Return a stranger's line, fit to be shown."""
    return clean(untrusted, TITLE_CHARS)


def ago(then_ms: int) -> str:
    """Return how long ago a time is, roughly."""
    seconds = max(0, round(time.time() - then_ms / 1000))
    if seconds < _MINUTE_S:
        return f"{seconds}s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S}m"
    return f"{seconds // _HOUR_S}h" if seconds < _DAY_S else f"{seconds // _DAY_S}d"
