"""What a node costs while nothing happens, and how long it and a relay take to start."""

import asyncio
import resource
import subprocess
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import psutil
from tests.benchmarks.measuring import Bench, Beside, Case, Row, Sample, at_most, interleave, row
from tests.benchmarks.relay_process import command, ready, relay_up

STATUS_RUNS: Final = 7
IDLE_S: Final = 10
_MS: Final = 1_000


async def run(bench: Bench) -> list[Row]:
    """Measure starts, commands and idleness of real processes."""
    figures: dict[str, list[Sample]] = {"relay": [], "node": []}
    for number in range(bench.rounds):
        home = bench.folder / f"node-{number}"
        await _init(home)
        async with relay_up(bench.folder / f"relay-{number}") as relay:
            figures["relay"].append(Sample(relay.ready_s))
            began = time.perf_counter()
            async with _node(home, relay.address) as node:
                await ready(node)
                figures["node"].append(Sample(time.perf_counter() - began))
                if number == bench.rounds - 1:
                    pair = (psutil.Process(node.pid), relay.process)
                    figures |= await _at_rest(bench, home, pair)
    return [
        row("relay: start to READY", "s", figures["relay"], goal=at_most(3, "figure")),
        row("node: start to READY, relay up", "s", figures["node"], goal=at_most(3, "figure")),
        row("bazaar status, CPU", "ms", figures["status"],
            beside=Beside("python -c pass", figures["python"]), goal=at_most(150, "figure")),
        row("node: idle", "% CPU", figures["idle node"], goal=at_most(1, "figure"),
            note=f"over {bench.count(IDLE_S, 1)} s, the relay with this node alone"),
        row("relay: idle", "% CPU", figures["idle relay"]),
    ]  # fmt: skip


async def _at_rest(
    bench: Bench, home: Path, pair: tuple[psutil.Process, psutil.Process]
) -> dict[str, list[Sample]]:
    cases: dict[str, Case] = {
        "status": lambda: _cpu_of("-m", "bazaar_node", "status", "--home", str(home)),
        "python": lambda: _cpu_of("-c", "pass"),
    }
    commands = await interleave(bench.count(STATUS_RUNS, 1), cases)
    seconds = bench.count(IDLE_S, 1)
    node, relay = await asyncio.gather(*(_idle(process, seconds) for process in pair))
    return {**commands, "idle node": [node], "idle relay": [relay]}


def _node(home: Path, relay: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    return command("up", "--home", str(home), "--relay", relay, "--log-level", "error")


async def _init(home: Path) -> None:
    arguments = (sys.executable, "-m", "bazaar_node", "init", "--no-passphrase", "--home", home)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)
    _, told = await process.communicate()
    assert process.returncode == 0, told


async def _idle(process: psutil.Process, seconds: float) -> Sample:
    await asyncio.sleep(1)  # what belongs to the start is over then
    before = process.cpu_times()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    used = (after.user + after.system) - (before.user + before.system)
    return Sample(round(100 * used / seconds, 3))


async def _cpu_of(*arguments: str) -> Sample:
    def run_it() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=60
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return Sample(await asyncio.to_thread(run_it) * _MS)
