"""The Unix socket on which a node answers its owner, and nobody else."""

import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from bazaar_protocol.errors import AddressInUse, ConfigError

NAME: Final = "node.sock"
"""Its name in the node's home."""

PATH_BYTES_MAX: Final = 103  # macOS has 104 with the closing NUL, Linux 108

_OWNER_ONLY: Final = 0o177
_ANSWER_TIMEOUT_S: Final = 1.0


class Listener(socket.socket):
    """A listening socket that can end the connections it let in."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._accepted: WeakSet[socket.socket] = WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        """Let the next one in."""
        connection, address = super().accept()
        self._accepted.add(connection)
        return connection, address

    def hang_up(self) -> None:
        """End all connections at once, even those whose other end reads nothing."""
        for connection in self._accepted:
            with suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def bound(path: Path) -> Generator[Listener]:
    """Yield a socket bound to ``path`` that only the owner can open; remove it afterwards.

    What a process that died left there is replaced.

    Raises:
        AddressInUse: Somebody answers there, or there is a file that is no socket.
        ConfigError: The path is too long, or its folder cannot be written.

    """
    check_length(path)
    _clear(path)
    with Listener() as listener:
        # The mode has to be right from the first moment: a chmod would come too late.
        before = os.umask(_OWNER_ONLY)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        ours = path.stat()
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError):
                if os.path.samestat(ours, path.lstat()):
                    path.unlink()


def check_length(path: Path) -> None:
    """Check that the system takes ``path`` as the name of a socket.

    Raises:
        ConfigError: It is too long.

    """
    size = len(os.fsencode(path))
    if size > PATH_BYTES_MAX:
        raise ConfigError(
            f"{path} has {size} bytes, and the name of a socket has at most {PATH_BYTES_MAX}: "
            "choose a shorter --home"
        )


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if not stat.S_ISSOCK(mode):
        raise AddressInUse(f"{path} is a file and no socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AddressInUse(f"{path}: {error.strerror or error}") from error
        else:
            raise AddressInUse(f"another node answers at {path}")
