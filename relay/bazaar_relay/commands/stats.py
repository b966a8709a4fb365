"""``bazaar relay stats``: what the running relay counts."""

import http.client
import re
from typing import Annotated

from cyclopts import Parameter

from bazaar_protocol.errors import ConfigError, NotRunning
from bazaar_relay.commands.common import NO_OPTIONS, Common, emit
from bazaar_relay.homes import Home, find_running

_TIMEOUT_S = 5.0
_PREFIX = "bazaar_relay_"
_FOR_MACHINES = re.compile(r"_created\b|_bucket\{")
"""When a counter began, and how values spread: for those who draw them."""


def stats(
    *,
    http_place: Annotated[
        str | None, Parameter(name="--http", help="HOST:PORT of the relay, if not in --home.")
    ] = None,
    common: Common = NO_OPTIONS,
) -> int:
    """Show the counters of the running relay, which has to serve HTTP."""
    place = http_place or find_running(Home(common.folder)).http
    if not place:
        raise ConfigError("the relay serves no HTTP; start it with --http 127.0.0.1:8001")
    values = _read(place)
    if common.json:
        emit(values)
        return 0
    for name, value in values.items():
        if not _FOR_MACHINES.search(name):
            print(f"{name}\t{value:.6g}" if value % 1 else f"{name}\t{value:.0f}")
    return 0


def _read(place: str) -> dict[str, float]:
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"--http is HOST:PORT, as 127.0.0.1:8001; not {place!r}")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        raise NotRunning(f"no relay answers at {place}: {error}") from error
    finally:
        connection.close()
    lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith(_PREFIX)]
    return {name.removeprefix(_PREFIX): float(value) for name, _, value in lines}
