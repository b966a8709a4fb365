"""Giving the room of what was forgotten back to the file system."""

import sqlite3
from contextlib import closing
from pathlib import Path

from bazaar_host import file_lock
from bazaar_host.storage_errors import translated
from bazaar_protocol.errors import ConfigError


def vacuum(path: Path) -> tuple[int, int]:
    """Write the store at ``path``, which no relay may be using, anew; return its sizes in bytes.

    It needs as much free room as the store will have.

    Raises:
        ConfigError: There is none.
        StorageFull: There is no room for it; nothing has changed.
        StorageError: A relay is using it, or it is damaged.

    """
    if not path.exists():
        raise ConfigError(f"there is no store at {path}")
    with translated(path), file_lock.hold(path):
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            before = path.stat().st_size
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, path.stat().st_size
