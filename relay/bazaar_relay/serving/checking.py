"""Checking many signatures in processes of their own, beside the event loop and not in its way.

Threads do not get far beside a busy event loop: a check lets go of the interpreter's lock, and to
get it back waits until the loop is done or five milliseconds are over. So what comes in bulk is
read here, and its signatures are checked by other processes. They are started when the first bulk
comes; an idle relay has none. If one dies its job is done by threads, and another takes its place.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeAlias

from bazaar_host.logs import logger
from bazaar_protocol import limits
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.records import Record, Signed, signed_bytes
from bazaar_relay.machine.verifying import bad_signature, has_more_inside, read, verify
from bazaar_relay.serving.checker import HEAD, SIZE

Outcome: TypeAlias = Record | RemoteError

BULK: Final = 64
"""From so many records on; for fewer the way to another process and back is most of the work."""
CHECKERS: Final = max(1, min(8, os.cpu_count() or 1))
_JOB_TIMEOUT_S: Final = 10.0
_FAILURES_MAX: Final = 8
"""One after the other; then it is left to threads."""
_COMMAND: Final = (sys.executable, "-m", "bazaar_relay.serving.checker")


class Checkers:
    """As many processes as there are processors.

    Args:
        threads: Where signatures are checked that no process could check.
        command: What is run; a test passes something that does not work.

    """

    def __init__(self, threads: ThreadPoolExecutor, command: Sequence[str] = _COMMAND) -> None:
        self._threads = threads
        self._command = command
        self._free: asyncio.Queue[Process | None] = asyncio.Queue(CHECKERS)
        for _ in range(CHECKERS):
            self._free.put_nowait(None)  # a place for one that is not started yet
        self._running: set[Process] = set()
        self._failures = 0
        self._closed = asyncio.Event()

    async def verify(self, raws: Sequence[bytes]) -> list[Outcome]:
        """Return each record, or what is wrong with it, as ``machine.verifying`` does."""
        size = min(limits.RECORDS_PER_JOB_MAX, -(-len(raws) // CHECKERS))
        parts = [raws[start : start + size] for start in range(0, len(raws), size)]
        done = await asyncio.gather(*map(self._verify_part, parts))
        return [outcome for part in done for outcome in part]

    async def close(self) -> None:
        """End the processes; what they were about is done by threads."""
        self._closed.set()
        for process in list(self._running):
            await self._end(process)

    async def _verify_part(self, raws: Sequence[bytes]) -> list[Outcome]:
        outcomes: list[Outcome | None] = []
        unchecked: list[tuple[int, Record]] = []
        job: list[bytes] = []
        for place, raw in enumerate(raws):
            signed = read(raw)
            if isinstance(signed, RemoteError):
                outcomes.append(signed)
                continue
            record = signed[0]
            outcomes.append(None)  # for threads, unless a process says that it is good
            if not has_more_inside(record):
                unchecked.append((place, record))
                job += _pack(signed)
        answers = await self._ask(b"".join(job), len(unchecked)) if unchecked else b""
        if answers is not None:
            for (place, record), is_good in zip(unchecked, answers, strict=True):
                outcomes[place] = record if is_good else bad_signature(record)
        return await self._complete(outcomes, raws)

    async def _complete(
        self, outcomes: Sequence[Outcome | None], raws: Sequence[bytes]
    ) -> list[Outcome]:
        """Have threads check what is still open."""
        left = [raw for raw, outcome in zip(raws, outcomes, strict=True) if outcome is None]
        loop = asyncio.get_running_loop()
        checked = iter(await loop.run_in_executor(self._threads, _verify_all, left) if left else ())
        return [next(checked) if outcome is None else outcome for outcome in outcomes]

    async def _ask(self, job: bytes, count: int) -> bytes | None:
        """Return a byte for each signature, or None if no process can tell."""
        process = await self._free.get()
        try:
            if process is None:
                process = await self._start()
            if process is None:
                return None
            async with asyncio.timeout(_JOB_TIMEOUT_S):
                answers = await _exchange(process, job, count)
        except (OSError, EOFError, TimeoutError) as error:
            self._failures += 1
            if not self._closed.is_set():
                logger("relay").warning("a process that checks signatures failed", why=str(error))
            await self._end(process)
            process = None
            return None
        except BaseException:  # its answer would be taken for that to the next job
            await self._end(process)
            process = None
            raise
        finally:
            self._free.put_nowait(process)
        self._failures = 0
        return answers

    async def _start(self) -> Process | None:
        if self._closed.is_set() or self._failures >= _FAILURES_MAX:
            return None
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        self._running.add(process)
        if self._closed.is_set():
            _kill(process)
        return process

    async def _end(self, process: Process | None) -> None:
        if process is not None:
            _kill(process)
            await process.wait()
            self._running.discard(process)


def _verify_all(raws: Sequence[bytes]) -> list[Outcome]:
    return list(map(verify, raws))


async def _exchange(process: Process, job: bytes, count: int) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(SIZE.pack(len(job)) + job)
    await process.stdin.drain()
    return await process.stdout.readexactly(count)


def _pack(signed: Signed) -> tuple[bytes, bytes]:
    record, payload, signature = signed
    covered = signed_bytes(payload, signature)
    return HEAD.pack(record.author, len(covered)), covered


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
