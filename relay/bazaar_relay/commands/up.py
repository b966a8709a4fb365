"""``bazaar relay up``: run the relay, in the foreground, until it is told to stop."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter

from bazaar_relay import settings
from bazaar_relay.commands.common import NO_OPTIONS, Common
from bazaar_relay.settings import FileSettings


def up(
    *,
    listen: Annotated[
        tuple[str, ...], Parameter(help="Where nodes dial, a multiaddr; may be given again.")
    ] = (),
    http: Annotated[
        str | None, Parameter(help="HOST:PORT for health and metrics over HTTP, or off.")
    ] = None,
    name: Annotated[str | None, Parameter(help="A name to show beside its key.")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, Parameter(help="What to log.")
    ] = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Run the relay until Ctrl-C. It makes its key and its store on the first start.

    When it serves, it writes one line for each of its addresses: READY and the address.
    """
    home = common.folder
    flags: dict[str, object] = {
        "listen": list(listen) or None,
        "http": http,
        "name": name,
        "log_level": log_level,
    }
    _run(common, settings.load(home, flags=flags).values)
    return 0


def _run(common: Common, values: FileSettings) -> None:
    # Imported here: libp2p takes a second to load, and a wrong option should not have to wait.
    from bazaar_host import logs
    from bazaar_relay.process import run_relay

    logs.set_up(values.log_level, values.log_format)
    asyncio.run(run_relay(common.folder, values, on_ready=_report_ready))


def _report_ready(addresses: Sequence[str]) -> None:
    for address in addresses:
        print(f"READY {address}", flush=True)
