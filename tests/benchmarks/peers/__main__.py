"""Drives another relay beside ours, in the same run: ``make bench-peers``.

The peer is ``nostr-relay``, a relay in Python for Nostr, from the package index: signed events over
WebSockets, kept in SQLite and acknowledged one by one. What is compared is durable intake.
"""

import asyncio
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from tests.benchmarks import report
from tests.benchmarks.intake import VERIFY, Load
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Row,
    Sample,
    Stopwatch,
    at_least,
    interleave,
    row,
)
from tests.benchmarks.peers.environment import NotInstallableError, install, nostr_relay
from tests.benchmarks.relay_links import relay_over_libp2p

PUBLISHERS: Final = 8
_PUBLISHER: Final = Path(__file__).with_name("nostr_publisher.py")
_MEMORY: Final = Path("/dev/shm")
_NOTE: Final = (
    f"{PUBLISHERS} publishers on one machine, each with events or frames under way; SQLite for "
    "both, the peer's with its own settings, ours with every commit synced"
)

app = App(name="bench-peers", help="Measure durable intake beside another relay.")


@app.default
def main(
    *,
    rounds: Annotated[int, Parameter(help="Rounds of the comparison.")] = 5,
    quick: Annotated[bool, Parameter(help="See that it works; figures mean little.")] = False,
    folder: Annotated[Path, Parameter(help="Where the peer is installed.")] = Path("build/peers"),
) -> None:
    """Install the peer, measure, and print a table."""
    try:
        programs = install(folder.absolute())
    except NotInstallableError as error:
        sys.stderr.write(f"The peer cannot be installed here, so nothing was measured:\n{error}\n")
        raise SystemExit(1) from error
    place = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="bench-peers-", dir=place) as stores:
        bench = Bench(1 if quick else rounds, quick, Path(stores))
        rows = asyncio.run(_compare(bench, programs))
    report.show(rows, "durable intake beside a peer")


async def _compare(bench: Bench, programs: Path) -> list[Row]:
    ours, theirs = bench.count(8_192, 1_024), bench.count(1_600, 160)
    async with (
        relay_over_libp2p(bench.folder / "ours") as place,
        nostr_relay(programs, bench.folder, _free_port()) as (address, process),
    ):
        load = Load(place, ours)
        publishers = await load.publishers(PUBLISHERS)

        async def nostr() -> Sample:
            with Stopwatch(process, with_children=True) as watch:
                wall_s = await _publish(programs, address, theirs)
            return Sample.rate(theirs, wall_s, watch.cpu_s)

        samples = await interleave(
            bench.rounds,
            {"verify": load.verify, "ours": load.case(publishers), "nostr-relay": nostr},
        )
    limit = Beside(VERIFY, samples["verify"])
    return [
        row("intake, nostr-relay", "records/s", samples["nostr-relay"], beside=limit, note=_NOTE),
        row("intake, ours", "records/s", samples["ours"], beside=limit),
        row("intake, ours beside nostr-relay", "records/s", samples["ours"],
            beside=Beside("nostr-relay", samples["nostr-relay"]), goal=at_least(15)),
    ]  # fmt: skip


async def _publish(programs: Path, address: str, events: int) -> float:
    """Publish from a process of its own; return how long that took."""
    process = await asyncio.create_subprocess_exec(
        str(programs / "python"), str(_PUBLISHER), address, str(PUBLISHERS), str(events),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit("the publisher of the peer has failed; the reason stands above")
    return float(out)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    app()
