"""The environment of the peers: made once, from pinned versions, beside ours and never in it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psutil

CONSTRAINTS: Final = Path(__file__).with_name("constraints.txt")
_PEER: Final = "nostr-relay"
_STARTS_S: Final = 60.0
_INSTALL_S: Final = 600
_SETTINGS: Final = """
storage:
  sqlalchemy.url: sqlite+aiosqlite:///{path}
  validators:
    - nostr_relay.validators.is_signed
gunicorn:
  bind: 127.0.0.1:{port}
  workers: 1
  loglevel: error
"""


class NotInstallableError(Exception):
    """The peers cannot be had here."""


def install(folder: Path) -> Path:
    """Make the environment in ``folder`` unless it is there; return its folder of programs.

    Raises:
        NotInstallableError: With the reason.

    """
    programs, ready = folder / "bin", folder / "ready"
    wanted = CONSTRAINTS.read_text()
    if ready.exists() and ready.read_text() == wanted:
        return programs
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    pip = (str(programs / "python"), "-m", "pip", "install", "--quiet", "--retries", "2")
    _run(*pip, "--disable-pip-version-check", "--constraint", str(CONSTRAINTS), _PEER)
    ready.write_text(wanted)
    return programs


@asynccontextmanager
async def nostr_relay(
    programs: Path, folder: Path, port: int
) -> AsyncGenerator[tuple[str, psutil.Process]]:
    """Run the peer inside this block, with a store in ``folder``; its address, and its process."""
    settings = folder / "nostr.yaml"
    settings.write_text(_SETTINGS.format(path=folder / "nostr.sqlite3", port=port))
    process = await asyncio.create_subprocess_exec(
        str(programs / "nostr-relay"), "-c", str(settings), "serve",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_STARTS_S):
            while not await _answers(port):  # noqa: ASYNC110 - it says nothing when it is up
                await asyncio.sleep(0.1)
        yield f"ws://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
    except subprocess.CalledProcessError as error:
        raise NotInstallableError(error.stderr.strip()[-800:]) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstallableError(str(error)) from error
