"""Where work is done: by a program, by a Python function, or by an agent that fetches tasks."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from bazaar_node.driver import Driver
from bazaar_node.market.events import Offer, StartWork, WorkDone, WorkFailed, WorkProgressed
from bazaar_node.storage.blobs import BlobStore
from bazaar_node.work.programs import run_program
from bazaar_node.work.schemas import SchemaChecker
from bazaar_protocol import limits
from bazaar_protocol.errors import BazaarError, MalformedRecord, SchemaMismatch, TooLarge
from bazaar_protocol.identity import to_did
from bazaar_protocol.kinds import Post
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.untrusted import clean

INPUT_BYTES_INLINE_MAX: Final = limits.MIB
"""Up to here a program finds its input in the JSON on its standard input, too."""
TITLE_CHARS_MAX: Final = 256
INPUT_NAME: Final = "input"

Outcome: TypeAlias = WorkDone | WorkFailed


@dataclass(frozen=True, slots=True)
class Task:
    """A task as a Python function gets it. Everything in it was written by a stranger."""

    id: str
    epoch: int
    capability: str
    title: str
    input: bytes
    media_type: str
    output_schema: bytes
    poster: str
    price: int
    folder: Path
    """An empty folder for this attempt; it is deleted afterwards."""
    _report: Callable[[int | None, str], None]

    def json(self) -> Any:
        """Return the input, which has to be JSON.

        Raises:
            ValueError: It is not.

        """
        return msgspec.json.decode(self.input)

    def progress(self, percent: int | None, note: str = "") -> None:
        """Report progress; the poster sees it with the next heartbeat."""
        self._report(percent, note)


Handler: TypeAlias = Callable[[Task], Awaitable[bytes | str | object]]
"""Does a task: returns bytes or text as they are, or anything that can be written as JSON."""


@dataclass(slots=True)
class Waiting:
    """A task that some interactive agent is to do, or does."""

    action: StartWork
    is_taken: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Workshop:
    """Does the work of a node."""

    def __init__(
        self, driver: Driver, blobs: BlobStore, schemas: SchemaChecker, folder: Path
    ) -> None:
        self.blobs = blobs
        self.schemas = schemas
        self.folder = folder
        self.handlers: dict[str, Handler] = {}
        """Python functions, by capability with its version."""
        self._driver = driver
        self._waiting: dict[RecordId, Waiting] = {}
        self._has_task = asyncio.Condition()

    async def work(self, action: StartWork) -> Outcome | None:
        """Do the work, and say what came of it; None when an interactive agent has said so.

        Raises:
            StorageError: The disk is full or broken.

        """
        post = _post(action.post)
        try:
            data = await self.blobs.read(post.input.hash)
            await self._check_input(action.offer, data)
            return await self._do(action, data)
        except BazaarError as error:
            return WorkFailed(action.task, action.epoch, str(error))
        finally:
            await asyncio.to_thread(shutil.rmtree, self._folder_of(action), ignore_errors=True)

    async def hand_in(self, task: RecordId, epoch: int, data: bytes, media_type: str) -> WorkDone:
        """Keep a result, and return the event that delivers it.

        Raises:
            TooLarge: No result may be so large.
            StorageError: There is no room for it.

        """
        if len(data) > limits.RESULT_BYTES_MAX:
            raise TooLarge(f"{len(data)} bytes exceed the limit of {limits.RESULT_BYTES_MAX}")
        digest = await self.blobs.put(data)
        mailed = data if len(data) <= limits.MAILED_BYTES_MAX else None
        return WorkDone(task, epoch, digest, len(data), media_type, mailed)

    async def check_result(self, post: Post, data: bytes) -> None:
        """Check that a result is one that its poster would have to accept, as far as we can tell.

        A result that is not would be signed proof against us.

        Raises:
            SchemaMismatch: It does not fit the output schema, or has not the hash expected.

        """
        await self.schemas.validate(post.output_schema, data)
        expected = post.acceptance.expected
        if expected and sha256(data).digest() != expected:
            raise SchemaMismatch("", "the result has not the hash that the post expects")

    async def take(self, capabilities: tuple[str, ...], wait_s: float) -> StartWork | None:
        """Give the next waiting task to an interactive agent; None when none comes in time."""
        try:
            async with asyncio.timeout(wait_s), self._has_task:
                while True:
                    for waiting in self._waiting.values():
                        if not waiting.is_taken and _fits(waiting.action.offer, capabilities):
                            waiting.is_taken = True
                            return waiting.action
                    await self._has_task.wait()
        except TimeoutError:
            return None

    def finish(self, task: RecordId) -> None:
        """Let go of a task whose agent has said what came of it."""
        waiting = self._waiting.get(task)
        if waiting is not None:
            waiting.done.set()

    def stop(self, task: RecordId, epoch: int) -> None:
        """Forget a task that is no longer ours."""
        waiting = self._waiting.get(task)
        if waiting is not None and waiting.action.epoch == epoch:
            del self._waiting[task]

    async def _do(self, action: StartWork, data: bytes) -> Outcome | None:
        offer = action.offer
        folder = self._folder_of(action)
        handler = self.handlers.get(offer.capability)
        if offer.command is not None:
            result = await self._run(action, data, folder)
        elif handler is not None:
            result = await self._call(handler, action, data)
        else:
            await self._wait_for_agent(action)
            return None
        await self.check_result(_post(action.post), result)
        return await self.hand_in(action.task, action.epoch, result, offer.media_type)

    async def _run(self, action: StartWork, data: bytes, folder: Path) -> bytes:
        post = _post(action.post)
        await asyncio.to_thread(_write_input, folder, data)
        assert action.offer.command is not None
        return await run_program(
            action.offer.command,
            _request(action, data, folder),
            task_id=action.task.hex(),
            folder=folder,
            on_progress=lambda percent, note: self._progress(action, percent, note),
            timeout_s=post.lease.start_to_close_ms / 1000,
        )

    async def _call(self, handler: Handler, action: StartWork, data: bytes) -> bytes:
        folder = self._folder_of(action)
        await asyncio.to_thread(_write_input, folder, data)
        post = _post(action.post)
        task = Task(
            id=action.task.hex(),
            epoch=action.epoch,
            capability=action.offer.capability,
            title=clean(post.title, TITLE_CHARS_MAX),
            input=data,
            media_type=post.input.media_type,
            output_schema=post.output_schema,
            poster=to_did(action.post.author),
            price=post.price,
            folder=folder,
            _report=lambda percent, note: self._progress(action, percent, note),
        )
        try:
            return _as_bytes(await handler(task))
        except BazaarError:
            raise
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise  # the lease is lost, or the node stops
            raise MalformedRecord("the function was cancelled from within") from None
        except (Exception, SystemExit) as error:  # a task's code must not end the node
            raise MalformedRecord(f"{type(error).__name__}: {error}") from error

    async def _wait_for_agent(self, action: StartWork) -> None:
        waiting = self._waiting[action.task] = Waiting(action)
        async with self._has_task:
            self._has_task.notify_all()
        try:
            await waiting.done.wait()
        finally:
            if self._waiting.get(action.task) is waiting:
                del self._waiting[action.task]

    async def _check_input(self, offer: Offer, data: bytes) -> None:
        try:
            await self.schemas.validate(offer.input_schema, data)
        except SchemaMismatch as error:
            raise SchemaMismatch("", f"the input: {error}") from error

    def _progress(self, action: StartWork, percent: int | None, note: str) -> None:
        whole = None if percent is None else round(percent)  # functions say 33.3 as well
        self._driver.hint(WorkProgressed(action.task, action.epoch, whole, str(note)))

    def _folder_of(self, action: StartWork) -> Path:
        return self.folder / f"{action.task.hex()}-{action.epoch}"


def _as_bytes(result: object) -> bytes:
    if isinstance(result, bytes):
        return result
    return result.encode() if isinstance(result, str) else msgspec.json.encode(result)


def _write_input(folder: Path, data: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / INPUT_NAME).write_bytes(data)


def _request(action: StartWork, data: bytes, folder: Path) -> bytes:
    """Write the task as a program reads it."""
    post = _post(action.post)
    return msgspec.json.encode(
        {
            "task": action.task.hex(),
            "epoch": action.epoch,
            "capability": action.offer.capability,
            "untrusted_title": clean(post.title, TITLE_CHARS_MAX),
            "untrusted_input": _as_json(post, data),
            "input_file": str((folder / INPUT_NAME).absolute()),
            "media_type": post.input.media_type,
            "output_schema": _parsed(post.output_schema),
            "poster": to_did(action.post.author),
            "price": post.price,
        }
    )


def _as_json(post: Post, data: bytes) -> object:
    """Return the input as JSON if it says so and is, else as text, and else nothing."""
    if len(data) > INPUT_BYTES_INLINE_MAX:
        return None
    if post.input.media_type.endswith("json"):
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _parsed(schema: bytes) -> object:
    try:
        return msgspec.json.decode(schema) if schema else None
    except (ValueError, RecursionError):
        return None


def _fits(offer: Offer, capabilities: tuple[str, ...]) -> bool:
    return not capabilities or offer.name in capabilities or offer.capability in capabilities


def _post(record: Record) -> Post:
    assert isinstance(record.body, Post)
    return record.body
