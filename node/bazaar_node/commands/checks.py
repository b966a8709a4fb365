"""The checks of ``bazaar doctor``, each independent of the others."""

import os
import platform
import shlex
import shutil
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from bazaar_host.addresses import Address
from bazaar_node import backups, settings
from bazaar_node.api.client import Client
from bazaar_node.service import RelayView, Status
from bazaar_node.settings import FileSettings, NodeSettings
from bazaar_protocol import limits
from bazaar_protocol.errors import BazaarError, ConfigError, KeyFileError, NotRunning
from bazaar_protocol.untrusted import clean

Level = Literal["ok", "warn", "fail"]

_PYTHON_MIN: Final = (3, 11)
_SQLITE_MENDED: Final = (3, 51, 3)
_ROOM_MIN: Final = 64 * limits.MIB
_ROOM_GOOD: Final = 1024 * limits.MIB
_CLOCK_BACK_S_MAX: Final = limits.RECORD_FUTURE_MS_MAX / 1000
_DIAL_TIMEOUT_S: Final = 3.0
_STATUS_TIMEOUT_S: Final = 5.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_TEXT_CHARS: Final = 200


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    level: Level
    what: str
    found: str
    advice: str = ""
    """What to do about it."""


def check_all(home: Path, passphrase_file: Path | None) -> Iterator[Finding]:
    """Yield what each check finds, the quick ones first."""
    node = NodeSettings(home=home, passphrase_file=passphrase_file)
    yield _check_python()
    yield _check_sqlite()
    yield _check_home(home)
    yield _check_key(node)
    yield _check_recovery_key(node)
    yield _check_backup(node)
    yield _check_room(home)
    yield _check_clock(node)
    values = FileSettings()
    try:
        values = settings.load(home, flags={}).values
    except ConfigError as error:
        yield Finding("fail", "settings", str(error), "mend the file, then: bazaar config show")
    status, finding = _ask(home)
    yield finding
    if status is not None:
        yield _check_reach(status)
        for relay in status.relays:
            yield _check_connection(relay)
    elif values.relays:
        for address in values.relays:
            yield _dial(address)
    if not (values.mdns or (status.relays if status is not None else values.relays)):
        yield Finding("warn", "relay", "none is configured", "bazaar up --relay ADDR")


def _check_python() -> Finding:
    found = f"{platform.python_version()}, {sys.platform}"
    if sys.version_info[:2] < _PYTHON_MIN:
        return Finding("fail", "python", found, "install Python 3.11 or newer")
    return Finding("ok", "python", found)


def _check_sqlite() -> Finding:
    found = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < _SQLITE_MENDED:
        # The WAL-reset bug: two connections that write or checkpoint at the same moment can lose
        # pages. A node writes by one connection only, so it cannot meet it.
        return Finding(
            "warn",
            "sqlite",
            f"{found} is older than 3.51.3, whose WAL could be reset wrongly",
            "nothing to do: it takes two connections that write, and a node has one",
        )
    return Finding("ok", "sqlite", found)


def _check_home(home: Path) -> Finding:
    try:
        mode = home.stat().st_mode
    except FileNotFoundError:
        return Finding("fail", "home", f"{home} does not exist", "bazaar init")
    except OSError as error:
        return Finding("fail", "home", f"{home}: {error.strerror}", "choose another --home")
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        return Finding("fail", "home", f"{home} cannot be written by you", f"chmod u+rwx {home}")
    if mode & _OTHERS:
        return Finding("warn", "home", f"{home} can be entered by others", f"chmod 700 {home}")
    return Finding("ok", "home", str(home))


def _check_key(node: NodeSettings) -> Finding:
    if not node.keys.key_path.exists():
        return Finding("fail", "key", f"there is no {node.keys.key_path}", "bazaar init")
    passphrase = _not_asked if node.passphrase_file is None else node.passphrase()
    try:
        node.keys.read(passphrase)
    except _Locked:
        return Finding("ok", "key", f"{node.keys.key_path}, locked by a passphrase")
    except BazaarError as error:
        return Finding("fail", "key", str(error), "mend that, or restore the key from its backup")
    return Finding("ok", "key", str(node.keys.key_path))


