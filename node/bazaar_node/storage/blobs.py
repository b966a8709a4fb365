"""Inputs and results as files, each named by its SHA-256.

The daemon keeps here what it was given and what it made; ``transfer`` serves from it and fetches
into it. A blob is there as a whole or not at all: it is written beside its name, synced, and then
renamed. Downloads in progress are kept too, so one that a restart or a lost link has interrupted
goes on where it stopped. All reading and writing happens in threads, and a cancelled caller
leaves no thread with a half-done file behind.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from io import FileIO
from pathlib import Path
from secrets import token_hex
from typing import Final

from bazaar_host.storage_errors import translated
from bazaar_protocol.errors import MalformedRecord, NotFound, StorageFull

_PIECE_BYTES: Final = 1024 * 1024
_PARTIAL: Final = ".partial"
_TEMPORARY: Final = ".tmp"


class BlobStore:
    """The files in one folder, which belongs to this process alone.

    Args:
        folder: Made if missing, readable by us only.
        bytes_max_total: How much all blobs, and the downloads in progress, may take together.
        syncs: Whether files outlast a power cut; it takes time.

    Raises:
        StorageError: The folder cannot be made or read.

    """

    def __init__(self, folder: Path, bytes_max_total: int, *, syncs: bool = True) -> None:
        self.syncs = syncs
        self._folder = folder
        self._bytes_max_total = bytes_max_total
        self._lock = threading.Lock()
        with translated(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sizes = _take_stock(folder)
        self._receiving: set[bytes] = set()
        self._received = asyncio.Condition()

    @property
    def bytes_total(self) -> int:
        """How much is taken, counting each download in progress in full."""
        return sum(self._sizes.values())

    def has(self, digest: bytes) -> bool:
        """Say whether the blob is here as a whole."""
        return digest.hex() in self._sizes

    def size(self, digest: bytes) -> int:
        """Return the blob's size.

        Raises:
            NotFound: It is not here.

        """
        try:
            return self._sizes[digest.hex()]
        except KeyError:
            raise NotFound(f"no blob {digest.hex()}") from None

    def path(self, digest: bytes) -> Path:
        """Return the blob's file, to be read only.

        Raises:
            NotFound: It is not here.

        """
        self.size(digest)
        return self._folder / digest.hex()

    async def put(self, data: bytes) -> bytes:
        """Keep ``data`` durably and return its digest.

        Raises:
            StorageFull: There is no room; nothing of it remains.

        """
        return await asyncio.to_thread(self._put, (data,), len(data))

    async def put_file(self, path: Path) -> bytes:
        """Keep a copy of the file at ``path`` durably and return its digest.

        Raises:
            NotFound: There is no such file.
            StorageFull: There is no room; nothing of it remains.

        """
        return await asyncio.to_thread(self._put_file, path)

    async def read(self, digest: bytes, offset: int = 0, length: int | None = None) -> bytes:
        """Read ``length`` bytes from ``offset`` on, fewer at the end, and all of them if None.

        Raises:
            NotFound: The blob is not here.
            StorageError: The file cannot be read.

        """
        path = self.path(digest)
        return await asyncio.to_thread(_read, path, offset, -1 if length is None else length)

    async def delete(self, digest: bytes) -> None:
        """Remove the blob, if it is here."""
        await asyncio.to_thread(self._delete, digest.hex())

    @asynccontextmanager
    async def partial(self, digest: bytes, size: int) -> "AsyncGenerator[Partial]":
        """Begin or continue the download of a blob; one at a time for each digest.

        Who had to wait for another download should look again whether the blob is here. What was
        received stays for the next time, unless ``Partial.finish`` found that it was wrong.

        Raises:
            StorageFull: There is no room for all of it.

        """
        async with self._received:
            while digest in self._receiving:
                await self._received.wait()
            self._receiving.add(digest)
        partial = Partial(self, digest, size)
        try:
            await asyncio.to_thread(partial.open)
            yield partial
        finally:
            # Even a cancelled caller waits here for its own thread to let go of the file.
            await asyncio.shield(self._end(partial))

    async def _end(self, partial: "Partial") -> None:
        try:
            await asyncio.to_thread(partial.close)
        finally:
            async with self._received:
                self._receiving.discard(partial.digest)
                self._received.notify_all()

    def reserve(self, name: str, size: int) -> None:
        """Count ``size`` bytes for ``name``, in place of what was counted for it."""
        with self._lock:
            total = self.bytes_total - self._sizes.get(name, 0) + size
            if total > self._bytes_max_total:
                raise StorageFull(
                    f"{size} more bytes exceed the {self._bytes_max_total} that "
                    f"{self._folder} may hold; delete old results or allow more"
                )
            self._sizes[name] = size

    def release(self, name: str) -> None:
        """Count nothing for ``name`` any more."""
        with self._lock:
            self._sizes.pop(name, None)

    def keep(self, name: str, digest: bytes) -> None:
        """Make the synced file ``name`` the blob ``digest``."""
        (self._folder / name).replace(self._folder / digest.hex())
        if self.syncs:
            _sync_folder(self._folder)
        with self._lock:
            self._sizes[digest.hex()] = self._sizes.pop(name)

    def file(self, name: str) -> Path:
        """Return where the file ``name`` of this store is."""
        return self._folder / name

    def _put_file(self, path: Path) -> bytes:
        try:
            source = FileIO(path)
        except OSError as error:
            raise NotFound(f"{path}: {error.strerror or error}") from error
        with source:
            size = os.fstat(source.fileno()).st_size
            return self._put(_pieces(source), size)

    def _put(self, pieces: Iterable[bytes], size: int) -> bytes:
        name = token_hex(16) + _TEMPORARY
        path = self._folder / name
        self.reserve(name, size)
        try:
            with translated(path):
                with _create(path) as file:
                    digest, written = _copy(pieces, file)
                    if self.syncs:
                        _sync(file)
                self.reserve(name, written)  # the source may have grown since it was measured
                self.keep(name, digest)
        except BaseException:
            path.unlink(missing_ok=True)
            self.release(name)
            raise
        return digest

    def _delete(self, name: str) -> None:
        path = self._folder / name
        with translated(path):
            path.unlink(missing_ok=True)
            self.release(name)


class Partial:
    """A blob that is being received. ``BlobStore.partial`` makes them."""

    def __init__(self, store: BlobStore, digest: bytes, size: int) -> None:
        self.digest = digest
        self.size = size
        self.offset = 0
        """How many bytes are there already."""
        self._store = store
        self._name = digest.hex() + _PARTIAL
        self._path = store.file(self._name)
        self._hash = sha256()
        self._file: FileIO | None = None
        # Held by each thread that works on the file, so that closing it waits for them.
        self._lock = threading.Lock()

    async def append(self, data: bytes) -> None:
        """Write the next bytes.

        Raises:
            MalformedRecord: They are more than were announced.
            StorageFull: There is no room on the disk; what came before is still there.

        """
        if self.offset + len(data) > self.size:
            raise MalformedRecord(f"more than the {self.size} bytes that were announced")
        await asyncio.to_thread(self._locked, lambda: self._append(data))

    async def finish(self) -> None:
        """Check the whole and make it a blob.

        Raises:
            MalformedRecord: It is not what its name says; it was deleted.

        """
        await asyncio.to_thread(self._locked, self._finish)

    async def restart(self) -> None:
        """Forget what was received, and begin anew."""
        await asyncio.to_thread(self._locked, self._restart)

    def open(self) -> None:
        """Take up what is on disk; in a thread."""
        self._store.reserve(self._name, self.size)
        with self._lock, translated(self._path):
            self._file = _open_for_update(self._path)
            if os.fstat(self._file.fileno()).st_size > self.size:
                self._begin_anew()
            for piece in _pieces(self._file):
                self._hash.update(piece)
                self.offset += len(piece)

    def close(self) -> None:
        """Let go of the file, and count what is left of it; in a thread."""
        with self._lock, translated(self._path):
            if self._file is not None:
                self._file.close()
                self._file = None
                if self.offset == 0:
                    self._path.unlink(missing_ok=True)
            if self._path.exists():
                self._store.reserve(self._name, self._path.stat().st_size)
            else:
                self._store.release(self._name)

    def _locked(self, work: Callable[[], None]) -> None:
        with self._lock, translated(self._path):
            work()

    def _append(self, data: bytes) -> None:
        file = self._opened()
        try:
            _write_all(file, data)
        except OSError:
            file.truncate(self.offset)
            file.seek(self.offset)
            raise
        self._hash.update(data)
        self.offset += len(data)

    def _finish(self) -> None:
        file = self._opened()
        if self.offset != self.size or self._hash.digest() != self.digest:
            found = f"{self.offset} bytes with the hash {self._hash.hexdigest()}"
            self._begin_anew()
            raise MalformedRecord(f"{found}, not {self.size} with {self.digest.hex()}")
        if self._store.syncs:
            _sync(file)
        file.close()
        self._file = None
        self._store.keep(self._name, self.digest)

    def _restart(self) -> None:
        self._opened()
        self._begin_anew()

    def _begin_anew(self) -> None:
        file = self._opened()
        file.truncate(0)
        file.seek(0)
        self._hash = sha256()
        self.offset = 0

    def _opened(self) -> FileIO:
        assert self._file is not None, "a download is written only while it is open"
        return self._file


def _take_stock(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for path in folder.iterdir():
        if path.suffix == _TEMPORARY:  # from a process that died while it wrote
            path.unlink()
        else:
            sizes[path.name] = path.stat().st_size
    return sizes


def _create(path: Path) -> FileIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return FileIO(os.open(path, flags, 0o600), "wb")


def _open_for_update(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _copy(pieces: Iterable[bytes], file: FileIO) -> tuple[bytes, int]:
    hashed, size = sha256(), 0
    for piece in pieces:
        _write_all(file, piece)
        hashed.update(piece)
        size += len(piece)
    return hashed.digest(), size


def _pieces(file: FileIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _read(path: Path, offset: int, length: int) -> bytes:
    with translated(path), path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _sync(file: FileIO) -> None:
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
