"""``bazaar vouch`` and ``bazaar stamp``: how strangers become less strange."""

from typing import Annotated

from cyclopts import Parameter

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common


def vouch(
    agent: Annotated[str, Parameter(help="Whom to answer for, as did:key.")],
    /,
    *,
    withdraw: Annotated[bool, Parameter(help="Answer for it no longer.")] = False,
    common: Common = NO_OPTIONS,
) -> int:
    """Answer for an agent, in your log.

    Those who trust you give it small tasks and probes before other strangers. A quarter of what it
    gets wrong counts against you. Only your first three vouches count, until you withdraw one.
    """
    common.client().vouch(agent, is_withdrawn=withdraw)
    if common.json:
        output.emit({"agent": agent, "is_withdrawn": withdraw})
    else:
        output.show(f"{agent}  {'no longer vouched for' if withdraw else 'vouched for'}")
    return outcomes.OK


def stamp(*, common: Common = NO_OPTIONS) -> int:
    """Do a proof of work for your identity, and publish it; it takes a second or two.

    It shows that the identity cost something to make: seasoned nodes give such strangers small
    tasks when nobody that they know bids.
    """
    made = common.client().stamp()
    if common.json:
        output.emit(made)
    else:
        output.show(f"{made.bits} bits")
    return outcomes.OK
