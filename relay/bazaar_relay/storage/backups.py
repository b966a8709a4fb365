"""Copies of a relay's SQLite store, made while the relay runs, and what becomes of them.

What a relay signs after a copy was made is not in the copy. With its old key it would sign those
places of its log once more, which is a fork, and it would deny records that it has given receipts
for. So a copy says of itself that it is one, and is opened by no relay; and it is brought back for
another relay only, with a key of its own, that has promised nothing yet (docs/adr/0091).
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bazaar_host import database, private_files
from bazaar_host.storage_errors import translated
from bazaar_protocol.errors import ConfigError, RestoredStore, StorageError
from bazaar_protocol.identity import AgentId, to_did
from bazaar_relay.storage.sqlite_schema import MIGRATIONS

_ADOPT: Final = """
    UPDATE store SET name = ?, relay = ?, backup_ms = NULL,
        covered = (SELECT coalesce(max(cursor), 0) FROM record)
"""


class Backup(msgspec.Struct, frozen=True):
    """What a copy is of."""

    relay: str
    """Whose store it is; empty if nobody had opened it by its name yet."""
    made_ms: int
    cursor: int
    """The newest record in it."""


def write(path: Path, to: Path, *, now_ms: int) -> Backup:
    """Copy the store at ``path``, to which a relay may go on writing, to the new file ``to``.

    Raises:
        ConfigError: There is such a file already, or it cannot be written.
        StorageError: The store cannot be read.

    """
    if not path.exists():
        raise ConfigError(f"there is no store at {path}")
    with _beside(to) as part:
        database.copy(path, part)
        with _opened(part) as db:
            database.migrate(db, path=part, migrations=MIGRATIONS)
            db.execute("UPDATE store SET backup_ms = ?", (now_ms,))
            backup = _look(db)
        _name(part, to)
    return backup


def restore(file: Path, to: Path, *, relay: AgentId, name: bytes) -> Backup:
    """Make the copy ``file`` the store of ``relay``, at ``to`` where there is none.

    Cursors begin to mean something else with it, so the store gets a new ``name``.

    Raises:
        ConfigError: There is a store already, or ``file`` is no copy of one.
        RestoredStore: It is a copy of what ``relay`` itself has signed.
        StorageError: It is damaged.

    """
    if to.exists():
        raise ConfigError(f"{to} exists already, and is left as it is; choose another --home")
    with _beside(to) as part:
        _fetch(file, part)
        with _opened(part) as db:
            database.migrate(db, path=part, migrations=MIGRATIONS)
            backup = _look(db)
            own = db.execute("SELECT seq FROM head WHERE author = ?", (relay,)).fetchone()
            if own is not None or backup.relay == to_did(relay):
                raise RestoredStore(_not_again(file))
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM receipt")
            db.execute(_ADOPT, (name, relay))
            db.execute("COMMIT")
        _name(part, to)
    return backup


def check(db: sqlite3.Connection, relay: AgentId | None) -> None:
    """Refuse to open a store that is a copy, or another relay's; else it is of ``relay`` now.

    Raises:
        RestoredStore: It is a copy that ``restore`` has not made a store.
        ConfigError: It is another relay's.

    """
    owner, backup_ms = db.execute("SELECT relay, backup_ms FROM store").fetchone()
    if backup_ms is not None:
        raise RestoredStore(
            "this store is a backup, which no relay may go on with as it is; bring it back with "
            "bazaar relay restore, in the home of a new relay"
        )
    if relay is None or owner == relay:
        return
    if owner is not None:
        raise ConfigError(
            f"this is the store of another relay, {to_did(AgentId(owner))}; the key here is that "
            f"of {to_did(relay)}"
        )
    db.execute("UPDATE store SET relay = ?", (relay,))


def _not_again(file: Path) -> str:
    return (
        f"{file} is a backup of this very relay. What it has signed since is not in it: its log "
        "would fork, and that convicts it. Bring it back in a home with a new key: "
        f"bazaar relay restore {file} --home NEW"
    )


def _look(db: sqlite3.Connection) -> Backup:
    relay, backup_ms = db.execute("SELECT relay, backup_ms FROM store").fetchone()
    (cursor,) = db.execute("SELECT coalesce(max(cursor), 0) FROM record").fetchone()
    return Backup("" if relay is None else to_did(AgentId(relay)), backup_ms or 0, cursor)


def _fetch(file: Path, part: Path) -> None:
    try:
        shutil.copyfile(file, part)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    with _opened(part) as db:
        (found,) = db.execute("PRAGMA quick_check").fetchone()
        if found != "ok":
            raise StorageError(f"{file} is damaged: {found}")
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        if not {"store", "record", "head"} <= tables:
            raise ConfigError(f"{file} is no backup of a relay")


@contextmanager
def _beside(path: Path) -> Generator[Path]:
    """Make a name for what will be ``path``, in a folder that only we can look into."""
    with translated(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as folder:
            yield Path(folder) / path.name


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection]:
    with translated(path), closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")  # so that this one file is all of it
        yield db


def _name(part: Path, to: Path) -> None:
    part.chmod(0o600)
    try:
        os.link(part, to)  # unlike a rename, it refuses to overwrite
    except FileExistsError as error:
        raise ConfigError(f"{to} exists already; a backup overwrites nothing") from error
    private_files.sync_folder(to.parent)
