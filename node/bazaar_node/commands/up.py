"""``bazaar up``: run the node, in the foreground, until it is told to stop."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from bazaar_node import homes, outcomes, policy_settings, settings
from bazaar_node.commands import output
from bazaar_node.commands.common import NO_OPTIONS, Common
from bazaar_node.commands.init import PassphraseFile, report
from bazaar_node.service import Status
from bazaar_node.settings import NodeSettings, OfferSettings
from bazaar_protocol.errors import ConfigError

_AGAIN: Final = "may be given again"


def up(
    *,
    relay: Annotated[tuple[str, ...], Parameter(help=f"A relay's address; {_AGAIN}.")] = (),
    offer: Annotated[tuple[str, ...], Parameter(help=f"A capability to offer; {_AGAIN}.")] = (),
    command: Annotated[
        tuple[str, ...],
        Parameter(
            name="--exec", help="The program for each --offer, in order: task in, result out."
        ),
    ] = (),
    price: Annotated[
        tuple[int, ...], Parameter(help="The price of each --offer, in order, or one for all.")
    ] = (),
    listen: Annotated[
        tuple[str, ...], Parameter(help=f"Where other nodes fetch results; {_AGAIN}.")
    ] = (),
    name: Annotated[str | None, Parameter(help="A name to show beside your key.")] = None,
    slots: Annotated[int | None, Parameter(help="How many tasks to do at once.")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, Parameter(help="What to log.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Run the node until Ctrl-C. It makes an agent first if there is none.

    When it serves, it writes one line: READY, its name, and its addresses.
    """
    home = common.folder
    flags: dict[str, object] = {
        "relays": list(relay) or None,
        "listen": list(listen) or None,
        "name": name,
        "slots": slots,
        "log_level": log_level,
    }
    values = settings.load(home, flags=flags).values
    values = settings.with_offers(values, _offers(offer, command, price))
    if not homes.exists(home):
        output.say(f"There is no agent in {home} yet: making one, as bazaar init would.")
        made = homes.create(home, name=name or "", relays=relay, passphrase=None)
        report(made, is_locked=False)
    if not (values.relays or values.mdns):
        output.say("No relay is configured, so this node can reach nobody.")
        output.suggest("bazaar relay up  (elsewhere), then bazaar up --relay ADDR")
    policy = policy_settings.load(home).values
    _run(settings.at_home(values, home, passphrase_file=passphrase_file, policy=policy))
    return outcomes.OK


def _run(node: NodeSettings) -> None:
    # Imported here: libp2p takes a second to load, and a wrong option should not have to wait.
    from bazaar_host import logs
    from bazaar_node.daemon import run_node

    logs.set_up(node.log_level, node.log_format)
    asyncio.run(run_node(node, on_ready=_report_ready))


def _report_ready(status: Status) -> None:
    output.show(" ".join(("READY", status.agent, *status.addresses)))


def _offers(
    capabilities: Sequence[str], commands: Sequence[str], prices: Sequence[int]
) -> list[OfferSettings]:
    if len(commands) not in (0, len(capabilities)):
        raise ConfigError(
            f"{len(capabilities)} --offer and {len(commands)} --exec: give one --exec for each "
            "--offer, or none to take the tasks with bazaar work next"
        )
    if len(prices) not in (0, 1, len(capabilities)):
        raise ConfigError(
            f"{len(capabilities)} --offer and {len(prices)} --price: give one for all"
        )
    return [
        OfferSettings(
            capability=capability,
            command=commands[at] if commands else None,
            price=0 if not prices else prices[at] if len(prices) > 1 else prices[0],
        )
        for at, capability in enumerate(capabilities)
    ]
