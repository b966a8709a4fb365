"""What SQLite and the file system say, translated into what the operator can do about it."""

import errno
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bazaar_protocol.errors import StorageError, StorageFull

_PRIMARY_CODE: Final = 0xFF
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_PROBE_BYTES: Final = 64 * 1024


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Raise what goes wrong with the store at ``path`` as a ``StorageError``.

    Raises:
        StorageFull: There is no room left on its file system.
        StorageError: Anything else that SQLite or the operating system refuses.

    """
    try:
        yield
    except sqlite3.Error as error:
        raise _from_sqlite(error, path) from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _full(path) from error
        raise StorageError(f"{path}: {error.strerror or error}") from error


def _from_sqlite(error: sqlite3.Error, path: Path) -> StorageError:
    # Errors that the sqlite3 module raises by itself, about a closed connection say, have no code.
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _PRIMARY_CODE:
        case sqlite3.SQLITE_FULL:
            return _full(path)
        case sqlite3.SQLITE_IOERR if not _has_room(path.parent):
            return _full(path)
        case sqlite3.SQLITE_NOTADB:
            return StorageError(f"{path} is not a database of ours: {error}")
        case sqlite3.SQLITE_CORRUPT:
            return StorageError(f"{path} is corrupt: {error}; restore it from a backup")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StorageError(f"{path} is in use by another program: {error}")
        case _:
            return StorageError(f"{path}: {error}")


def _full(path: Path) -> StorageFull:
    return StorageFull(
        f"no room left for {path}: nothing of this write was kept; "
        f"free some space in {path.parent} and try again, a restart is not needed"
    )


def _has_room(folder: Path) -> bool:
    # SQLite reports some full disks and every spent quota as a plain I/O error and drops the errno.
    # Free bytes do not tell about quotas; trying does.
    probe = folder / f".room-{os.getpid()}"
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.errno not in _NO_ROOM
    finally:
        probe.unlink(missing_ok=True)
    return True
