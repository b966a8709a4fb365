"""A real PostgreSQL server for tests, one for a whole run, with a fresh database for each test.

It listens on a Unix socket in a folder of its own, and nowhere else. Where PostgreSQL is not
installed, the tests that need it are left out and say so.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg

_PORT: Final = 5432  # a part of the socket's name, and no port
_SET_SIGNAL_OF_PARENTS_DEATH: Final = 1
_START_S: Final = 60.0
_STOP_S: Final = 30.0
_POLL_S: Final = 0.05
# Tests kill relays and never the machine, so nothing has to reach the disk.
_FAST: Final = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=64MB",
)
_ACCESS: Final = """
local all guarded scram-sha-256
local all all trust
"""
_GUARDED: Final = "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right'"


def missing() -> str:
    """Return why there can be no server here; empty if there can."""
    if any(_binary(name) is None for name in ("postgres", "initdb", "pg_isready", "psql")):
        return "PostgreSQL is not installed (on Debian and Ubuntu: apt install postgresql)"
    if os.getuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return ""


@dataclass
class Server:
    """A server that runs."""

    folder: Path
    process: "subprocess.Popen[bytes]"
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._numbers = count(1)

    def address(self, database: str, *, user: str = "postgres") -> str:
        """Return the address of a database, as it stands in settings."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    @asynccontextmanager
    async def admin(self, database: str = "postgres") -> AsyncGenerator[Any]:
        """Connect as who may do everything."""
        db = await asyncpg.connect(self.address(database))
        try:
            yield db
        finally:
            await db.close()

    async def new_database(self) -> str:
        """Return the address of a fresh database."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        async with self.admin() as db:
            await db.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    async def shut_out(self, address: str) -> None:
        """End every connection to the database at ``address``, and take no new one."""
        name = _name_in(address)
        async with self.admin() as db:
            await db.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )

    async def let_in(self, address: str) -> None:
        """Take connections to the database at ``address`` again."""
        async with self.admin() as db:
            await db.execute(f"ALTER DATABASE {_name_in(address)} WITH ALLOW_CONNECTIONS true")

    def stop(self) -> None:
        """Stop it; it does not wait for those who are connected."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_STOP_S)

    def start(self) -> None:
        """Start it again where it was."""
        self.process = _start(self.folder, self.settings)


@contextmanager
def running(*, place: Path | None = None, is_durable: bool = False) -> Generator[Server]:
    """Run a server inside this block, in a folder that is made in ``place``."""
    folder = Path(tempfile.mkdtemp(prefix="bazaar-pg-", dir=place))
    try:
        if (user := _user()) is not None:
            os.chown(folder, user, -1)
        _run("initdb", "--pgdata", folder / "data", "--no-sync", "--auth=trust", "-U", "postgres")
        (folder / "data" / "pg_hba.conf").write_text(_ACCESS)
        settings = () if is_durable else _FAST
        server = Server(folder, _start(folder, settings), settings)
        try:
            _run("psql", server.address("postgres"), "--quiet", "--command", _GUARDED)
            yield server
        finally:
            if server.process.poll() is None:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end_with_parent() -> None:
    """Have the server stop when the tests are killed, which then cannot stop it."""
    ctypes.CDLL(None).prctl(_SET_SIGNAL_OF_PARENTS_DEATH, signal.SIGINT)


def _name_in(address: str) -> str:
    return address.partition("@/")[2].partition("?")[0]


def _start(folder: Path, more: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    settings = (f"unix_socket_directories={folder}", "listen_addresses=", f"port={_PORT}", *more)
    options = [part for setting in settings for part in ("-c", setting)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [str(_binary("postgres")), "-D", str(folder / "data"), *options],
            stdout=log,
            stderr=log,
            user=_user(),
            cwd=folder,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 -- one call
        )
    deadline = time.monotonic() + _START_S
    while not _answers(folder):
        log_text = (folder / "log").read_text
        assert process.poll() is None, log_text()
        assert time.monotonic() < deadline, log_text()
        time.sleep(_POLL_S)
    return process


def _answers(folder: Path) -> bool:
    command = [str(_binary("pg_isready")), "--quiet", f"--host={folder}", f"--port={_PORT}"]
    return subprocess.run(command, check=False).returncode == 0


def _run(program: str, *arguments: object) -> None:
    command = [str(_binary(program)), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, user=_user(), cwd="/", text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _binary(name: str) -> Path | None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ["PATH"]]))
    return None if found is None else Path(found)


def _user() -> int | None:
    """Return as whom it has to run, if not as ourselves: it refuses to be root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return None
