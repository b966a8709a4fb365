"""``bazaar evidence``: records as files, for others to check, and the store checked by them."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_protocol.untrusted import clean

_TIMEOUT_S: Final = 3600.0
_REASON_CHARS: Final = 200

app = App(
    name="evidence",
    help="Hand evidence on as a file, take it over, or derive everything from it anew.",
    help_epilogue="Example: bazaar evidence export all.evidence",
)


@app.command(help_epilogue="Example: bazaar evidence export bo.evidence did:key:z6Mk...")
def export(
    to: Annotated[Path, Parameter(help="File to make; it must not exist.")],
    agent: Annotated[str, Parameter(help="About this agent; everything if left out.")] = "",
    /,
    *,
    common: Common = NO_OPTIONS,
) -> int:
    """Write evidence to a file: records as they were signed, which anybody can check.

    About one agent that is its log, its contracts with what others signed of them, and proofs.
    """
    made = common.client(timeout_s=_TIMEOUT_S).export_evidence(to.expanduser(), agent)
    if common.json:
        output.emit(made)
    else:
        output.show(f"{to}: {made.records} records")
    output.suggest(f"bazaar evidence import {to}  (at another node)")
    return outcomes.OK


@app.command(name="import", help_epilogue="Example: bazaar evidence import bo.evidence")
def import_(
    file: Annotated[Path, Parameter(help="What bazaar evidence export made.")],
    /,
    *,
    common: Common = NO_OPTIONS,
) -> int:
    """Take over a file of evidence, each record checked; who sent it does not matter.

    A record that does not hold is refused and named, and harms no other; the exit status is 6 then.
    """
    done = common.client(timeout_s=_TIMEOUT_S).import_evidence(file.expanduser())
    if common.json:
        output.emit(done)
    else:
        output.show(f"{done.read} records read, {done.new} new, {done.refused} refused")
        for one in done.refusals:
            output.show(f"refused  record {one.number}: {clean(one.reason, _REASON_CHARS)}")
    output.suggest("bazaar reputation AGENT")
    return outcomes.REFUSED if done.refused else outcomes.OK


@app.command(help_epilogue="Example: bazaar evidence rebuild")
def rebuild(*, common: Common = NO_OPTIONS) -> int:
    """Derive every receipt, sum and conviction anew from the records, and say what differed.

    Nothing should: the exit status is 6 if anything did although no record came meanwhile. The
    node goes on working.
    """
    done = common.client(timeout_s=_TIMEOUT_S).rebuild_evidence()
    if common.json:
        output.emit(done)
    elif not done.differences:
        output.show(f"derived anew from {done.records} records: equal")
    else:
        output.show(f"derived anew from {done.records} records: NOT equal; what differed:")
        for difference in done.differences:
            output.show(difference)
    if done.differences and done.came_meanwhile:
        output.say(f"{done.came_meanwhile} records came meanwhile, which may be why.")
        output.suggest("bazaar evidence rebuild")
        return outcomes.TRY_AGAIN
    if done.differences:
        output.say("What is derived now counts; please report this, it is a bug.")
    return outcomes.REFUSED if done.differences else outcomes.OK
