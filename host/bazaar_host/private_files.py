"""Files that only their owner may read: keys and backups."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def create(path: Path) -> Generator[BinaryIO]:
    """Make the file at ``path`` from what the block writes: whole and on the disk, or not at all.

    Raises:
        FileExistsError: There is one already, which is left as it is.
        OSError: It cannot be written.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes a file that nobody else can open, under a name that was not there.
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # unlike a rename, it refuses to overwrite
    finally:
        os.unlink(part)  # noqa: PTH108 -- the name came as text
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
