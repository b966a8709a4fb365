"""A program that shares no code with ours speaks with us: js-libp2p, from the npm registry.

It is left out, and says why, where there is no Node.js or where its packages cannot be had.
"""

import asyncio
import shutil
from pathlib import Path

import pytest
from tests.links import Libp2pPlace, check_echoes, echoing
from tests.processes import kill, relay_up

from bazaar_host.links import RELAY_PROTOCOL
from bazaar_protocol import limits

CLIENT = Path(__file__).parents[1] / "interop"
VECTORS = Path(__file__).parents[1] / "vectors" / "logs.json"
STREAMS = 50
LARGE = [bytes([number % 256]) * limits.CHUNK_BYTES for number in range(512)]
NODE_MAJOR_MIN = 20
INSTALL_S, TALK_S = 90.0, 40.0
INSTALL = (
    "npm", "install", "--no-package-lock", "--omit=dev", "--ignore-scripts", "--no-audit",
    "--no-fund", "--loglevel=error",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("heavy"), pytest.mark.timeout(180)]


async def run(within_s: float, *command: str) -> tuple[int, str]:
    """Run a program in the folder of the client; return its exit status and all that it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=CLIENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(within_s):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, f"{command[0]} did not end within {within_s:g} s"
    assert process.returncode is not None
    return process.returncode, out.decode(errors="replace")


@pytest.fixture
async def packages() -> None:
    """What the programs need is installed, or the test is left out."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"js-libp2p is left out: there is no {program}")
    _, version = await run(TALK_S, "node", "--version")
    if int(version.strip().removeprefix("v").partition(".")[0]) < NODE_MAJOR_MIN:
        pytest.skip(f"js-libp2p is left out: it needs Node.js {NODE_MAJOR_MIN}, not {version}")
    status, out = await run(INSTALL_S, *INSTALL)
    if status != 0:
        pytest.skip(f"js-libp2p is left out: its packages cannot be had from npm: {out.strip()}")


@pytest.mark.usefixtures("packages")
async def test_js_libp2p_publishes_a_log_and_reads_it_back(tmp_path: Path) -> None:
    async with relay_up(tmp_path / "relay") as relay:
        status, out = await run(TALK_S, "node", "client.mjs", relay.address, str(VECTORS))
        assert status == 0, out
        assert "/noise /yamux" in out
        assert "read back by log, byte for byte" in out
        assert "read back by subscribe, byte for byte" in out
        assert await relay.stop() == 0


@pytest.mark.usefixtures("packages")
async def test_js_libp2p_sends_us_much_at_once() -> None:
    async with echoing(STREAMS + 1) as address:
        status, out = await run(TALK_S, "node", "echo.mjs", "dial", address)
    assert status == 0, out
    assert "/noise /yamux" in out
    assert "one large stream came back" in out
    assert "50 streams beside each other came back" in out


@pytest.mark.usefixtures("packages")
async def test_we_send_much_at_once_to_js_libp2p() -> None:
    process = await asyncio.create_subprocess_exec(
        "node", "echo.mjs", "listen", cwd=CLIENT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(TALK_S), Libp2pPlace().open("client", listen=[]) as client:
            address = (await process.stdout.readline()).decode().removeprefix("READY ").strip()
            links = [
                await client.transport.dial(None, [address], RELAY_PROTOCOL) for _ in range(STREAMS)
            ]
            await check_echoes(links[0], LARGE)
            async with asyncio.TaskGroup() as tasks:
                for number, link in enumerate(links):
                    tasks.create_task(check_echoes(link, LARGE[number : number + 8]))
    finally:
        await kill(process)
