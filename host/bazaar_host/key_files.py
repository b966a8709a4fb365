"""Key files on the disk, and the passphrase that opens them.

A passphrase comes from the terminal, or from a file or descriptor that a flag names. It never comes
from an argument or the environment, where every process of the same user could read it.
"""

import getpass
import os
import shlex
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bazaar_host import private_files
from bazaar_protocol import keyfile, limits
from bazaar_protocol.errors import KeyFileError
from bazaar_protocol.identity import Keypair

Passphrase = Callable[[], bytes]
"""Where a passphrase comes from; called only if one is needed, and it may wait for a person."""

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_PASSPHRASE_BYTES_MAX: Final = 4096


def write(path: Path, keys: Keypair, passphrase: bytes | None) -> None:
    """Create the key file at ``path``; it exists whole and on the disk, or not at all.

    Raises:
        KeyFileError: There is a file already, which is left as it is, or it cannot be written.

    """
    blob = encode(keys, passphrase)
    with _translated(path), private_files.create(path) as file:
        file.write(blob)


def read(path: Path, passphrase: Passphrase) -> Keypair:
    """Return the keys in the file at ``path``, asking for its passphrase if it is locked.

    Raises:
        KeyFileError: It is missing, damaged, readable by others, or the passphrase is wrong.

    """
    return decode(_read_private(path, limits.KEY_FILE_BYTES_MAX), passphrase, str(path))


def encode(keys: Keypair, passphrase: bytes | None) -> bytes:
    """Return the bytes of a key file; without a passphrase, whoever has them has the key."""
    salt, nonce = os.urandom(keyfile.SALT_BYTES), os.urandom(keyfile.NONCE_BYTES)
    return keyfile.lock(keys.seed, passphrase, salt=salt, nonce=nonce)


def decode(blob: bytes, passphrase: Passphrase, where: str) -> Keypair:
    """Return the keys in the bytes of a key file, asking for its passphrase if it is locked.

    Raises:
        KeyFileError: They are damaged, or the passphrase is wrong; it says ``where``.

    """
    given = passphrase() if keyfile.needs_passphrase(blob) else None
    try:
        return Keypair(keyfile.unlock(blob, given))
    except KeyFileError as error:
        raise KeyFileError(f"{where}: {error}") from error


def from_terminal(prompt: str = "Passphrase: ", *, confirm: bool = False) -> Passphrase:
    """Ask on the terminal, twice if it is a new passphrase."""

    def ask() -> bytes:
        try:
            os.close(os.open("/dev/tty", os.O_RDWR))  # else getpass would read standard input
        except OSError as error:
            raise KeyFileError(
                "there is no terminal to ask for the passphrase: "
                "give --passphrase-file or --passphrase-fd"
            ) from error
        try:
            answer = getpass.getpass(prompt)
            if confirm and getpass.getpass("Again: ") != answer:
                raise KeyFileError("the two passphrases differ")
        except EOFError as error:
            raise KeyFileError("no passphrase was given") from error
        return _checked(answer.encode(), "the terminal")

    return ask


def from_file(path: Path) -> Passphrase:
    """Read the passphrase from a file that only its owner can read; its last newline is no part."""
    return lambda: _checked(_read_private(path, _PASSPHRASE_BYTES_MAX), str(path))


def from_descriptor(descriptor: int) -> Passphrase:
    """Read the passphrase from a descriptor that whoever started us left open, to its end."""

    def read_all() -> bytes:
        where = f"descriptor {descriptor}"
        with _translated(Path(where)), os.fdopen(descriptor, "rb") as file:
            return _checked(file.read(_PASSPHRASE_BYTES_MAX + 1), where)

    return read_all


def _checked(raw: bytes, where: str) -> bytes:
    passphrase = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise KeyFileError(f"the passphrase from {where} is empty")
    if len(passphrase) > _PASSPHRASE_BYTES_MAX:
        raise KeyFileError(
            f"the passphrase from {where} has more than {_PASSPHRASE_BYTES_MAX} bytes"
        )
    return passphrase


def _read_private(path: Path, bytes_max: int) -> bytes:
    with _translated(path), path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode  # of what was opened: the name may change meanwhile
        if stat.S_ISREG(mode) and mode & _OTHERS:
            raise KeyFileError(
                f"{path} can be read or changed by others; type: chmod 600 {shlex.quote(str(path))}"
            )
        raw = file.read(bytes_max + 1)
    if len(raw) > bytes_max:
        raise KeyFileError(f"{path} has more than {bytes_max} bytes: not such a file")
    return raw


@contextmanager
def _translated(path: Path) -> Generator[None]:
    try:
        yield
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists already; a key file is never overwritten") from error
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from error
