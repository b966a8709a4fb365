"""JSON Schemas that strangers wrote, tried against documents that strangers wrote.

A schema of a few lines can keep a validator busy for longer than the universe lasts, and a
validator cannot be interrupted. So whatever is not plainly harmless is tried in a worker process,
which is killed when its time is up. It is started when first needed and then kept: a check costs
a fraction of a millisecond, not the start of a process.
"""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final, Self

from bazaar_node.work import schema_rules
from bazaar_node.work.schema_worker import HEADER, NO_DOCUMENT, READY
from bazaar_protocol import limits
from bazaar_protocol.errors import LocalError, MalformedRecord, SchemaMismatch, TooLarge

_START_TIMEOUT_S: Final = 30.0
_COMMAND: Final = (sys.executable, "-P", "-m", "bazaar_node.work.schema_worker")


class SchemaChecker:
    """Checks schemas and documents, one at a time; used as an asynchronous context."""

    def __init__(self) -> None:
        self._worker: Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def check_schema(self, schema: bytes) -> None:
        """Check that ``schema`` is a JSON Schema that can be used; empty bytes are none at all.

        Raises:
            MalformedRecord: It is not, it refers to something outside of itself, or compiling it
                takes too long.

        """
        if not schema:
            return
        if schema_rules.is_simple(schema):
            schema_rules.check_schema(schema)
            return
        try:
            await self._ask(schema, None)
        except SchemaMismatch as error:
            raise MalformedRecord(f"the schema: {error}") from error

    async def validate(self, schema: bytes, document: bytes) -> None:
        """Check that ``document`` is JSON that fits ``schema``; empty bytes fit everything.

        Raises:
            SchemaMismatch: It does not fit, or that could not be found out within
                ``SCHEMA_TIMEOUT_S``.
            MalformedRecord: The schema is not one.

        """
        if not schema:
            return
        if len(document) > limits.DOCUMENT_BYTES_MAX:
            reason = f"more than the {limits.DOCUMENT_BYTES_MAX} bytes that can be checked"
            raise SchemaMismatch("", reason)
        is_small = len(document) <= schema_rules.SIMPLE_DOCUMENT_BYTES_MAX
        if is_small and schema_rules.is_simple(schema):
            schema_rules.check_document(schema, document)
        else:
            await self._ask(schema, document)

    async def close(self) -> None:
        """End the worker. Another check would start a new one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            if worker.returncode is None:
                worker.kill()
            assert worker.stdin is not None
            worker.stdin.close()
            await worker.wait()

    async def _ask(self, schema: bytes, document: bytes | None) -> None:
        if len(schema) > limits.SCHEMA_BYTES_MAX:
            found = f"{len(schema)} bytes of schema exceed the limit of {limits.SCHEMA_BYTES_MAX}"
            raise TooLarge(found)
        async with self._turn:
            worker = await self._started()
            try:
                async with asyncio.timeout(limits.SCHEMA_TIMEOUT_S):
                    line = await _exchange(worker, schema, document)
            except TimeoutError as error:
                await self.close()
                late = f"could not be checked within {limits.SCHEMA_TIMEOUT_S:g} s"
                raise SchemaMismatch("", late) from error
            except BaseException:
                # Its next answer would be to a question that nobody asks any more.
                await self.close()
                raise
        if not line:
            await self.close()
            raise SchemaMismatch("", "too much for the process that checked it")
        answer = json.loads(line)
        if answer is not None:
            code, path, reason = answer
            raise SchemaMismatch(path, reason) if code == "schema" else MalformedRecord(reason)

    async def _started(self) -> Process:
        if self._worker is None or self._worker.returncode is not None:
            await self.close()
            worker = await asyncio.create_subprocess_exec(
                *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
            )
            self._worker = worker
            assert worker.stdout is not None
            try:
                async with asyncio.timeout(_START_TIMEOUT_S):
                    ready = await worker.stdout.readline()
            except TimeoutError:
                ready = b""
            except BaseException:
                await self.close()
                raise
            if ready != READY:
                await self.close()
                raise LocalError(f"the schema checker does not start: {' '.join(_COMMAND)}")
        return self._worker


async def _exchange(worker: Process, schema: bytes, document: bytes | None) -> bytes:
    assert worker.stdin is not None
    assert worker.stdout is not None
    size = NO_DOCUMENT if document is None else len(document)
    worker.stdin.write(HEADER.pack(len(schema), size) + schema + (document or b""))
    try:
        await worker.stdin.drain()
    except ConnectionError:
        return b""
    return await worker.stdout.readline()
