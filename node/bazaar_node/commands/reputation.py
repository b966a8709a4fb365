"""What others are worth to this node, and why: no number without its confidence."""

import shlex
from typing import Annotated, Final

from cyclopts import Parameter

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.trust_service import ReceiptView, ReputationView, Standing, WhyView
from bazaar_protocol.untrusted import clean

AgentName = Annotated[
    str, Parameter(help="The agent's did:key; of one known here, its first characters.")
]
Role = Annotated[Standing, Parameter(help="Judged as a worker, or as a poster.")]
CapabilityName = Annotated[
    str,
    Parameter(name=["--capability", "-c"], help="For one capability, with @version if you like."),
]

_TIMEOUT_S: Final = 120.0
_HEADINGS: Final = ("contract", "what happened", "adds", "rater", "its weight", "age", "entry")
_WEIGHTLESS: Final = "nobody trusted here signed them, or they are too old"
_WHY_CHARS: Final = 200


def reputation(
    agent: AgentName,
    /,
    *,
    role: Role = "worker",
    capability: CapabilityName = "",
    common: Common = NO_OPTIONS,
) -> int:
    """Show what this node may expect of an agent, and how sure of that it is.

    The score is this node's own: it is made of its experience and of that of others, each
    weighing what their good work here has earned them.
    """
    client = common.client(timeout_s=_TIMEOUT_S)
    view = client.reputation(agent, role=role, capability=capability)
    if common.json:
        output.emit(view)
    else:
        output.facts(_facts(view))
    output.suggest(_command("why", view))
    return outcomes.OK


def why(
    agent: AgentName,
    /,
    *,
    role: Role = "worker",
    capability: CapabilityName = "",
    limit: Annotated[int, Parameter(help="How many receipts at most.")] = 20,
    common: Common = NO_OPTIONS,
) -> int:
    """Show each receipt behind a score: what happened, whose word it is, and what it adds.

    Evidence is counted in jobs, after the rater's weight and after fading. Every receipt is a
    record: entry N of the log of whoever signed it.
    """
    client = common.client(timeout_s=_TIMEOUT_S)
    view = client.why(agent, role=role, capability=capability, limit=limit)
    if common.json:
        output.emit(view)
    else:
        _show(view)
    shown = output.short_agent(view.reputation.agent)
    if view.receipts or view.reputation.is_convicted:
        output.suggest(f"bazaar evidence export {shown}.evidence {view.reputation.agent}")
    else:
        output.suggest(f"bazaar audit {view.reputation.agent}")
    return outcomes.OK


def score_line(view: ReputationView) -> str:
    """Say the score in words, never without its confidence."""
    if view.is_convicted:
        return "0.00: it contradicted itself, which is proved for ever"
    shown = f"{view.lower:.2f} to rely on, {view.mean:.2f} expected"
    evidence = f"{view.good:.1f} good and {view.bad:.1f} bad jobs"
    if view.is_known:
        return f"{shown}, from {evidence}"
    return f"{shown}, as of any stranger: only {evidence}"


def _facts(view: ReputationView) -> list[tuple[str, str]]:
    what = view.capability or "everything"
    facts = [("agent", view.agent), ("as", f"{view.role}, {what}"), ("score", score_line(view))]
    strangers = f"strangers like it begin at {view.prior:.2f}"
    facts += [
        ("admission", f"{view.admission}; {strangers}"),
        ("its word", f"counts {view.weight:.2f} here"),
        ("log", f"{view.entries} entries held, the newest is {view.head}"),
        ("history", _history(view)),
    ]
    if view.exposure or view.unjudged:
        owed = f"{view.unjudged} results of ours not judged"
        facts.append(("exposure", f"holds tasks of ours for {view.exposure}, {owed}"))
    if view.heir is not None:
        facts.append(("ended", f"{view.heir} carries on"))
    return facts


def _history(view: ReputationView) -> str:
    named = [f"{flaw.what} at entry {flaw.place}" for flaw in view.flaws]
    if view.conviction is not None:
        proof = output.short_id(view.conviction.proof)
        named.append(f"CONVICTED of {view.conviction.claim}, proof {proof}")
    return ", ".join(named) or "nothing wrong is known"


def _show(view: WhyView) -> None:
    output.show(f"{view.reputation.agent}  {score_line(view.reputation)}")
    if view.reputation.conviction is not None:
        output.show(_history(view.reputation))
    output.table(_HEADINGS, [_row(one, view.reputation) for one in view.receipts])
    if view.left_out:
        output.say(f"{view.left_out} receipts that count are not shown; see --limit.")
    if view.weightless:
        output.say(f"{view.weightless} receipts add nothing: {_WEIGHTLESS}.")


def _row(one: ReceiptView, about: ReputationView) -> tuple[str, ...]:
    is_theirs = one.subject == about.agent
    what = one.why if is_theirs else f"{one.why} ({output.short_agent(one.subject)})"
    return (
        output.short_id(one.contract),
        clean(what, _WHY_CHARS),
        f"{'+' if one.is_good else '-'}{one.adds:.2f}",
        "its own signature" if one.rater is None else output.short_agent(one.rater),
        f"{one.rater_weight:.2f}",
        str(one.age),
        f"{output.short_agent(one.author)}#{one.seq}",
    )


def _command(name: str, view: ReputationView) -> str:
    words = ["bazaar", name, view.agent]
    if view.role != "worker":
        words += ["--role", view.role]
    if view.capability:
        words += ["-c", view.capability]
    return shlex.join(words)
