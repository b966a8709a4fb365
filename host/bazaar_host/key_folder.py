"""The files in which an identity has its keys: the one that signs, and the one that can end it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bazaar_host import key_files, private_files
from bazaar_host.key_files import Passphrase
from bazaar_protocol import identity
from bazaar_protocol.errors import ConfigError, KeyFileError
from bazaar_protocol.identity import AgentId, Keypair, parse_agent

_SEED_BYTES: Final = 32


def new_keys() -> Keypair:
    """Return keys that nobody has."""
    return Keypair(os.urandom(_SEED_BYTES))


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The keys of one identity.

    Args:
        folder: Where they are.
        name: What they are of: ``node`` or ``relay``.
        init_command: What makes one.

    """

    folder: Path
    name: str
    init_command: str

    @property
    def key_path(self) -> Path:
        """The file with the key that signs."""
        return self.folder / f"{self.name}.key"

    @property
    def recovery_key_path(self) -> Path:
        """The file with the key that can end this identity; it is meant to be moved away."""
        return self.folder / "recovery.key"

    @property
    def recovery_public_path(self) -> Path:
        """The file with the recovery key's public half as did:key, for the first record."""
        return self.folder / "recovery.pub"

    def write(self, keys: Keypair, recovery: Keypair, passphrase: bytes | None) -> None:
        """Keep the keys of a new identity, which exists once the one that signs does.

        What an interrupted attempt left behind names a key that nothing uses yet, and is replaced.

        Raises:
            ConfigError: There are keys already, or the folder cannot be written.

        """
        if self.key_path.exists():
            raise ConfigError(f"{self.key_path} exists already, and is left as it is")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in (self.recovery_key_path, self.recovery_public_path):
                path.unlink(missing_ok=True)
            key_files.write(self.recovery_key_path, recovery, passphrase)
            with private_files.create(self.recovery_public_path) as file:
                file.write(f"{identity.to_did(recovery.agent)}\n".encode())
        except OSError as error:
            raise ConfigError(f"{self.folder}: {error.strerror or error}") from error
        key_files.write(self.key_path, keys, passphrase)

    def read(self, passphrase: Passphrase) -> Keypair:
        """Return the keys that sign.

        Raises:
            KeyFileError: They cannot be read.

        """
        if not self.key_path.exists():
            raise KeyFileError(f"{self.key_path}: there is none; `{self.init_command}` makes one")
        return key_files.read(self.key_path, passphrase)

    def recovery_agent(self) -> AgentId:
        """Return the public half of the recovery key.

        Raises:
            KeyFileError: Its file cannot be read.
            ConfigError: It holds no identity.

        """
        try:
            return parse_agent(self.recovery_public_path.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(
                f"{self.recovery_public_path}: cannot read the recovery key's public half "
                f"({error}); an identity begins with it, so make one anew, in another folder"
            ) from error
