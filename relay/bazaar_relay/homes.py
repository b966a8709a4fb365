"""The folder of a relay: what is made once, and what a running relay leaves there."""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import msgspec

from bazaar_host import file_lock, key_files
from bazaar_host.key_files import Passphrase
from bazaar_protocol import identity
from bazaar_protocol.errors import ConfigError, NotRunning
from bazaar_protocol.identity import Keypair, parse_agent
from bazaar_protocol.log import recovery_hash
from bazaar_relay.settings import Home

_SEED_BYTES = 32


class Running(msgspec.Struct, frozen=True):
    """What a running relay says of itself to the other commands."""

    pid: int
    addresses: tuple[str, ...]
    http: str
    """Where it serves HTTP; empty for nowhere."""
    reloads: int = 0
    """How often it has read its settings again."""
    trouble: str = ""
    """Why it went on with what it had, the last time."""


def open_keys(home: Home, passphrase: Passphrase) -> tuple[Keypair, bytes]:
    """Return the keys of a relay and the hash of its recovery key, making both on first use.

    Raises:
        ConfigError: They cannot be made or read.

    """
    try:
        home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not home.key_path.exists():
            recovery = Keypair(os.urandom(_SEED_BYTES))
            # What an interrupted first start left behind names a key that nothing uses yet.
            for path in (home.recovery_key_path, home.recovery_public_path):
                path.unlink(missing_ok=True)
            key_files.write(home.recovery_key_path, recovery, None)
            home.recovery_public_path.write_text(identity.to_did(recovery.agent) + "\n")
            # Last, since a relay exists once its key does.
            key_files.write(home.key_path, Keypair(os.urandom(_SEED_BYTES)), None)
        recovery_agent = parse_agent(home.recovery_public_path.read_text().strip())
    except OSError as error:
        raise ConfigError(f"{home.folder}: {error.strerror or error}") from error
    keys = key_files.read(home.key_path, passphrase)
    return keys, recovery_hash(recovery_agent)


@contextmanager
def announced(home: Home, addresses: Sequence[str], http: str) -> Generator[Callable[[str], None]]:
    """Leave word of a running relay until the block is left.

    What is yielded adds that the settings were read again, and what was wrong with them.

    Raises:
        ConfigError: The folder cannot be written.

    """
    running = Running(os.getpid(), tuple(addresses), http)

    def tell(trouble: str) -> None:
        nonlocal running
        running = msgspec.structs.replace(running, reloads=running.reloads + 1, trouble=trouble)
        _write(home, running)

    _write(home, running)
    try:
        yield tell
    finally:
        home.running_path.unlink(missing_ok=True)


def _write(home: Home, running: Running) -> None:
    part = home.running_path.with_suffix(".part")
    try:
        part.write_bytes(msgspec.json.encode(running))
        part.replace(home.running_path)
    except OSError as error:
        raise ConfigError(f"{home.running_path}: {error.strerror or error}") from error


def find_running(home: Home) -> Running:
    """Return what the running relay of ``home`` says of itself.

    Raises:
        NotRunning: There is none.

    """
    try:
        running = msgspec.json.decode(home.running_path.read_bytes(), type=Running)
    except (OSError, msgspec.MsgspecError) as error:
        raise NotRunning(f"no relay is running in {home.folder}") from error
    # What a killed relay left behind may name a process that is somebody else's by now.
    if not file_lock.is_held(home.database_path):
        raise NotRunning(f"no relay is running in {home.folder}")
    return running
