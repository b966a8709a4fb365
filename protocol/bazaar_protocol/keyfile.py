"""The bytes of a key file: an agent's seed, plain or locked by a passphrase.

Plain, it is the PKCS #8 PEM that OpenSSL and everybody else reads. Locked, it is an envelope of our
own: where PKCS #8 as ``cryptography`` writes it takes a guess of the passphrase in less than a
millisecond, scrypt (RFC 7914) makes each cost 128 MiB and a fraction of a second.
ChaCha20-Poly1305 (RFC 8439) tells a wrong passphrase from the right one.
"""

import base64
import binascii
import re
import textwrap
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from bazaar_protocol import codec, limits
from bazaar_protocol.errors import KeyFileError, MalformedRecord

SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
SCRYPT_N: Final = 2**17
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1

_SEED_BYTES: Final = 32
_KEY_BYTES: Final = 32
_DOMAIN: Final = b"bazaar/key/1\x00"
_LABEL: Final = "BAZAAR LOCKED KEY"
_BEGIN: Final = f"-----BEGIN {_LABEL}-----".encode()
_LOCKED: Final = re.compile(
    rf"\s*-----BEGIN {_LABEL}-----\s+([A-Za-z0-9+/=\s]+)-----END {_LABEL}-----\s*".encode()
)
_PEM_LINE_CHARS: Final = 64


class _Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: Literal[1]
    kdf: Literal["scrypt"]
    n: Annotated[int, msgspec.Meta(ge=2, le=limits.SCRYPT_N_MAX)]
    r: Annotated[int, msgspec.Meta(ge=1, le=limits.SCRYPT_R_MAX)]
    p: Annotated[int, msgspec.Meta(ge=1, le=limits.SCRYPT_P_MAX)]
    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    nonce: Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    ciphertext: Annotated[bytes, msgspec.Meta(min_length=48, max_length=48)]


_ENVELOPE: Final = msgspec.msgpack.Decoder(_Envelope)


def lock(seed: bytes, passphrase: bytes | None, *, salt: bytes, nonce: bytes) -> bytes:
    """Return the key file for ``seed``; without a passphrase anyone who reads it has the key.

    ``salt`` and ``nonce`` have to be fresh random bytes for each file.
    """
    assert len(seed) == _SEED_BYTES
    if passphrase is None:
        key = Ed25519PrivateKey.from_private_bytes(seed)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    header = _Envelope(1, "scrypt", SCRYPT_N, SCRYPT_R, SCRYPT_P, salt, nonce, b"")
    sealed = _cipher(header, passphrase).encrypt(nonce, seed, _associated_data(header))
    envelope = codec.encode(msgspec.structs.replace(header, ciphertext=sealed))
    lines = textwrap.wrap(base64.b64encode(envelope).decode("ascii"), _PEM_LINE_CHARS)
    text = [f"-----BEGIN {_LABEL}-----", *lines, f"-----END {_LABEL}-----", ""]
    return "\n".join(text).encode("ascii")


def needs_passphrase(blob: bytes) -> bool:
    """Tell whether the key file ``blob`` is locked."""
    return blob.lstrip().startswith(_BEGIN)


def unlock(blob: bytes, passphrase: bytes | None) -> bytes:
    """Return the seed in the key file ``blob``; a plain one needs no passphrase.

    Raises:
        KeyFileError: It is damaged or of another kind, or the passphrase is missing or wrong.

    """
    if not needs_passphrase(blob):
        return _read_plain(blob)
    if passphrase is None:
        raise KeyFileError("the key file is locked: it needs its passphrase")
    envelope = _read_envelope(blob)
    try:
        cipher = _cipher(envelope, passphrase)
        return cipher.decrypt(envelope.nonce, envelope.ciphertext, _associated_data(envelope))
    except InvalidTag as error:
        raise KeyFileError("wrong passphrase, or the key file is damaged") from error
    except (ValueError, MemoryError) as error:
        raise KeyFileError(f"the key file asks for what cannot be computed: {error}") from error


def _read_envelope(blob: bytes) -> _Envelope:
    text = _LOCKED.fullmatch(blob)
    if text is None:
        raise KeyFileError("the key file is damaged: its last line or some of its text is missing")
    try:
        raw = base64.b64decode(b"".join(text[1].split()), validate=True)
        return codec.decode(raw, _ENVELOPE, bytes_max=limits.KEY_FILE_BYTES_MAX)
    except (binascii.Error, MalformedRecord) as error:
        raise KeyFileError(f"the key file is damaged or from another version: {error}") from error


def _read_plain(blob: bytes) -> bytes:
    try:
        key = load_pem_private_key(blob, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("not a key file, or a damaged one") from error
    except TypeError as error:
        raise KeyFileError(
            "the key file was locked by another program; unlock it with: openssl pkey -in FILE"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError("the key file holds another kind of key: an Ed25519 key is needed")
    return key.private_bytes_raw()


def _cipher(envelope: _Envelope, passphrase: bytes) -> ChaCha20Poly1305:
    scrypt = Scrypt(salt=envelope.salt, length=_KEY_BYTES, n=envelope.n, r=envelope.r, p=envelope.p)
    return ChaCha20Poly1305(scrypt.derive(passphrase))


def _associated_data(envelope: _Envelope) -> bytes:
    *header, _ciphertext = msgspec.structs.astuple(envelope)
    return _DOMAIN + codec.encode(header)
