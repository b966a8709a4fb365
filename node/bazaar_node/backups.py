"""Backups of a node, to carry on elsewhere: one file that only its owner can read.

It is a tar of the key (locked by a passphrase), the settings, and one consistent state of the
store; or, of the key alone, a key file. What a backup cannot have is what the node signs after it:
so its store says of itself that it is a backup, and a node that runs with it signs nothing until
``recovering`` has asked the relays.
"""

import asyncio
import io
import sqlite3
import tarfile
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from bazaar_host import database, key_files, private_files
from bazaar_host.key_files import Passphrase
from bazaar_host.settings import FILE_NAME
from bazaar_host.storage_errors import translated
from bazaar_node.settings import NodeSettings
from bazaar_node.storage.store import BACKUP_MARK, NodeStore
from bazaar_protocol import identity, limits
from bazaar_protocol.errors import ConfigError, KeyFileError
from bazaar_protocol.identity import Keypair

_MANIFEST: Final = "backup.json"
_KEY: Final = "node.key"
_RECOVERY_PUBLIC: Final = "recovery.pub"
_STORE: Final = "node.sqlite3"
_MEMBER_BYTES_MAX: Final = limits.MIB
_COPY_BYTES: Final = limits.MIB


class Manifest(msgspec.Struct, frozen=True):
    """What a backup is of."""

    agent: str
    made_ms: int
    """0 when nobody knows: a key file has no date."""
    log_seq: int
    """The newest entry of the log in it; 0 when it has no store."""
    version: int = 1


def write(node: NodeSettings, to: Path, passphrase: bytes, *, now_ms: int) -> Manifest:
    """Back up the node in ``node.home``, which may run meanwhile, to the new file ``to``.

    Raises:
        ConfigError: There is such a file already, or it cannot be written.
        KeyFileError: The key cannot be read.
        StorageError: The store cannot be read.

    """
    keys = node.keys.read(node.passphrase())
    with tempfile.TemporaryDirectory(dir=node.home, prefix=".backup-") as folder:
        store = Path(folder) / _STORE
        seq = 0
        if node.database_path.exists():
            database.copy(node.database_path, store)
            seq = _mark(store, now_ms)
        manifest = Manifest(identity.to_did(keys.agent), now_ms, seq)
        with (
            _translated(to),
            private_files.create(to) as file,
            tarfile.open(fileobj=file, mode="w") as tar,
        ):
            _add(tar, _MANIFEST, msgspec.json.encode(manifest))
            _add(tar, _KEY, key_files.encode(keys, passphrase))
            for path in (node.keys.recovery_public_path, node.home / FILE_NAME):
                if path.exists():
                    _add(tar, path.name, path.read_bytes())
            if store.exists():
                tar.add(store, _STORE)
    return manifest


def write_key(node: NodeSettings, to: Path, passphrase: bytes, *, now_ms: int) -> Manifest:
    """Copy the key alone to the new file ``to``.

    Raises:
        KeyFileError: There is such a file already, or the key cannot be read.

    """
    keys = node.keys.read(node.passphrase())
    key_files.write(to, keys, passphrase)
    return Manifest(identity.to_did(keys.agent), now_ms, 0)


def restore(
    file: Path, home: Path, passphrase: Passphrase, *, leave_open: bool = False
) -> Manifest:
    """Bring a backup back into ``home``, where no agent lives yet.

    The key there has the passphrase of the backup, or none if it is to be left open. The node
    signs nothing before ``bazaar recover``.

    Raises:
        ConfigError: An agent lives there, or the file is no backup.
        KeyFileError: The passphrase is wrong.
        StorageError: The store in it is damaged.

    """
    node = NodeSettings(home=home)
    for path in (node.keys.key_path, node.database_path):
        if path.exists():
            raise ConfigError(f"{path} exists already, and is left as it is; choose another --home")
    given: list[bytes] = []

    def ask() -> bytes:
        given.append(passphrase())
        return given[0]

    with _translated(file), file.open("rb") as opened:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if tarfile.is_tarfile(opened):
            with _tar(opened, file) as tar:
                keys, manifest = _unpack(tar, node, ask, file)
        else:
            opened.seek(0)
            keys = key_files.decode(opened.read(limits.KEY_FILE_BYTES_MAX), ask, str(file))
            manifest = Manifest(identity.to_did(keys.agent), 0, 0)
    if not node.database_path.exists():
        asyncio.run(_begin_store(node.database_path, keys, manifest.made_ms))
    # Last, since an agent exists once its key does.
    key_files.write(node.keys.key_path, keys, None if leave_open or not given else given[0])
    return manifest


