"""Key files: private, whole, readable by OpenSSL when plain, slow to guess when locked."""

import base64
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import nacl.bindings as sodium
import pytest

from bazaar_host import key_files
from bazaar_protocol import keyfile
from bazaar_protocol.errors import KeyFileError
from bazaar_protocol.identity import Keypair

KEYS = Keypair.from_name("alice")
SALT, NONCE = bytes(16), bytes(12)
BEGIN, END = "-----BEGIN BAZAAR LOCKED KEY-----", "-----END BAZAAR LOCKED KEY-----"


@pytest.fixture(scope="module")
def locked() -> bytes:
    return keyfile.lock(KEYS.seed, b"correct horse", salt=SALT, nonce=NONCE)


def no_passphrase() -> bytes:
    raise AssertionError("nobody should be asked")


def armoured(fields: list[object]) -> bytes:
    text = base64.b64encode(msgspec.msgpack.encode(fields)).decode()
    return f"{BEGIN}\n{text}\n{END}\n".encode()


def fields_of(blob: bytes) -> list[Any]:
    text = blob.decode().removeprefix(BEGIN).strip().removesuffix(END)
    fields: list[Any] = msgspec.msgpack.decode(base64.b64decode(text))
    return fields


def test_a_plain_file_is_read_back_without_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "home" / "node.key"
    key_files.write(path, KEYS, None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert key_files.read(path, no_passphrase).agent == KEYS.agent
    assert [file.name for file in path.parent.iterdir()] == ["node.key"]


def test_a_locked_file_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    key_files.write(path, KEYS, b"correct horse")
    assert KEYS.seed not in path.read_bytes()
    assert key_files.read(path, lambda: b"correct horse").agent == KEYS.agent
    with pytest.raises(KeyFileError, match=r"node\.key: wrong passphrase"):
        key_files.read(path, lambda: b"wrong")


def test_openssl_reads_a_plain_file(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    path = tmp_path / "node.key"
    key_files.write(path, KEYS, None)
    command = [openssl, "pkey", "-in", str(path), "-pubout", "-outform", "DER"]
    public = subprocess.run(command, check=True, capture_output=True).stdout
    assert public.endswith(KEYS.agent)


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    key_files.write(path, KEYS, None)
    with pytest.raises(KeyFileError, match="exists already"):
        key_files.write(path, Keypair.from_name("mallory"), None)
    assert key_files.read(path, no_passphrase).agent == KEYS.agent
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "my node.key"
    key_files.write(path, KEYS, None)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"chmod 600 '.*my node\.key'"):
        key_files.read(path, no_passphrase)


def test_a_missing_or_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    with pytest.raises(KeyFileError, match="No such file"):
        key_files.read(path, no_passphrase)
    path.touch(mode=0o600)
    path.write_bytes(bytes(10**6))
    with pytest.raises(KeyFileError, match="more than 8192 bytes"):
        key_files.read(path, no_passphrase)


def test_a_passphrase_comes_from_a_private_file_or_a_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_bytes(b" pass phrase \n")
    assert key_files.from_file(path)() == b" pass phrase "
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod"):
        key_files.from_file(path)()
    reader, writer = os.pipe()
    os.write(writer, b"secret\n")
    os.close(writer)
    assert key_files.from_descriptor(reader)() == b"secret"
    with pytest.raises(KeyFileError, match="descriptor"):
        key_files.from_descriptor(reader)()


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    with pytest.raises(KeyFileError, match="empty"):
        key_files.from_file(path)()


def test_the_locked_form_is_fixed(locked: bytes) -> None:
    version, kdf, n, r, p, salt, nonce, ciphertext = fields_of(locked)
    assert [version, kdf, n, r, p, salt, nonce] == [1, "scrypt", 2**17, 8, 1, SALT, NONCE]
    # The same by other hands: OpenSSL's scrypt through the standard library, and libsodium.
    key = hashlib.scrypt(b"correct horse", salt=SALT, n=2**17, r=8, p=1, dklen=32, maxmem=2**28)
    header = [1, "scrypt", 2**17, 8, 1, SALT, NONCE]
    authenticated = b"bazaar/key/1\x00" + msgspec.msgpack.encode(header)
    decrypt = sodium.crypto_aead_chacha20poly1305_ietf_decrypt
    assert decrypt(ciphertext, authenticated, NONCE, key) == KEYS.seed


def test_a_locked_file_without_a_passphrase_is_refused(locked: bytes) -> None:
    assert keyfile.needs_passphrase(locked)
    with pytest.raises(KeyFileError, match="needs its passphrase"):
        keyfile.unlock(locked, None)


@pytest.mark.parametrize(
    ("position", "value"), [(2, 2**21), (3, 17), (4, 5), (2, 0), (0, 2), (1, "argon2"), (5, b"")]
)
def test_greedy_or_unknown_parameters_are_refused(
    locked: bytes, position: int, value: object
) -> None:
    fields = fields_of(locked)
    fields[position] = value
    with pytest.raises(KeyFileError, match="damaged or from another version"):
        keyfile.unlock(armoured(fields), b"correct horse")


def test_an_impossible_cost_is_refused(locked: bytes) -> None:
    fields = fields_of(locked)
    fields[2] = 3  # no power of two
    with pytest.raises(KeyFileError, match="cannot be computed"):
        keyfile.unlock(armoured(fields), b"correct horse")


def test_the_parameters_are_authenticated(locked: bytes) -> None:
    fields = fields_of(locked)
    fields[6] = bytes(11) + b"\x01"
    with pytest.raises(KeyFileError, match="wrong passphrase, or"):
        keyfile.unlock(armoured(fields), b"correct horse")


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\xff" * 100,
        f"{BEGIN}\n".encode(),
        f"{BEGIN}\n!!!!\n{END}\n".encode(),
        f"{BEGIN}\nAAA\n{END}\n".encode(),
        f"{BEGIN}\nAAAA\n{END}\n".encode(),
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_damage_is_a_key_file_error(blob: bytes) -> None:
    with pytest.raises(KeyFileError):
        keyfile.unlock(blob, b"any")


def test_a_cut_file_is_refused(locked: bytes) -> None:
    for end in range(0, len(locked) - 30, 7):
        with pytest.raises(KeyFileError):
            keyfile.unlock(locked[:end], b"correct horse")
