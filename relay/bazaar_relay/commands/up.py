"""``bazaar relay up``: run the relay, in the foreground, until it is told to stop."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bazaar_relay import settings
from bazaar_relay.commands.common import NO_OPTIONS, Common, PassphraseFile, passphrase_of
from bazaar_relay.settings import FileSettings

if TYPE_CHECKING:
    from bazaar_host.key_files import Passphrase


def up(
    *,
    listen: Annotated[
        tuple[str, ...], Parameter(help="Where nodes dial, a multiaddr; may be given again.")
    ] = (),
    announce: Annotated[
        tuple[str, ...],
        Parameter(help="Address to tell others if it is not --listen; may be given again."),
    ] = (),
    http: Annotated[
        str | None, Parameter(help="HOST:PORT for health and metrics over HTTP, or off.")
    ] = None,
    name: Annotated[str | None, Parameter(help="A name to show beside its key.")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, Parameter(help="What to log.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Run the relay until Ctrl-C. It makes its key and its store on the first start.

    When it serves, it writes one line for each of its addresses: READY and the address.
    """
    home = common.folder
    flags: dict[str, object] = {
        "listen": list(listen) or None,
        "announce": list(announce) or None,
        "http": http,
        "name": name,
        "log_level": log_level,
    }

    def load() -> FileSettings:
        return settings.load(home, flags=flags).values

    _run(home, load, passphrase_of(passphrase_file))
    return 0


def _run(home: Path, load: Callable[[], FileSettings], passphrase: "Passphrase") -> None:
    values = load()
    # Imported here: libp2p takes a second to load, and a wrong option should not have to wait.
    from bazaar_host import logs
    from bazaar_relay.serving.process import run_relay

    logs.set_up(values.log_level, values.log_format)
    asyncio.run(run_relay(home, values, passphrase=passphrase, on_ready=_report_ready, reload=load))


def _report_ready(addresses: Sequence[str]) -> None:
    for address in addresses:
        print(f"READY {address}", flush=True)
