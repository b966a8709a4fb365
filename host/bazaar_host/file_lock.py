"""One process for one file: an advisory lock that the operating system releases by itself."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bazaar_protocol.errors import StorageError

_PID_WIDTH: Final = 20


@contextmanager
def hold(path: Path) -> Generator[None]:
    """Keep the file at ``path`` for this process, by a lock on ``<path>.lock``.

    The lock belongs to the open file, so a kill -9 releases it, and a second attempt within this
    process is refused like one by another. It holds our process id, for whoever comes second. The
    lock file stays: were it removed, two processes could each lock a file of that name.

    Raises:
        StorageError: Someone holds it already.
        OSError: The lock file cannot be made or written.

    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(f"{path} is in use by {_holder(descriptor)}") from error
        # Always as wide, and never truncated first: a full disk then has the room already.
        os.pwrite(descriptor, f"{os.getpid():<{_PID_WIDTH - 1}}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether a process holds the file at ``path``; False where nothing can be asked."""
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, _PID_WIDTH, 0).strip()
    return f"process {pid.decode()}" if pid.isdigit() else "another process"
