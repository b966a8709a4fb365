"""A real relay in a process of its own, and what it says it has done."""

import asyncio
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bazaar_relay.homes import Home, find_running

START_S = 30.0
COMMITS = "bazaar_relay_commits_total"
_SETTINGS = 'records_per_s = 1000000\nlog_level = "error"\n'


@dataclass(frozen=True, slots=True)
class RelayProcess:
    """A relay that is up."""

    address: str
    process: psutil.Process
    http: str
    ready_s: float
    """How long it took from nothing to READY."""

    async def commits(self) -> float:
        """Return how many groups it has made durable so far."""
        return await self.metric(COMMITS)

    async def metric(self, name: str, label: str = "") -> float:
        """Return one of its metrics; 0 if there is none such yet."""
        text = await asyncio.to_thread(_get, f"http://{self.http}/metrics")
        lines = (line for line in text.splitlines() if line.startswith(name) and label in line)
        return float(next(lines, "0").rpartition(" ")[2])


@asynccontextmanager
async def relay_up(home: Path, settings: str = "") -> AsyncGenerator[RelayProcess]:
    """Run ``bazaar relay up`` inside this block; its allowance for each identity is large."""
    _settle(home, settings)
    began = time.perf_counter()
    arguments = ("relay", "up", "--home", str(home), "--listen", "/ip4/127.0.0.1/tcp/0")
    async with command(*arguments, "--http", "127.0.0.1:0") as process:
        address = await ready(process)
        ready_s = time.perf_counter() - began
        http = find_running(Home(home)).http
        yield RelayProcess(address, psutil.Process(process.pid), http, ready_s)


@asynccontextmanager
async def command(*arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run ``bazaar`` with these arguments inside this block."""
    async with program("bazaar_node", *arguments) as process:
        yield process


@asynccontextmanager
async def program(module: str, *arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a module as a program inside this block; it is ended at its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(START_S):
            await process.wait()


async def ready(process: asyncio.subprocess.Process) -> str:
    """Wait for the line that begins with READY and return its second word."""
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        while line := (await process.stdout.readline()).decode().split():
            if line[0] == "READY":
                return line[1]
    raise RuntimeError(f"the process ended with {await process.wait()} before it was ready")


def _settle(home: Path, settings: str) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "bazaar.toml").write_text(f"[relay]\n{_SETTINGS}{settings}")


def _get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=START_S) as answer:
        return str(answer.read().decode())
