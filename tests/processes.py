"""Relays and nodes as processes of their own, and what they use of the machine."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

READY_S, STOP_S, COMMAND_S = 30.0, 20.0, 60.0
LISTEN = "/ip4/127.0.0.1/tcp/0"


@dataclass(frozen=True)
class Daemon:
    """A relay or a node that serves."""

    process: asyncio.subprocess.Process
    home: Path
    address: str

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    def memory_bytes(self) -> int:
        """Return what it holds in memory, without the programs it has started."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def descriptors(self) -> int:
        return int(psutil.Process(self.process.pid).num_fds())

    def log(self) -> str:
        """Return what it has said on standard error."""
        return self.home.with_suffix(".log").read_text()

    async def stop(self) -> int:
        """End it as Ctrl-C does, and return its exit status."""
        if self.is_alive:
            self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bazaar_node", *arguments]


async def start(home: Path, *arguments: str) -> Daemon:
    """Run ``bazaar ARGUMENTS --home HOME`` and return once it says READY. The caller ends it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BAZAAR_")}
    with home.with_suffix(".log").open("a") as log:
        process = await asyncio.create_subprocess_exec(
            *command(*arguments, "--home", str(home)),
            stdout=asyncio.subprocess.PIPE, stderr=log, env=environ, cwd=home.parent,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_S):
            ready = (await process.stdout.readline()).decode().split()
        assert ready[:1] == ["READY"], home.with_suffix(".log").read_text()
    except BaseException:
        await kill(process)
        raise
    return Daemon(process, home, ready[-1])


async def kill(process: asyncio.subprocess.Process) -> None:
    """End a process as ``kill -9`` does, if it has not ended by itself."""
    if process.returncode is None:
        process.kill()
        await process.wait()


@asynccontextmanager
async def daemon(home: Path, *arguments: str) -> AsyncGenerator[Daemon]:
    """Run ``bazaar ARGUMENTS --home HOME`` once it says READY; kill it at the end if need be."""
    started = await start(home, *arguments)
    try:
        yield started
    finally:
        await kill(started.process)


@asynccontextmanager
async def relay_up(home: Path, *arguments: str) -> AsyncGenerator[Daemon]:
    async with daemon(home, "relay", "up", "--listen", LISTEN, *arguments) as relay:
        yield relay


@asynccontextmanager
async def node_up(home: Path, relay: Daemon, *arguments: str) -> AsyncGenerator[Daemon]:
    """Run a node with an identity of its own that knows one relay."""
    await run("init", "--home", str(home), "--name", home.name, "--no-passphrase")
    async with daemon(home, "up", "--relay", relay.address, *arguments) as node:
        yield node


async def run(*arguments: str) -> str:
    """Run one short command, which has to succeed, and return what it printed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command(*arguments), stdout=pipe, stderr=pipe)
    async with asyncio.timeout(COMMAND_S):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
