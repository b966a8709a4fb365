"""Peers that abuse a yamux session, each by one way; all run under trio, as ``attackers`` do.

They speak stock noise and write frames by hand. Each ends by itself: when it is sent away, or when
it has sent as much as it was told to.
"""

import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import trio
from libp2p.abc import ISecureConn
from tests.attackers import MULTISTREAM, YAMUX_HEADER, connect, yamux_stream
from tests.yamux_frames import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN, UPDATE, frame

from bazaar_host.links import RELAY_PROTOCOL

PIECE: Final = 65_000
PATIENCE_S: Final = 20.0

_NAME: Final = f"{RELAY_PROTOCOL}\n".encode()
HELLO: Final = MULTISTREAM + bytes([len(_NAME)]) + _NAME
"""Asks for our protocol on a new stream."""


@asynccontextmanager
async def connected(address: str, *, is_reading: bool = True) -> AsyncGenerator[ISecureConn]:
    """A connection on which whoever is asked writes frames; what comes back is read or is not."""
    connection = await connect(address)
    try:
        async with trio.open_nursery() as nursery:
            if is_reading:
                nursery.start_soon(_drain, connection)
            yield connection
            nursery.cancel_scope.cancel()
    finally:
        await connection.close()


async def pour(connection: ISecureConn, pieces: Iterable[bytes]) -> int:
    """Write until we are sent away, or nothing is left, or nothing moves; how many bytes went."""
    count = 0
    try:
        with trio.move_on_after(PATIENCE_S):
            for piece in pieces:
                await connection.write(piece)
                count += len(piece)
    except Exception as error:  # noqa: BLE001 - each layer has its own error for the end
        assert not isinstance(error, AssertionError)  # noqa: PT017
    return count


async def overrun_window(address: str, size: int, count: Callable[[int], object]) -> None:
    """Open a link and push ``size`` bytes, whatever the window is; tell how many went."""
    piece = frame(DATA, 0, 1, body=bytes(PIECE))
    async with connected(address) as connection:
        await connection.write(yamux_stream(HELLO))
        count(await pour(connection, (piece for _ in range(size // PIECE))))


async def open_streams(address: str, number: int, *, is_reading: bool, are_reset: bool) -> None:
    """Open many streams, none of which says anything, and perhaps take each back at once."""

    def openings() -> Iterable[bytes]:
        for first in range(0, number, 500):
            yield b"".join(
                frame(UPDATE, SYN, 2 * index + 1)
                + (frame(UPDATE, RST, 2 * index + 1) if are_reset else b"")
                for index in range(first, first + 500)
            )

    async with connected(address, is_reading=is_reading) as connection:
        await pour(connection, openings())


async def ping(address: str, number: int) -> None:
    """Ask for many signs of life, and read none."""
    thousand = frame(PING, SYN, 0, 7) * 1000
    async with connected(address, is_reading=False) as connection:
        await pour(connection, (thousand for _ in range(number // 1000)))


async def babble(address: str, seed: int, frames: int) -> None:
    """Send frames that mean nothing, and some that do."""
    rng = random.Random(seed)
    async with connected(address, is_reading=rng.random() < 0.7) as connection:
        await pour(connection, (_random_frame(rng) for _ in range(frames)))


def _random_frame(rng: random.Random) -> bytes:
    kind = rng.choice([DATA, DATA, DATA, UPDATE, UPDATE, PING, GO_AWAY, 7])
    flags = rng.choice([0, 0, SYN, ACK, FIN, RST, SYN | ACK, SYN | FIN, FIN | RST, 15, 0xFFFF])
    stream = rng.choice([0, 1, 1, 3, 2, 5, 2**32 - 1]) if kind in (DATA, UPDATE) else 0
    length = rng.choice([0, 1, 10, 300, 65_536, 262_144, 2**24, 2**32 - 1])
    if kind != DATA:
        return YAMUX_HEADER.pack(0, kind, flags, stream, length)
    size = min(length, rng.choice([length, 5]), 70_000)
    body = HELLO if rng.random() < 0.3 else rng.randbytes(size)
    announced = len(body) if rng.random() < 0.8 else length
    return YAMUX_HEADER.pack(rng.random() < 0.02, kind, flags, stream, announced) + body


async def _drain(connection: ISecureConn) -> None:
    try:
        while await connection.read(4096):
            pass
    except Exception as error:  # noqa: BLE001 - as above
        assert not isinstance(error, AssertionError)  # noqa: PT017
