"""The folder of a relay: what is made once, and what a running relay leaves there."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bazaar_host import file_lock
from bazaar_host.key_files import Passphrase
from bazaar_host.key_folder import KeyFolder, new_keys
from bazaar_host.settings import FILE_NAME
from bazaar_protocol.errors import ConfigError, NotRunning
from bazaar_protocol.identity import Keypair
from bazaar_protocol.log import recovery_hash
from bazaar_relay.lists import Lists, read_list
from bazaar_relay.peering.peer_state import PeerState


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds all the relay has."""

    folder: Path

    @property
    def keys(self) -> KeyFolder:
        """The files with its keys."""
        return KeyFolder(self.folder, "relay", "bazaar relay init")

    @property
    def database_path(self) -> Path:
        """The database."""
        return self.folder / "relay.sqlite3"

    @property
    def settings_path(self) -> Path:
        """The file with the settings of this relay."""
        return self.folder / FILE_NAME

    @property
    def blocked_path(self) -> Path:
        """The list of those who are not served."""
        return self.folder / "blocked.txt"

    @property
    def allowed_path(self) -> Path:
        """The list of those who are known from the start."""
        return self.folder / "allowed.txt"

    @property
    def peers_path(self) -> Path:
        """Up to where the stores of its peers were read."""
        return self.folder / "peers.json"

    @property
    def high_water_path(self) -> Path:
        """How far the relay's own log has come."""
        return self.folder / "own-log.json"

    @property
    def running_path(self) -> Path:
        """What a running relay says of itself to the other commands."""
        return self.folder / "running.json"

    def lists(self) -> Lists:
        """Return the identities that are listed in files.

        Raises:
            ConfigError: A list cannot be read.

        """
        return Lists(read_list(self.allowed_path), read_list(self.blocked_path))


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
    peers: tuple[PeerState, ...] = ()
    """How things stood with its peers a moment ago."""


def open_keys(home: Home, passphrase: Passphrase) -> tuple[Keypair, bytes]:
    """Return the keys of a relay and the hash of its recovery key, making both on first use.

    Raises:
        ConfigError: They cannot be made or read.

    """
    if not home.keys.key_path.exists():
        home.keys.write(new_keys(), new_keys(), None)
    return home.keys.read(passphrase), recovery_hash(home.keys.recovery_agent())


class Word:
    """What a running relay lets the other commands know.

    Each method raises ``ConfigError`` if the folder cannot be written.
    """

    def __init__(self, home: Home, running: Running) -> None:
        self._home = home
        self._running = running
        _write(home, running)

    def reloaded(self, trouble: str) -> None:
        """Add that the settings were read again, and what was wrong with them."""
        self._change(reloads=self._running.reloads + 1, trouble=trouble)

    def moved(self, addresses: Sequence[str]) -> None:
        """Say where the relay can be dialed now."""
        self._change(addresses=tuple(addresses))

    def heard(self, peers: Sequence[PeerState]) -> None:
        """Say how things stand with its peers, if that has changed."""
        states = tuple(map(copy, peers))
        if states != self._running.peers:
            self._change(peers=states)

    def _change(self, **changes: object) -> None:
        self._running = msgspec.structs.replace(self._running, **changes)
        _write(self._home, self._running)


@contextmanager
def announced(home: Home, addresses: Sequence[str], http: str) -> Generator[Word]:
    """Leave word of a running relay until the block is left.

    Raises:
        ConfigError: The folder cannot be written.

    """
    try:
        yield Word(home, Running(os.getpid(), tuple(addresses), http))
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
