"""What this node offers, and what others do."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.inputs import Duration, file_bytes
from bazaar_node.service import Found, OfferRequest, OfferView

CapabilityName = Annotated[str, Parameter(help="Dotted name, with @version if you like.")]

_ETA_MS = 60_000


def offer(
    capability: CapabilityName,
    /,
    *,
    command: Annotated[
        str | None,
        Parameter(
            name="--exec",
            help="Program that reads the task as JSON and writes the result; no shell.",
        ),
    ] = None,
    description: Annotated[str, Parameter(help="What it does, for people.")] = "",
    price: Annotated[int, Parameter(help="What it costs.")] = 0,
    eta: Annotated[Duration, Parameter(help="Nine of ten are done in this time, as 90s.")] = None,
    confidence: Annotated[int, Parameter(help="How sure you are to succeed, of 10000.")] = 9_000,
    input_schema: Annotated[Path | None, Parameter(help="JSON Schema of inputs.")] = None,
    output_schema: Annotated[Path | None, Parameter(help="JSON Schema of results.")] = None,
    tag: Annotated[tuple[str, ...], Parameter(help="A tag; may be given again.")] = (),
    common: Common = NO_OPTIONS,
) -> int:
    """Offer a capability, now and after restarts."""
    request = OfferRequest(
        capability=capability,
        command=command,
        description=description,
        price=price,
        eta_ms=_ETA_MS if eta is None else eta,
        confidence=confidence,
        input_schema=b"" if input_schema is None else file_bytes(input_schema),
        output_schema=b"" if output_schema is None else file_bytes(output_schema),
        tags=tag,
    )
    made = common.client().offer(request)
    if common.json:
        output.emit(made)
    else:
        output.show(made.capability)
    output.suggest("bazaar offers" if command else f"bazaar work next -c {made.capability}")
    return outcomes.OK


def withdraw(capability: CapabilityName, /, *, common: Common = NO_OPTIONS) -> int:
    """Stop offering a capability; what was accepted is still done."""
    common.client().retract(capability)
    if common.json:
        output.emit({"capability": capability})
    else:
        output.say(f"{capability} is offered no more")
    output.suggest("bazaar offers")
    return outcomes.OK


def offers(*, common: Common = NO_OPTIONS) -> int:
    """List what this node offers."""
    found = common.client().offers()
    if common.json:
        output.emit({"offers": found})
        return outcomes.OK
    headings = ("capability", "price", "within", "done by", "description")
    output.table(headings, [_row(offer) for offer in found])
    if not found:
        output.say("This node offers nothing.")
        output.suggest("bazaar offer CAPABILITY --exec COMMAND")
    return outcomes.OK


def find(
    *words: Annotated[str, Parameter(help="Words of a name, a description or a tag.")],
    capability: Annotated[
        str, Parameter(name=["--capability", "-c"], help="Its name, or how it begins.")
    ] = "",
    limit: Annotated[int, Parameter(help="How many at most.")] = 50,
    common: Common = NO_OPTIONS,
) -> int:
    """Ask the relays who offers what. Agents describe themselves, so believe nothing unchecked.

    A capability is claimed, probed (there was good work) or proven (often, and it is reliable). The
    score is its lower bound, what to rely on; a ? means that it is that of any stranger.
    """
    found = common.client().find(capability=capability, words=" ".join(words), limit=limit)
    if common.json:
        output.emit({"found": found})
        return outcomes.OK
    rows = [
        (
            one.capability,
            one.claim,
            _score(one),
            str(one.price),
            f"{max(0, one.slots - one.load)} of {one.slots}",
            output.title(one.untrusted_name) or "-",
            one.agent,
            output.title(one.untrusted_description),
        )
        for one in found
    ]
    headings = ("capability", "is", "score", "price", "free", "name", "agent", "description")
    output.table(headings, rows)
    if found:
        output.suggest(f"bazaar post -c {output.title(found[0].capability)} -i INPUT --wait")
    else:
        output.say("Nobody offers that, or no relay is connected.")
        output.suggest("bazaar status")
    return outcomes.OK


def _score(one: Found) -> str:
    if one.is_convicted:
        return "convicted"
    return f"{one.lower:.2f}" if one.is_known else f"{one.lower:.2f}?"


def _row(offer: OfferView) -> tuple[str, ...]:
    within = f"{offer.eta_ms / 1000:g}s"
    done_by = offer.command or "bazaar work"
    return (offer.capability, str(offer.price), within, done_by, offer.description)
