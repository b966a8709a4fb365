"""``bazaar audit``: check the evidence again."""

from typing import Annotated

from cyclopts import Parameter

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_protocol.untrusted import clean

_TIMEOUT_S = 300.0
_LINE_CHARS = 200


def audit(
    target: Annotated[str, Parameter(help="A task by its id, or an agent by its did:key.")],
    /,
    *,
    common: Common = NO_OPTIONS,
) -> int:
    """Check every signature, link and epoch behind a task or an agent again.

    Of an agent, the relays are asked for its log and compared with each other; forks, gaps and
    cut tails are named, and every receipt about it is derived again from its records. The exit
    status is 0 if all of it holds, and 6 if anything does not.
    """
    report = common.client(timeout_s=_TIMEOUT_S).audit(target)
    if common.json:
        output.emit({"is_sound": report.is_sound, "report": report})
    else:
        for check in report.checks:
            output.show(f"{'ok  ' if check.ok else 'FAIL'}  {clean(check.what, _LINE_CHARS)}")
        output.show(
            f"{report.records} records, {report.signatures} signatures: "
            + ("sound" if report.is_sound else "NOT sound")
        )
    if report.target.startswith("did:"):
        output.suggest(f"bazaar why {report.target}")
    return outcomes.OK if report.is_sound else outcomes.REFUSED
