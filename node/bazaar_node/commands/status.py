"""``bazaar status``: how the node is."""

from bazaar_node import outcomes
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.service import RelayView, Status
from bazaar_protocol.untrusted import clean

_LINE_CHARS = 200


def status(*, common: Common = NO_OPTIONS) -> int:
    """Show how the node is: its name, its relays, its tasks, and what waits for you."""
    found = common.client().status()
    if common.json:
        output.emit(found)
    else:
        output.facts(_facts(found))
    if found.awaiting_approval:
        output.suggest("bazaar tasks --state delivered")
    elif not found.relays:
        output.say("No relay is configured, so nobody can be reached.")
        output.suggest("bazaar up --relay ADDR")
    elif not found.is_ready:
        output.suggest("bazaar doctor")
    return outcomes.OK


def _facts(found: Status) -> list[tuple[str, str]]:
    ready = "ready" if found.is_ready else f"not ready: {clean(found.trouble, _LINE_CHARS)}"
    tasks = ", ".join(f"{count} {state}" for state, count in found.tasks.items()) or "none"
    pairs = [
        ("agent", found.agent),
        ("name", found.name or "-"),
        ("state", f"{ready}, process {found.pid}, up {output.ago(found.started_ms)}"),
        ("home", found.home),
        *(("address", address) for address in found.addresses),
        *(("relay", _relay(relay)) for relay in found.relays),
        ("offers", ", ".join(found.offers) or "none"),
        ("slots", f"{found.load} of {found.slots} taken"),
        ("tasks", tasks),
        ("log", f"{found.log_seq} entries, {found.outbox} not yet acknowledged"),
    ]
    if found.awaiting_approval:
        pairs.append(("for you", f"{found.awaiting_approval} wait for a verdict"))
    return pairs


def _relay(relay: RelayView) -> str:
    if relay.is_left_behind:
        return f"{relay.address}  not used: {clean(relay.trouble, _LINE_CHARS)}"
    if not relay.is_connected:
        return f"{relay.address}  not connected: {clean(relay.trouble, _LINE_CHARS)}"
    return f"{relay.address}  connected" + ("" if relay.is_caught_up else ", catching up")
