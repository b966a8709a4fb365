"""A worker's own program doing a task: what ``--exec`` names.

The task comes as JSON on its standard input, and its standard output is the result. Lines on
standard error are progress: ``40%`` or ``progress 40 reading page 2`` say how far it is, anything
else is a note. ``BAZAAR_TASK_DIR`` names a folder for its files and ``BAZAAR_TASK_ID`` the task.
The command is split into words as a shell would, but there is no shell: who wants pipes or
variables writes ``sh -c '…'``.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, TypeAlias

from bazaar_host.storage_errors import translated
from bazaar_node.work.guarded_process import Command, describe_status, run_guarded, split_command
from bazaar_protocol import limits
from bazaar_protocol.errors import ProgramFailed

OnProgress: TypeAlias = Callable[[int | None, str], None]
"""Called with the percentage, if one is known, and a note."""

_PERCENT: Final = re.compile(r"(?:(\d{1,3})\s*%|progress\s+(\d{1,3})%?)(?:\s+(.*))?")
_OURS: Final = "BAZAAR_"


async def run_program(
    command: str,
    request: bytes,
    *,
    task_id: str,
    folder: Path,
    on_progress: OnProgress,
    timeout_s: float,
    output_bytes_max: int = limits.RESULT_BYTES_MAX,
) -> bytes:
    """Run ``command`` on the task in ``request`` and return its output.

    ``folder`` is made if it is missing, for us alone, and stays. The program and all it started is
    ended when it fails, when the caller is cancelled, and when this process dies.

    Raises:
        ProgramFailed: It cannot be started, exits with another status than 0, takes too long, or
            says too much.
        ConfigError: ``command`` is no command line.
        StorageError: The folder cannot be used.

    """
    arguments = split_command(command)
    progress = _Progress(on_progress)
    folder = await asyncio.to_thread(folder.absolute)
    with await asyncio.to_thread(_prepare, folder, request) as stdin:
        extra = {"BAZAAR_TASK_DIR": str(folder), "BAZAAR_TASK_ID": task_id}
        environment = clean_environment() | extra
        wanted = Command(arguments, stdin, environment, timeout_s, output_bytes_max)
        try:
            ended = await run_guarded(wanted, progress.take)
        finally:
            progress.close()
    if ended.status != 0:
        reason = describe_status(ended.status)
        raise ProgramFailed(reason, status=ended.status, lines=ended.lines)
    return ended.output


def clean_environment() -> dict[str, str]:
    """Return our environment without what is ours in it: a program needs no token of the node."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


class _Progress:
    """Passes lines on, not more often than anybody can read them, and the last one always."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()
        self._latest: tuple[int | None, str] | None = None
        self._percent: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def take(self, line: str) -> None:
        percent, note = _parse(line)
        if percent is not None:
            self._percent = percent
        self._latest = self._percent, note
        if self._timer is None:
            self._pass_on()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._latest is not None:
            self._on_progress(*self._latest)
            self._latest = None

    def _pass_on(self) -> None:
        self._timer = None
        if self._latest is not None:
            latest, self._latest = self._latest, None
            self._timer = self._loop.call_later(limits.PROGRESS_INTERVAL_S, self._pass_on)
            self._on_progress(*latest)


def _parse(line: str) -> tuple[int | None, str]:
    match = _PERCENT.fullmatch(line)
    if match is None:
        return None, line
    percent = int(match[1] or match[2])
    return (None, line) if percent > 100 else (percent, match[3] or "")


def _prepare(folder: Path, request: bytes) -> IO[bytes]:
    with translated(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        # A file and not a pipe: a program may read as slowly and as little as it likes.
        stdin = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (the caller closes it)
        stdin.write(request)
        stdin.seek(0)
        return stdin
