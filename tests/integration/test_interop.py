"""A program that shares no code with ours speaks with a relay: js-libp2p, from the npm registry.

It is left out, and says why, where there is no Node.js or where its packages cannot be had.
"""

import asyncio
import shutil
from pathlib import Path

import pytest
from tests.processes import relay_up

CLIENT = Path(__file__).parents[1] / "interop"
VECTORS = Path(__file__).parents[1] / "vectors" / "logs.json"
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
async def client() -> list[str]:
    """The command that runs the client, with its packages installed."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"js-libp2p is left out: there is no {program}")
    _, version = await run(TALK_S, "node", "--version")
    if int(version.strip().removeprefix("v").partition(".")[0]) < NODE_MAJOR_MIN:
        pytest.skip(f"js-libp2p is left out: it needs Node.js {NODE_MAJOR_MIN}, not {version}")
    status, out = await run(INSTALL_S, *INSTALL)
    if status != 0:
        pytest.skip(f"js-libp2p is left out: its packages cannot be had from npm: {out.strip()}")
    return ["node", "client.mjs"]


async def test_js_libp2p_publishes_a_log_and_reads_it_back(
    client: list[str], tmp_path: Path
) -> None:
    async with relay_up(tmp_path / "relay") as relay:
        status, out = await run(TALK_S, *client, relay.address, str(VECTORS))
        assert status == 0, out
        assert "/noise /yamux" in out
        assert "read back by log, byte for byte" in out
        assert "read back by subscribe, byte for byte" in out
        assert await relay.stop() == 0