def made_ms(store: Path) -> int | None:
    """Return when the store at this path was made as a backup; None if it is none.

    Raises:
        StorageError: It cannot be read.

    """
    with translated(store), closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT value FROM meta WHERE name = ?", (BACKUP_MARK,)).fetchall()
    return int(rows[0][0]) if rows else None


def _unpack(
    tar: tarfile.TarFile, node: NodeSettings, ask: Passphrase, file: Path
) -> tuple[Keypair, Manifest]:
    try:
        manifest = msgspec.json.decode(_read(tar, _MANIFEST, file), type=Manifest)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{file} is no backup of a node: {error}") from error
    keys = key_files.decode(_read(tar, _KEY, file), ask, str(file))
    if manifest.version != 1 or manifest.agent != identity.to_did(keys.agent):
        raise ConfigError(f"{file} is a backup of another kind, or was put together by hand")
    if _STORE in tar.getnames():
        _unpack_store(tar, node.database_path, file)
    for name, path in (
        (_RECOVERY_PUBLIC, node.keys.recovery_public_path),
        (FILE_NAME, node.home / FILE_NAME),
    ):
        if name in tar.getnames() and not path.exists():
            with private_files.create(path) as made:
                made.write(_read(tar, name, file))
    return keys, manifest


def _unpack_store(tar: tarfile.TarFile, to: Path, file: Path) -> None:
    member = tar.extractfile(_STORE)
    if member is None:
        raise ConfigError(f"{file} is no backup of a node: its store is no file")
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".restore-") as folder:
        part = Path(folder) / to.name
        with private_files.create(part) as made:
            while piece := member.read(_COPY_BYTES):
                made.write(piece)
        with translated(file), closing(sqlite3.connect(part)) as db:
            (found,) = db.execute("PRAGMA quick_check").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        part.rename(to)
    private_files.sync_folder(to.parent)


async def _begin_store(path: Path, keys: Keypair, made_ms: int) -> None:
    """Make a store that knows nothing but that it has to be caught up."""
    async with NodeStore.open(path) as store:
        await store.claim_identity(keys.agent)
        await store.work(lambda db: _write_mark(db, made_ms))


def _mark(store: Path, made_ms: int) -> int:
    """Have a copied store say that it is a backup; return how long its log is."""
    with translated(store), closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA journal_mode = DELETE")  # so that this one file is all of it
        with db:
            _write_mark(db, made_ms)
        (seq,) = db.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()
    return int(seq)


def _write_mark(db: sqlite3.Connection, made_ms: int) -> None:
    row = (BACKUP_MARK, str(made_ms).encode())
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))


def _read(tar: tarfile.TarFile, name: str, file: Path) -> bytes:
    try:
        member = tar.extractfile(name)
    except KeyError:
        member = None
    if member is None:
        raise ConfigError(f"{file} is no backup of a node: there is no {name} in it")
    content = member.read(_MEMBER_BYTES_MAX + 1)
    if len(content) > _MEMBER_BYTES_MAX:
        raise ConfigError(f"{file} is no backup of a node: its {name} is too large")
    return content


@contextmanager
def _tar(opened: IO[bytes], file: Path) -> Generator[tarfile.TarFile]:
    opened.seek(0)
    try:
        with tarfile.open(fileobj=opened, mode="r:") as tar:
            yield tar
    except tarfile.TarError as error:
        raise ConfigError(f"{file} is damaged: {error}") from error


@contextmanager
def _translated(path: Path) -> Generator[None]:
    try:
        yield
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists already; a backup overwrites nothing") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
