"""Files named by their content: whole or not there, bounded, and resumable."""

import asyncio
import os
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from bazaar_node.storage.blobs import BlobStore
from bazaar_protocol.errors import MalformedRecord, NotFound, StorageError, StorageFull

DATA = bytes(range(256)) * 10_000
DIGEST = sha256(DATA).digest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(folder: Path) -> BlobStore:
    return BlobStore(folder, 10_000_000)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_was_put_can_be_read(blobs: BlobStore, folder: Path) -> None:
    assert not blobs.has(DIGEST)
    assert await blobs.put(DATA) == DIGEST
    assert blobs.has(DIGEST)
    assert blobs.size(DIGEST) == len(DATA)
    assert await blobs.read(DIGEST) == DATA
    assert await blobs.read(DIGEST, 1000, 10) == DATA[1000:1010]
    assert await blobs.read(DIGEST, len(DATA) - 1, 10) == DATA[-1:]
    assert blobs.path(DIGEST) == folder / DIGEST.hex()
    assert mode(folder / DIGEST.hex()) == 0o600
    assert mode(folder) == 0o700
    assert names(folder) == [DIGEST.hex()]


async def test_the_same_content_is_kept_once(blobs: BlobStore) -> None:
    await asyncio.gather(*(blobs.put(DATA) for _ in range(3)))
    assert blobs.bytes_total == len(DATA)


async def test_a_file_is_copied(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    assert await blobs.put_file(source) == DIGEST
    assert await blobs.read(DIGEST) == DATA
    assert source.exists()
    with pytest.raises(NotFound):
        await blobs.put_file(tmp_path / "missing")
    with pytest.raises((NotFound, StorageError)):
        await blobs.put_file(tmp_path)


async def test_what_is_not_there_is_not_found(blobs: BlobStore) -> None:
    for look in (blobs.size, blobs.path):
        with pytest.raises(NotFound):
            look(DIGEST)
    with pytest.raises(NotFound):
        await blobs.read(DIGEST)
    await blobs.delete(DIGEST)


async def test_blobs_survive_a_restart_and_leftovers_do_not(folder: Path) -> None:
    await BlobStore(folder, 10_000_000).put(DATA)
    (folder / "0123.tmp").write_bytes(b"half")
    again = BlobStore(folder, 10_000_000)
    assert await again.read(DIGEST) == DATA
    assert again.bytes_total == len(DATA)
    assert names(folder) == [DIGEST.hex()]


async def test_the_store_is_bounded_and_deleting_makes_room(folder: Path) -> None:
    blobs = BlobStore(folder, len(DATA) + 10)
    await blobs.put(DATA)
    with pytest.raises(StorageFull):
        await blobs.put(bytes(11))
    with pytest.raises(StorageFull):
        async with blobs.partial(bytes(32), 11):
            pass
    assert names(folder) == [DIGEST.hex()]
    await blobs.delete(DIGEST)
    assert blobs.bytes_total == 0
    await blobs.put(bytes(11))


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from bazaar_node.storage.blobs import BlobStore
from bazaar_protocol.errors import StorageError

async def main():
    folder = Path(sys.argv[1])
    blobs = BlobStore(folder, 10**9)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        await blobs.put(bytes(200_000))
    except StorageError:
        print("put refused", list(folder.iterdir()), blobs.bytes_total)
    async with blobs.partial(bytes(32), 200_000) as partial:
        await partial.append(bytes(60_000))
        try:
            await partial.append(bytes(60_000))
        except StorageError:
            print("append refused", partial.offset)
    print([path.stat().st_size for path in folder.iterdir()], blobs.bytes_total)

asyncio.run(main())
"""


async def test_a_write_that_fails_leaves_nothing_half_done(folder: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(folder)]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["put refused [] 0", "append refused 60000", "[60000] 60000"]


async def test_a_download_is_resumed_after_a_restart(folder: Path) -> None:
    blobs = BlobStore(folder, 10_000_000)
    async with blobs.partial(DIGEST, len(DATA)) as partial:
        await partial.append(DATA[:1000])
        assert blobs.bytes_total == len(DATA)
    assert blobs.bytes_total == 1000
    assert not blobs.has(DIGEST)
    blobs = BlobStore(folder, 10_000_000)
    assert blobs.bytes_total == 1000
    async with blobs.partial(DIGEST, len(DATA)) as partial:
        assert partial.offset == 1000
        await partial.append(DATA[1000:])
        await partial.finish()
    assert await blobs.read(DIGEST) == DATA
    assert blobs.bytes_total == len(DATA)
    assert names(folder) == [DIGEST.hex()]


async def test_a_leftover_that_is_too_long_is_dropped(blobs: BlobStore, folder: Path) -> None:
    (folder / f"{DIGEST.hex()}.partial").write_bytes(DATA + b"x")
    async with blobs.partial(DIGEST, len(DATA)) as partial:
        assert partial.offset == 0


@pytest.mark.parametrize("wrong", [DATA[:-1], DATA[:-1] + b"x"], ids=["short", "other"])
async def test_a_wrong_download_is_deleted(blobs: BlobStore, folder: Path, wrong: bytes) -> None:
    async with blobs.partial(DIGEST, len(DATA)) as partial:
        await partial.append(wrong)
        with pytest.raises(MalformedRecord):
            await partial.finish()
    assert names(folder) == []
    assert blobs.bytes_total == 0


async def test_more_than_announced_is_refused(blobs: BlobStore) -> None:
    async with blobs.partial(DIGEST, 10) as partial:
        await partial.append(bytes(9))
        with pytest.raises(MalformedRecord):
            await partial.append(bytes(2))


async def test_one_download_of_a_blob_at_a_time(blobs: BlobStore) -> None:
    seen: list[bool] = []

    async def download() -> None:
        async with blobs.partial(DIGEST, len(DATA)) as partial:
            seen.append(blobs.has(DIGEST))
            if not blobs.has(DIGEST):
                await partial.append(DATA)
                await partial.finish()

    await asyncio.gather(download(), download(), download())
    assert seen == [False, True, True]
    assert blobs.bytes_total == len(DATA)


async def test_a_cancelled_download_keeps_what_it_has(blobs: BlobStore) -> None:
    async def download() -> None:
        async with blobs.partial(DIGEST, len(DATA)) as partial:
            await partial.append(DATA[:5])
            began.set()
            await asyncio.Event().wait()

    began = asyncio.Event()
    task = asyncio.create_task(download())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with blobs.partial(DIGEST, len(DATA)) as partial:
        assert partial.offset == 5


async def test_an_empty_blob_is_a_blob(blobs: BlobStore) -> None:
    async with blobs.partial(sha256().digest(), 0) as partial:
        await partial.finish()
    assert await blobs.read(sha256().digest()) == b""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_made_is_the_operators_trouble(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError):
        BlobStore(tmp_path / "blobs", 1)