class _Locked(KeyFileError):
    """The key needs a passphrase, which a check does not ask for."""


def _not_asked() -> bytes:
    raise _Locked("locked")


def _check_recovery_key(node: NodeSettings) -> Finding:
    path = node.keys.recovery_key_path
    if path.exists():
        return Finding("warn", "recovery", f"{path} is on this machine", "move this offline")
    return Finding("ok", "recovery", "the recovery key is not on this machine")


def _check_backup(node: NodeSettings) -> Finding:
    if not node.database_path.exists():
        return Finding("ok", "store", "there is none yet")
    try:
        made_ms = backups.made_ms(node.database_path)
    except BazaarError as error:
        return Finding("fail", "store", str(error), "bazaar key restore FILE --home DIR")
    if made_ms is None:
        return Finding("ok", "store", "keep a copy of it elsewhere: bazaar key backup FILE")
    found = "it was restored from a backup, and may not sign yet"
    return Finding("fail", "store", found, f"bazaar recover --home {shlex.quote(str(node.home))}")


def _check_room(home: Path) -> Finding:
    there = next((folder for folder in (home, *home.parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    found = f"{free // limits.MIB} MiB free"
    if free < _ROOM_MIN:
        return Finding("fail", "disk", found, "free some room: a node without it refuses tasks")
    if free < _ROOM_GOOD:
        return Finding("warn", "disk", found, "free some room: results may not fit")
    return Finding("ok", "disk", found)


def _check_clock(node: NodeSettings) -> Finding:
    now_s = time.time()
    newest_s = max(
        (
            path.stat().st_mtime
            for path in (node.keys.key_path, node.database_path)
            if path.exists()
        ),
        default=now_s,
    )
    back_s = newest_s - now_s
    if back_s > _CLOCK_BACK_S_MAX:
        return Finding(
            "fail", "clock", f"it went back by {back_s:.0f} s", "set the clock: relays refuse us"
        )
    return Finding("ok", "clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s)))


def _ask(home: Path) -> tuple[Status | None, Finding]:
    try:
        status = Client(home, timeout_s=_STATUS_TIMEOUT_S).status()
    except NotRunning as error:
        return None, Finding("warn", "node", str(error).partition(";")[0], "bazaar up")
    except BazaarError as error:
        return None, Finding("fail", "node", str(error), "stop the node, then: bazaar up")
    if not status.is_ready:
        trouble = clean(status.trouble, _TEXT_CHARS)
        return status, Finding("warn", "node", f"not ready: {trouble}", "bazaar status")
    return status, Finding("ok", "node", f"process {status.pid} answers")


def _check_reach(status: Status) -> Finding:
    if status.addresses:
        return Finding("ok", "addresses", f"others are told: {', '.join(status.addresses)}")
    return Finding("ok", "addresses", "nobody can dial this node: it is reached through relays")


def _check_connection(relay: RelayView) -> Finding:
    if relay.is_connected:
        return Finding("ok", "relay", f"{relay.address} is connected")
    trouble = clean(relay.trouble, _TEXT_CHARS)
    if relay.is_left_behind:
        found = f"{relay.address} is not used: {trouble}"
        return Finding("warn", "relay", found, "name another one in its place in bazaar.toml")
    return Finding(
        "fail", "relay", f"{relay.address}: {trouble}", "ask its operator, or add another relay"
    )


def _dial(text: str) -> Finding:
    try:
        address = Address.parse(text)
        socket.create_connection((address.host, address.port), _DIAL_TIMEOUT_S).close()
    except (ConfigError, OSError) as error:
        return Finding(
            "fail", "relay", f"{text}: {error}", "ask its operator, or add another relay"
        )
    return Finding("ok", "relay", f"{text} takes connections")
