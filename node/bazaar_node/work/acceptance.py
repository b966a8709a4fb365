"""Whether a result is what its poster asked for, as far as a program can tell.

The poster's daemon calls ``judge`` before any person or agent sees the result. A result that does
not fit the post's output schema is refused whatever the method is.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from io import BufferedReader
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from bazaar_host.storage_errors import translated
from bazaar_node.work.guarded_process import Command, describe_status, run_guarded, split_command
from bazaar_node.work.programs import clean_environment
from bazaar_node.work.schemas import SchemaChecker
from bazaar_protocol import limits
from bazaar_protocol.errors import ProgramFailed, SchemaMismatch
from bazaar_protocol.kinds import Post
from bazaar_protocol.untrusted import clean

_REASON_CHARS_MAX: Final = 256
_COMMAND_OUTPUT_BYTES_MAX: Final = 64 * limits.KIB
_SHELL_FOUND_NO_COMMAND: Final = (126, 127)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said about a result."""

    accepted: bool
    reason: str
    needs_human: bool = False
    """Nothing is decided: the poster's people have to look at it."""
    needs_evaluator: bool = False
    """Nothing is decided: the evaluator that the post names does it."""

    @property
    def is_final(self) -> bool:
        """Whether a verdict can be made of it."""
        return not (self.needs_human or self.needs_evaluator)


async def judge(
    post: Post,
    result: bytes | Path,
    *,
    command: str | None,
    folder: Path,
    schemas: SchemaChecker,
) -> Judgement:
    """Judge ``result`` by the schema and the method of ``post``.

    Args:
        post: What was asked for.
        result: The bytes, or the file that has them.
        command: The poster's own, for the method ``command``: exit status 0 accepts. It gets the
            result's file as its last argument and on its standard input. Its first line is the
            reason. When it does not get that far, a person has to decide.
        folder: Where ``result`` is written for ``command``, if it is not a file yet.
        schemas: Checks the output schema.

    Raises:
        MalformedRecord: The post's output schema is none.
        ConfigError: ``command`` is no command line.
        StorageError: The result cannot be read or written.

    """
    try:
        if post.output_schema:
            await schemas.validate(post.output_schema, await _beginning(result))
    except SchemaMismatch as error:
        return Judgement(accepted=False, reason=f"schema: {error}")
    match post.acceptance.method:
        case "schema":
            if not post.output_schema:
                return Judgement(accepted=True, reason="no schema was asked for")
            return Judgement(accepted=True, reason="fits the schema")
        case "hash":
            return await _judge_hash(post.acceptance.expected, result)
        case "command":
            if command is None:
                return _ask_people("the poster has no command to check it with")
            return await _judge_by_command(command, result, folder)
        case "human":
            return _ask_people("waits for a person")
        case "evaluator":
            reason = "waits for the evaluator"
            return Judgement(accepted=False, reason=reason, needs_evaluator=True)


def _ask_people(reason: str) -> Judgement:
    return Judgement(accepted=False, reason=clean(reason, _REASON_CHARS_MAX), needs_human=True)


async def _judge_hash(expected: bytes, result: bytes | Path) -> Judgement:
    found = await asyncio.to_thread(_digest, result)
    if found == expected:
        return Judgement(accepted=True, reason="has the expected hash")
    reason = f"has the hash {found.hex()}, not {expected.hex()}"
    return Judgement(accepted=False, reason=reason)


async def _judge_by_command(command: str, result: bytes | Path, folder: Path) -> Judgement:
    arguments = split_command(command)
    said: list[str] = []
    try:
        async with _as_file(result, folder) as path:
            with await asyncio.to_thread(_open, path) as stdin:
                wanted = Command(
                    [*arguments, str(path)],
                    stdin,
                    clean_environment(),
                    limits.ACCEPTANCE_TIMEOUT_S,
                    _COMMAND_OUTPUT_BYTES_MAX,
                )
                ended = await run_guarded(wanted, said.append)
    except ProgramFailed as error:
        return _ask_people(f"the command that checks it: {error}")
    if ended.status < 0 or ended.status in _SHELL_FOUND_NO_COMMAND:
        return _ask_people(f"the command that checks it: {describe_status(ended.status)}")
    first_line = ended.output.decode(errors="replace").strip().partition("\n")[0]
    reason = first_line or (said[0] if said else describe_status(ended.status))
    return Judgement(accepted=ended.status == 0, reason=clean(reason, _REASON_CHARS_MAX))


@asynccontextmanager
async def _as_file(result: bytes | Path, folder: Path) -> AsyncGenerator[Path]:
    if isinstance(result, Path):
        yield await asyncio.to_thread(result.absolute)
        return
    path = await asyncio.to_thread(_write, result, folder)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _write(data: bytes, folder: Path) -> Path:
    with translated(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(prefix="result-", dir=folder.absolute(), delete=False) as file:
            path = Path(file.name)
            try:
                file.write(data)
            except OSError:
                path.unlink()
                raise
        return path


def _open(path: Path) -> BufferedReader:
    with translated(path):
        return path.open("rb")


async def _beginning(result: bytes | Path) -> bytes:
    """Return as much of the result as a schema can be tried on, and one byte more."""
    if isinstance(result, bytes):
        return result

    def read() -> bytes:
        with _open(result) as file, translated(result):
            return file.read(limits.DOCUMENT_BYTES_MAX + 1)

    return await asyncio.to_thread(read)


def _digest(result: bytes | Path) -> bytes:
    if isinstance(result, bytes):
        return sha256(result).digest()
    with _open(result) as file, translated(result):
        return file_digest(file, "sha256").digest()
