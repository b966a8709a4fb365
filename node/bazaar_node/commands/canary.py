"""``bazaar canary``: answers that you know already, to find out who can do what."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.inputs import file_bytes, given_bytes, guessed_type
from bazaar_node.service import CanaryRequest, CanaryView

_SHA256: Final = re.compile(r"(sha256:)?([0-9a-fA-F]{64})")

app = App(
    name="canary",
    help="Keep answers that you know, to try strangers with.",
    help_epilogue="Example: bazaar canary list",
)


@app.command(
    help_epilogue="Example: bazaar canary add -c text.count -i 'one two' --expect two.json"
)
def add(
    *,
    capability: Annotated[str, Parameter(name=["--capability", "-c"], help="What is to be tried.")],
    input: Annotated[  # noqa: A002
        str, Parameter(name=["--input", "-i"], help="Text, @FILE, or - for standard input.")
    ],
    expect: Annotated[str, Parameter(help="File with the one right result, or the SHA-256 of it.")],
    media_type: Annotated[
        str | None, Parameter(name="--type", help="Media type of the input; guessed if not said.")
    ] = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Keep an input with its one right result.

    When you auction tasks of this capability, the node now and then gives this input to a bidder
    it does not know, as a task like any other, and judges the result by its hash alone. So the
    right result has to be one sequence of bytes. Probes cost at most 4 % of what your tasks are
    worth.
    """
    data = given_bytes(input)
    request = CanaryRequest(
        capability=capability,
        input=data,
        media_type=media_type or guessed_type(data),
        expected_sha256=_digest(expect),
    )
    kept = common.client().add_canary(request)
    if common.json:
        output.emit(kept)
    else:
        output.show(str(kept.number))
    output.suggest("bazaar canary list")
    return outcomes.OK


@app.command(name="list", help_epilogue="Example: bazaar canary list --json")
def list_(*, common: Common = NO_OPTIONS) -> int:
    """List the canaries; what their results are is never shown."""
    known = common.client().canaries()
    if common.json:
        output.emit({"canaries": known})
        return outcomes.OK
    output.table(("number", "capability", "input", "size"), [_row(one) for one in known])
    if not known:
        output.suggest("bazaar canary add -c CAPABILITY -i INPUT --expect FILE")
    return outcomes.OK


@app.command(help_epilogue="Example: bazaar canary remove 3")
def remove(
    number: Annotated[int, Parameter(help="Which one, as listed.")],
    /,
    *,
    common: Common = NO_OPTIONS,
) -> int:
    """Forget a canary."""
    common.client().remove_canary(number)
    if common.json:
        output.emit({"removed": number})
    return outcomes.OK


def _digest(expect: str) -> str:
    named = _SHA256.fullmatch(expect)
    return named[2].lower() if named else sha256(file_bytes(Path(expect))).hexdigest()


def _row(one: CanaryView) -> tuple[str, ...]:
    return str(one.number), one.capability, f"sha256:{one.input_sha256[:12]}", str(one.input_size)
