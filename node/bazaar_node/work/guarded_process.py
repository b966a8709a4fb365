"""A program run for the node: bounded in time and output, and never outliving either.

``programs`` runs a worker's command through it, ``acceptance`` a poster's. The program stands in a
session of its own beside a guard (``program_guard``), which ends the whole process group when we
say so, when we are cancelled, and when this process dies in whatever way.
"""

import asyncio
import os
import re
import shlex
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bazaar_protocol import limits
from bazaar_protocol.errors import ConfigError, ProgramFailed
from bazaar_protocol.untrusted import clean

_GUARD: Final = Path(__file__).with_name("program_guard.py")
_READ_BYTES: Final = 64 * limits.KIB
_LINE_BYTES_MAX: Final = 4 * limits.PROGRAM_LINE_CHARS_MAX
_LINE_ENDS: Final = re.compile(rb"[\r\n]")  # programs redraw a line of progress by \r
_DRAIN_S: Final = 1.0
_GUARD_END_S: Final = 2 * limits.PROGRAM_STOP_S


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and what it may take."""

    arguments: Sequence[str]
    stdin: IO[bytes]
    environment: Mapping[str, str]
    timeout_s: float
    output_bytes_max: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended by itself."""

    status: int
    """Its exit status, or the negative number of the signal that killed it."""
    output: bytes
    lines: tuple[str, ...]
    """The last lines of its standard error, fit to be shown."""


def split_command(command: str) -> list[str]:
    """Split a command line into its words as a shell would, and do nothing else a shell does.

    Raises:
        ConfigError: It is empty, or a quote is not closed.

    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"the command {command!r} cannot be read: {error}") from error
    if not words:
        raise ConfigError("the command is empty")
    return words


def describe_status(status: int) -> str:
    """Say how a program ended."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


async def run_guarded(command: Command, on_line: Callable[[str], None]) -> Ended:
    """Run ``command`` to its end; ``on_line`` gets each line of its standard error.

    Raises:
        ProgramFailed: It cannot be started, takes too long or says too much. It is stopped then,
            as it is when the caller is cancelled.

    """
    lines: deque[str] = deque(maxlen=limits.PROGRAM_LINES_KEPT)

    def take_line(line: str) -> None:
        lines.append(line)
        on_line(line)

    try:
        async with asyncio.timeout(command.timeout_s), _pipe() as output, _pipe() as errors:
            status, collected = await _run(command, output, errors, take_line)
    except TimeoutError as error:
        reason = f"not done after {command.timeout_s:g} s"
        raise ProgramFailed(reason, lines=tuple(lines)) from error
    except _TooMuchOutput as error:
        reason = f"more than {command.output_bytes_max} bytes of output"
        raise ProgramFailed(reason, lines=tuple(lines)) from error
    return Ended(status, collected, tuple(lines))


class _TooMuchOutput(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Pipe:
    reader: asyncio.StreamReader
    end: IO[bytes]
    """What the program writes to."""


async def _run(
    command: Command, output: _Pipe, errors: _Pipe, on_line: Callable[[str], None]
) -> tuple[int, bytes]:
    collected = bytearray()
    async with _guard(command, output, errors) as control:
        reading = asyncio.create_task(_collect(output.reader, collected, command.output_bytes_max))
        listening = asyncio.create_task(_listen(errors.reader, on_line))
        ending = asyncio.create_task(control.readline())
        try:
            await _first_of(ending, reading, listening)
            status = _parse_status(ending.result(), command.arguments[0])
            # A process that left the group may hold the pipes open: what it says nobody awaits.
            await asyncio.wait({reading, listening}, timeout=_DRAIN_S)
            _raise_failure(reading, listening)
            return status, bytes(collected)
        finally:
            for task in (reading, listening, ending):
                task.cancel()
            await asyncio.gather(reading, listening, ending, return_exceptions=True)


async def _first_of(ending: asyncio.Task[bytes], *helpers: asyncio.Task[None]) -> None:
    """Wait until ``ending`` is done; raise at once what goes wrong in a helper."""
    waiting: set[asyncio.Task[bytes] | asyncio.Task[None]] = {ending, *helpers}
    while not ending.done():
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        _raise_failure(*helpers)


def _raise_failure(*helpers: asyncio.Task[None]) -> None:
    for helper in helpers:
        if helper.done():
            helper.result()


@asynccontextmanager
async def _pipe() -> AsyncGenerator[_Pipe]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as source, os.fdopen(writing, "wb", 0) as end:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
        try:
            yield _Pipe(reader, end)
        finally:
            transport.close()


@asynccontextmanager
async def _guard(
    command: Command, output: _Pipe, errors: _Pipe
) -> AsyncGenerator[asyncio.StreamReader]:
    """Start the program beside its guard; on leaving, see to it that both are gone."""
    ours, theirs = socket.socketpair()
    try:
        with theirs, output.end, errors.end:
            guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_GUARD)),
                *(str(theirs.fileno()), str(limits.PROGRAM_STOP_S)),
                *command.arguments,
                stdin=command.stdin,
                stdout=output.end,
                stderr=errors.end,
                env=command.environment,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        control, writer = await asyncio.open_connection(sock=ours)
    except BaseException:
        ours.close()  # which tells the guard, if it runs already
        raise
    try:
        yield control
    finally:
        writer.close()
        await asyncio.shield(_end(guard))


async def _end(guard: Process) -> None:
    try:
        async with asyncio.timeout(_GUARD_END_S):
            await guard.wait()
    except TimeoutError:
        guard.kill()
        await guard.wait()


async def _collect(reader: asyncio.StreamReader, collected: bytearray, bytes_max: int) -> None:
    while data := await reader.read(_READ_BYTES):
        collected += data
        if len(collected) > bytes_max:
            raise _TooMuchOutput


async def _listen(reader: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    line = b""
    while data := await reader.read(_READ_BYTES):
        first, *more = _LINE_ENDS.split(data)
        line = (line + first)[:_LINE_BYTES_MAX]
        for piece in more:
            _say(line, on_line)
            line = piece[:_LINE_BYTES_MAX]
    _say(line, on_line)


def _say(line: bytes, on_line: Callable[[str], None]) -> None:
    text = clean(line.decode(errors="replace").strip(), limits.PROGRAM_LINE_CHARS_MAX)
    if text:
        on_line(text)


def _parse_status(line: bytes, name: str) -> int:
    match line.decode(errors="replace").strip().split(" ", 1):
        case ["exit", status]:
            return int(status)
        case ["failed", reason]:
            raise ProgramFailed(f"{clean(name, 80)} cannot be started: {reason}")
        case _:
            raise ProgramFailed("the guard of the program was killed")
