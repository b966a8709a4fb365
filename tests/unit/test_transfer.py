"""Blobs from node to node, over links in memory that break, and from peers that lie."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from bazaar_host.links import Link
from bazaar_host.memory import MemoryNetwork, MemoryTransport
from bazaar_node.network.transfer import Wanted, fetch, serve
from bazaar_node.storage.blobs import BlobStore
from bazaar_protocol import frames, limits
from bazaar_protocol.errors import MalformedRecord, Refused, StorageFull, TooLarge, Unreachable
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import AgentId, Keypair, to_did

WORKER = Keypair.from_name("worker")
POSTER = Keypair.from_name("poster")
TASK = bytes(range(32))
DATA = bytes(range(251)) * 5_000
DIGEST = sha256(DATA).digest()
WANTED = Wanted(WORKER.agent, ["/memory/worker"], TASK, DIGEST, len(DATA))


class Scene:
    def __init__(self, folder: Path) -> None:
        self.theirs = BlobStore(folder / "theirs", 10**9)
        self.ours = BlobStore(folder / "ours", 10**9)
        self.serving: set[asyncio.Task[None]] = set()
        self.asked: list[tuple[AgentId, bytes, bytes]] = []
        self.may = True
        self.network = MemoryNetwork()

    def may_fetch(self, peer: AgentId, task: bytes, digest: bytes) -> bool:
        self.asked.append((peer, task, digest))
        return self.may

    def serve(self, link: Link) -> None:
        self.serving.add(asyncio.create_task(serve(link, self.theirs, self.may_fetch)))

    @asynccontextmanager
    async def worker(self, on_link: Callable[[Link], None]) -> AsyncIterator[None]:
        protocols = [frames.NODE_PROTOCOL]
        async with self.network.open(WORKER, ["/memory/worker"], protocols, on_link):
            yield
        await asyncio.gather(*self.serving)

    @asynccontextmanager
    async def poster(self) -> AsyncIterator[MemoryTransport]:
        async with self.network.open(POSTER, [], [], lambda link: link.close()) as transport:
            yield transport

    async def fetch(self, wanted: Wanted = WANTED, deadline_s: float = 10) -> None:
        async with self.poster() as transport:
            await fetch(transport, self.ours, wanted, deadline_s=deadline_s)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_a_blob_travels(scene: Scene) -> None:
    await scene.theirs.put(DATA)
    async with scene.worker(scene.serve):
        await scene.fetch()
        await scene.fetch()  # it is here, so nobody is asked
    assert await scene.ours.read(DIGEST) == DATA
    assert set(scene.asked) == {(POSTER.agent, TASK, DIGEST)}
    assert len(scene.asked) == -(-len(DATA) // limits.CHUNK_BYTES)


@pytest.mark.parametrize("size", [0, 1, limits.CHUNK_BYTES, limits.CHUNK_BYTES + 1])
async def test_every_size_travels(scene: Scene, size: int) -> None:
    digest = await scene.theirs.put(DATA[:size])
    async with scene.worker(scene.serve):
        await scene.fetch(Wanted(WORKER.agent, ["/memory/worker"], TASK, digest, size))
    assert await scene.ours.read(digest) == DATA[:size]


async def test_who_may_not_have_it_learns_nothing(scene: Scene) -> None:
    scene.may = False
    async with scene.worker(scene.serve):
        with pytest.raises(Refused) as unknown:
            await scene.fetch()
        await scene.theirs.put(DATA)
        with pytest.raises(Refused) as known:
            await scene.fetch()
    assert str(unknown.value) == str(known.value) == "refused: you may not have it"


async def test_what_is_gone_is_said_to_be(scene: Scene) -> None:
    async with scene.worker(scene.serve):
        with pytest.raises(Refused, match="not-found"):
            await scene.fetch()


async def test_a_broken_link_is_dialed_again_and_nothing_is_sent_twice(scene: Scene) -> None:
    await scene.theirs.put(DATA)
    links: list[Link] = []

    def on_link(link: Link) -> None:
        links.append(link)
        scene.serve(link)

    def may_fetch(*_: object) -> bool:
        scene.asked.append((POSTER.agent, TASK, DIGEST))
        if len(scene.asked) == 12:
            links[-1].close()
        return True

    scene.may_fetch = may_fetch  # type: ignore[assignment,method-assign]
    async with scene.worker(on_link):
        await scene.fetch()
    assert len(links) == 2
    assert await scene.ours.read(DIGEST) == DATA
    chunks = -(-len(DATA) // limits.CHUNK_BYTES)
    assert chunks < len(scene.asked) <= chunks + 2 * limits.CHUNKS_UNDER_WAY_MAX


async def test_an_interrupted_fetch_goes_on_where_it_stopped(scene: Scene) -> None:
    await scene.theirs.put(DATA)
    async with scene.ours.partial(DIGEST, len(DATA)) as partial:
        await partial.append(DATA[: 3 * limits.CHUNK_BYTES])
    async with scene.worker(scene.serve):
        await scene.fetch()
    assert len(scene.asked) == -(-len(DATA) // limits.CHUNK_BYTES) - 3


async def test_what_was_damaged_before_is_not_blamed_on_the_peer(scene: Scene) -> None:
    await scene.theirs.put(DATA)
    async with scene.ours.partial(DIGEST, len(DATA)) as partial:
        await partial.append(bytes(1000))
    async with scene.worker(scene.serve):
        await scene.fetch()
    assert await scene.ours.read(DIGEST) == DATA


async def test_nobody_there_has_a_deadline(scene: Scene) -> None:
    with pytest.raises(Unreachable, match=r"within 0\.2 s: .*nobody listens"):
        await scene.fetch(deadline_s=0.2)


async def test_a_silent_peer_has_a_deadline(scene: Scene) -> None:
    async with scene.worker(lambda _: None):
        with pytest.raises(Unreachable, match=to_did(WORKER.agent)):
            await scene.fetch(deadline_s=0.2)


async def test_too_large_is_refused_before_anything_is_asked(scene: Scene) -> None:
    size = limits.RESULT_BYTES_MAX + 1
    with pytest.raises(TooLarge):
        await scene.fetch(Wanted(WORKER.agent, ["/memory/worker"], TASK, DIGEST, size))
    assert scene.network.frames == 0


async def test_our_own_full_store_is_not_the_peers_fault(scene: Scene) -> None:
    scene.ours = BlobStore(scene.ours._folder, 10)
    with pytest.raises(StorageFull):
        await scene.fetch()


def lie(answer: Callable[[frames.Fetch], frames.Frame | bytes]) -> Callable[[Link], None]:
    tasks: set[asyncio.Task[None]] = set()

    async def talk(link: Link) -> None:
        for body in await link.receive():
            request = frames.decode_between_nodes(body)
            assert isinstance(request, frames.Fetch)
            said = answer(request)
            await link.send(pack(said if isinstance(said, bytes) else frames.encode_frame(said)))

    return lambda link: tasks.add(asyncio.create_task(talk(link)))


def part(request: frames.Fetch) -> bytes:
    return DATA[request.offset : request.offset + limits.CHUNK_BYTES]


LIES: dict[str, Callable[[frames.Fetch], frames.Frame | bytes]] = {
    "size": lambda ask: frames.Chunk(ask.request, ask.offset, 10, part(ask)),
    "offset": lambda ask: frames.Chunk(ask.request, ask.offset + 1, len(DATA), part(ask)),
    "number": lambda ask: frames.Chunk(ask.request + 1, ask.offset, len(DATA), part(ask)),
    "short": lambda ask: frames.Chunk(ask.request, ask.offset, len(DATA), part(ask)[:-1]),
    "empty": lambda ask: frames.Chunk(ask.request, ask.offset, len(DATA), b""),
    "pong": lambda ask: frames.Pong(ask.request),
    "garbage": lambda _: b"\xc1",
}


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES)
async def test_a_peer_that_lies_is_named(
    scene: Scene, answer: Callable[[frames.Fetch], frames.Frame | bytes]
) -> None:
    async with scene.worker(lie(answer)):
        with pytest.raises(MalformedRecord, match=to_did(WORKER.agent)):
            await scene.fetch()


async def test_another_size_than_announced_is_said(scene: Scene) -> None:
    async with scene.worker(lie(LIES["size"])):
        with pytest.raises(MalformedRecord, match=f"10 bytes, not {len(DATA)} as announced"):
            await scene.fetch()


async def test_another_content_is_noticed_and_deleted(scene: Scene, tmp_path: Path) -> None:
    other = bytes(1000)
    wanted = Wanted(WORKER.agent, ["/memory/worker"], TASK, DIGEST, 1000)
    answer = lie(lambda ask: frames.Chunk(ask.request, ask.offset, 1000, other))
    async with scene.worker(answer):
        with pytest.raises(MalformedRecord, match=to_did(WORKER.agent)):
            await scene.fetch(wanted)
    assert list((tmp_path / "ours").iterdir()) == []


@pytest.mark.parametrize("body", [b"\xc1", frames.encode_frame(frames.Pong(1))])
async def test_a_client_that_talks_nonsense_is_cut_off(scene: Scene, body: bytes) -> None:
    async with scene.worker(scene.serve), scene.poster() as transport:
        link = await transport.dial(WORKER.agent, ["/memory/worker"], frames.NODE_PROTOCOL)
        await link.send(pack(body))
        (answer,) = await link.receive()
        error = frames.decode_between_nodes(answer)
        assert isinstance(error, frames.Error)
        assert (error.request, error.code) == (0, "malformed")
        await link.wait_closed()


async def test_an_idle_client_is_cut_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TRANSFER_IDLE_S_MAX", 0.05)
    async with scene.worker(scene.serve), scene.poster() as transport:
        link = await transport.dial(WORKER.agent, ["/memory/worker"], frames.NODE_PROTOCOL)
        await link.send(pack(frames.encode_frame(frames.Ping(5))))
        assert frames.decode_between_nodes((await link.receive())[0]) == frames.Pong(5)
        await link.wait_closed()


async def test_an_offset_past_the_end_gives_nothing(scene: Scene) -> None:
    await scene.theirs.put(DATA)
    async with scene.worker(scene.serve), scene.poster() as transport:
        link = await transport.dial(WORKER.agent, ["/memory/worker"], frames.NODE_PROTOCOL)
        ask = frames.Fetch(1, TASK, DIGEST, limits.INTEGER_MAX)
        await link.send(pack(frames.encode_frame(ask)))
        answer = frames.decode_between_nodes((await link.receive())[0])
        assert answer == frames.Chunk(1, ask.offset, len(DATA), b"")
        link.close()
