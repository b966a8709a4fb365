"""Power cuts: what a disk has after one, from a trace of what a process wrote and synced.

A program that commits runs under strace (``python -m tests.power FOLDER COMMITS SYNCHRONOUS``). Of
the trace anything can be cut off, and of what was written and not synced until then, any part may
be on the disk.
"""

import asyncio
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from tests.market_records import NOW_MS, Trader

from bazaar_host.database import Synchronous
from bazaar_protocol.evidence_kinds import Intake
from bazaar_protocol.kinds import Genesis
from bazaar_protocol.records import unseal
from bazaar_relay.storage.sqlite_store import SqliteStore
from bazaar_relay.storage.store import Batch, NewRecord

RECORDS_PER_COMMIT: Final = 3
_PAGE: Final = 4096
_ACK: Final = b"kept "
_CALLS: Final = "pwrite64,fsync,fdatasync,ftruncate,write,unlink"
_CALL: Final = re.compile(r"(?:\d+ +)?(\w+)\((\d+)<([^>]*)>(?:, (.*))?\) += (\d+)")
_UNLINK: Final = re.compile(r'(?:\d+ +)?unlink\(("[^"]*")\) += 0')
_BYTES: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class Wrote:
    path: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncated:
    path: str
    size: int


@dataclass(frozen=True)
class Synced:
    path: str


@dataclass(frozen=True)
class Removed:
    path: str


@dataclass(frozen=True)
class Acknowledged:
    commits: int
    """So many are promised from here on."""


Event = Wrote | Truncated | Synced | Removed | Acknowledged


def trace(strace: str, folder: Path, *, commits: int, synchronous: Synchronous) -> list[Event]:
    """Run the program that commits, and return what it did to files, in order."""
    out = folder / "trace"
    store = folder / "store"
    store.mkdir(parents=True)
    program = [sys.executable, "-m", "tests.power", str(store), str(commits), synchronous]
    watched = [strace, "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={_CALLS}", "-o", str(out)]
    subprocess.run([*watched, *program], check=True, capture_output=True, timeout=300)
    return list(_read(out.read_text(), store))


def disk_after(events: Sequence[Event], chance: random.Random) -> dict[str, bytes]:
    """Return the files as a power cut after ``events`` leaves them."""
    files: dict[str, bytearray] = {}
    unsynced: dict[str, list[Wrote | Truncated]] = {}
    for event in events:
        match event:
            case Wrote(path) | Truncated(path):
                unsynced.setdefault(path, []).append(event)
            case Synced(path):
                for change in unsynced.pop(path, []):
                    _apply(files.setdefault(path, bytearray()), change)
            case Removed(path):
                files.pop(path, None)
                unsynced.pop(path, None)
            case Acknowledged():
                pass
    share = chance.choice((0.0, 0.5, 0.95))  # of what was not synced, that got there all the same
    for path, changes in unsynced.items():
        for change in changes:
            if chance.random() < share:
                _apply(files.setdefault(path, bytearray()), change)
    return {path: bytes(data) for path, data in files.items()}


def entries_of(commits: int) -> list[list[bytes]]:
    """Return the records of each commit; they are the same in each run."""
    ada = Trader.named("ada", NOW_MS)
    numbers = range(1, commits * RECORDS_PER_COMMIT)
    log = [ada.say(Genesis(bytes(32)), NOW_MS).raw]
    log += [ada.say(Intake(bytes(32), n, n), NOW_MS + n).raw for n in numbers]
    return [log[n : n + RECORDS_PER_COMMIT] for n in range(0, len(log), RECORDS_PER_COMMIT)]


def _apply(data: bytearray, change: Wrote | Truncated) -> None:
    if isinstance(change, Truncated):
        del data[change.size :]
        return
    end = change.offset + len(change.data)
    data.extend(bytes(max(0, end - len(data))))
    data[change.offset : end] = change.data


def _read(text: str, store: Path) -> Iterator[Event]:
    for line in text.splitlines():
        removed, call = _UNLINK.match(line), _CALL.match(line)
        if removed is not None:
            yield Removed(Path(_bytes_in(removed[1]).decode()).name)
        elif call is not None:
            name, number, hexadecimal, rest, _ = call.groups()
            path = Path(_bytes_in(f'"{hexadecimal}"').decode())
            if name == "write" and number == "1":
                yield from _said(_bytes_in(rest))
            elif path.parent == store and path.suffix != ".lock":
                yield from _done(name, path.name, rest)
        else:
            assert "unfinished" not in line, line  # it does one thing after the other


def _said(told: bytes) -> Iterator[Event]:
    if told.startswith(_ACK):
        yield Acknowledged(int(told.removeprefix(_ACK)))


def _done(name: str, file: str, rest: str) -> Iterator[Event]:
    match name:
        case "fsync" | "fdatasync":
            yield Synced(file)
        case "ftruncate":
            yield Truncated(file, int(rest))
        case "pwrite64":
            data, offset = _bytes_in(rest), int(rest.rpartition(", ")[2])
            # A page is the least that gets to a disk or does not.
            for start in range(0, len(data), _PAGE):
                yield Wrote(file, offset + start, data[start : start + _PAGE])
        case _:
            return


def _bytes_in(arguments: str) -> bytes:
    written = _BYTES.match(arguments)
    assert written is not None, arguments[:80]
    return bytes.fromhex(written[1].replace("\\x", ""))


async def _commit(folder: Path, commits: int, synchronous: Synchronous) -> None:
    path = folder / "relay.sqlite3"
    async with SqliteStore.open(path, name=bytes(32), synchronous=synchronous) as store:
        for number, raws in enumerate(entries_of(commits), start=1):
            await store.commit(Batch([NewRecord(unseal(raw), ()) for raw in raws]))
            os.write(1, _ACK + str(number).encode())
        os._exit(0)  # leaving the block would sync


if __name__ == "__main__":
    asyncio.run(_commit(Path(sys.argv[1]), int(sys.argv[2]), cast("Synchronous", sys.argv[3])))
