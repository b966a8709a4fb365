"""``bazaar``: run one command; what went wrong becomes an exit status and a sentence.

Exit statuses: 0 ok, 1 bug, 2 usage, 3 node not running, 4 not found, 5 lease lost, 6 refused,
7 timed out, 8 waits for a human, 75 try again, 130 interrupted.
"""

import difflib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Final

import msgspec
from cyclopts import App, CycloptsError

from bazaar_node import outcomes
from bazaar_node.api import api_errors
from bazaar_node.api.api_errors import ErrorAnswer, ErrorBody
from bazaar_node.command_line import make_app
from bazaar_protocol.errors import BazaarError, ConfigError, NotRunning
from bazaar_protocol.untrusted import clean

_HELP: Final = frozenset({"--help", "-h"})
_MESSAGE_CHARS: Final = 2000


def main() -> None:
    """Run the command that the arguments of this process name, and exit."""
    sys.excepthook = _on_bug
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    app = make_app(with_help=not arguments or arguments[0] in _HELP)
    try:
        result = app(list(arguments))
    except CycloptsError as error:
        complaint = ErrorBody("usage", *_usage(app, arguments, error))
        status = outcomes.USAGE
    except BazaarError as error:
        if _is_debugging(arguments):
            traceback.print_exc()
        complaint = _complaint(app, arguments, error)
        status = outcomes.exit_status(error)
    except KeyboardInterrupt:
        return outcomes.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        _forget_stdout()
        return outcomes.OK
    else:
        return result if isinstance(result, int) else outcomes.OK
    _complain(complaint, as_json="--json" in arguments)
    return status


def _complain(complaint: ErrorBody, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(ErrorAnswer(complaint))), file=sys.stderr)
        return
    print(f"bazaar: {clean(complaint.message, _MESSAGE_CHARS)}", file=sys.stderr)
    if complaint.next:
        print(f"next: {complaint.next}", file=sys.stderr)


def _complaint(app: App, arguments: Sequence[str], error: BazaarError) -> ErrorBody:
    complaint = api_errors.describe(error).error
    if error.code == ConfigError.code and arguments[0] in app:
        # Most often an option was wrong, and of which command is known only here.
        return msgspec.structs.replace(complaint, next=f"bazaar {arguments[0]} --help")
    if error.code == NotRunning.code and arguments[0] == "relay":
        return msgspec.structs.replace(complaint, next="bazaar relay up")
    return complaint


def _usage(app: App, arguments: Sequence[str], error: CycloptsError) -> tuple[str, str]:
    """Return what is wrong with the arguments, and the command that tells how it is right."""
    first = next(iter(arguments), "")
    if first.startswith("-"):
        return str(error), "bazaar --help"
    if first in app:
        return str(error), f"bazaar {first} --help"
    # Not the error's own text, which would import every command to suggest one.
    near = difflib.get_close_matches(first, list(app), 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no command {first!r}{hint}", "bazaar --help"


def _is_debugging(arguments: Sequence[str]) -> bool:
    return "--debug" in arguments or bool(os.environ.get("BAZAAR_DEBUG"))


def _on_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if _is_debugging(sys.argv):
        sys.__excepthook__(kind, error, trace)
        return
    print(f"bazaar: this is a bug: {kind.__name__}: {error}", file=sys.stderr)
    print("next: the same command with --debug shows where, for a report", file=sys.stderr)


def _forget_stdout() -> None:
    # Else Python would try to flush it once more on its way out, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
