"""Inputs and results from node to node: asked for in chunks, checked as a whole.

The side that has a blob calls ``serve`` for each inbound link of ``NODE_PROTOCOL``; the side that
wants it calls ``fetch``. Requests are answered in the order in which they come, and each chunk is
full (``CHUNK_BYTES``) unless it is the last, so the fetching side can ask ahead.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from bazaar_host.links import Link, Transport
from bazaar_node.storage.blobs import BlobStore, Partial
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import (
    LinkClosed,
    MalformedRecord,
    NotFound,
    Refused,
    StorageError,
    TooLarge,
    Unreachable,
)
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId, to_did

MayFetch: TypeAlias = Callable[[AgentId, bytes, bytes], bool]
"""Whether a peer may have a blob: the peer, the task, and the blob's digest."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob that another node has."""

    peer: AgentId
    addresses: Sequence[str]
    task: bytes
    digest: bytes
    size: int


async def serve(link: Link, blobs: BlobStore, may_fetch: MayFetch) -> None:
    """Answer a peer's requests until the link ends, idles for too long or breaks the protocol.

    The link is closed at the end. A peer that may not have a blob learns nothing about it.
    """
    try:
        while True:
            async with asyncio.timeout(limits.TRANSFER_IDLE_S_MAX):
                bodies = await link.receive()
            for body in bodies:
                answer = await _answer(link.peer, body, blobs, may_fetch)
                async with asyncio.timeout(limits.TRANSFER_IDLE_S_MAX):
                    await link.send(pack(frames.encode_frame(answer)))
    except MalformedRecord as error:
        farewell = frames.Error(0, error.code, str(error)[: limits.TEXT_CHARS_MAX])
        with suppress(LinkClosed):
            link.offer(pack(frames.encode_frame(farewell)))
    except (LinkClosed, TimeoutError):
        pass  # the peer has what it wanted, or will dial again
    finally:
        link.close()


async def fetch(
    transport: Transport,
    blobs: BlobStore,
    wanted: Wanted,
    *,
    deadline_s: float,
    rng: random.Random | None = None,
) -> None:
    """Bring a blob here, going on where an earlier attempt stopped.

    Lost links are dialed again until ``deadline_s`` is over; ``rng`` spreads these attempts.

    Raises:
        TooLarge: The blob exceeds ``RESULT_BYTES_MAX``; nothing was asked for.
        MalformedRecord: The peer sent something else than it had announced.
        Refused: The peer does not give it to us.
        Unreachable: The peer could not be reached, or not for long enough.
        StorageError: Our own disk is full or broken.

    """
    if wanted.size > limits.RESULT_BYTES_MAX:
        raise TooLarge(f"{wanted.size} bytes exceed the limit of {limits.RESULT_BYTES_MAX}")
    spread = rng or random.Random()
    failure = "no answer"
    try:
        async with (
            asyncio.timeout(deadline_s),
            blobs.partial(wanted.digest, wanted.size) as partial,
        ):
            if blobs.has(wanted.digest):
                return None
            delay_s = limits.BACKOFF_FIRST_S
            while True:
                offset = partial.offset
                try:
                    return await _attempt(transport, wanted, partial)
                except (LinkClosed, Unreachable) as error:
                    failure = str(error)
                if partial.offset > offset:
                    delay_s = limits.BACKOFF_FIRST_S
                await asyncio.sleep(delay_s * spread.uniform(0.5, 1))
                delay_s = min(2 * delay_s, limits.BACKOFF_S_MAX)
    except TimeoutError as error:
        peer = to_did(wanted.peer)
        raise Unreachable(f"{peer} did not deliver within {deadline_s:g} s: {failure}") from error


async def _answer(
    peer: AgentId, body: bytes, blobs: BlobStore, may_fetch: MayFetch
) -> frames.BetweenNodes:
    match frames.decode_between_nodes(body):
        case frames.Hello():
            return frames.Hello(frames.VERSION, "bazaar", ())
        case frames.Ping(request):
            return frames.Pong(request)
        case frames.Fetch(request, task, digest, offset):
            if not may_fetch(peer, task, digest):
                return frames.Error(request, "refused", "you may not have it")
            return await _chunk(blobs, request, digest, offset)
        case other:
            raise MalformedRecord(f"a node that serves takes no {type(other).__name__.lower()}")


async def _chunk(blobs: BlobStore, request: int, digest: bytes, offset: int) -> frames.BetweenNodes:
    try:
        size = blobs.size(digest)
        data = await blobs.read(digest, offset, limits.CHUNK_BYTES) if offset < size else b""
    except NotFound:
        return frames.Error(request, "not-found", "it is not here, or not any more")
    except StorageError:  # the operator learns of it elsewhere; the stranger need not
        return frames.Error(request, "storage", "it cannot be read at the moment")
    return frames.Chunk(request, offset, size, data)


async def _attempt(transport: Transport, wanted: Wanted, partial: Partial) -> None:
    link = await transport.dial(wanted.peer, wanted.addresses, frames.NODE_PROTOCOL)
    try:
        resumed_at = partial.offset
        await _receive(link, wanted, partial)
        try:
            await partial.finish()
        except MalformedRecord:
            # What an earlier peer or a power cut left here may be to blame, and not this peer.
            if resumed_at == 0:
                raise
            await _receive(link, wanted, partial)
            await partial.finish()
    except MalformedRecord as error:
        raise MalformedRecord(f"{to_did(wanted.peer)}: {error}") from error
    finally:
        link.close()


async def _receive(link: Link, wanted: Wanted, partial: Partial) -> None:
    """Ask for all that is missing, a few chunks ahead, and write down what comes."""
    arrived: deque[bytes] = deque()
    asked = partial.offset
    number = 0
    answered = 0
    while partial.offset < wanted.size:
        while asked < wanted.size and number - answered < limits.CHUNKS_UNDER_WAY_MAX:
            number += 1
            request = frames.Fetch(number, wanted.task, wanted.digest, asked)
            await link.send(pack(frames.encode_frame(request)))
            asked += limits.CHUNK_BYTES
        if not arrived:
            arrived.extend(await _next(link))
        answered += 1
        chunk = _check(frames.decode_between_nodes(arrived.popleft()), answered, wanted, partial)
        await partial.append(chunk)


async def _next(link: Link) -> list[bytes]:
    try:
        async with asyncio.timeout(limits.REQUEST_TIMEOUT_S):
            return await link.receive()
    except TimeoutError as error:
        raise LinkClosed(f"no chunk within {limits.REQUEST_TIMEOUT_S:g} s") from error


def _check(answer: frames.BetweenNodes, number: int, wanted: Wanted, partial: Partial) -> bytes:
    match answer:
        case frames.Chunk(request, offset, size, data):
            if size != wanted.size:
                raise MalformedRecord(f"it has {size} bytes, not {wanted.size} as announced")
            expected = min(limits.CHUNK_BYTES, size - partial.offset)
            if (request, offset, len(data)) != (number, partial.offset, expected):
                raise MalformedRecord(f"{len(data)} bytes at {offset} are not what was asked for")
            return data
        case frames.Error(_, "storage", reason):  # its trouble, and perhaps over soon
            raise LinkClosed(reason)
        case frames.Error(_, code, reason):
            raise Refused(code, reason)
        case other:
            raise MalformedRecord(f"a {type(other).__name__.lower()} is no chunk")
