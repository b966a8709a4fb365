"""What nodes tell one another under seal, through a relay's mail: data too private for a record.

Nothing here is evidence. Each letter supports a record that is, and is checked against it.
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from bazaar_protocol import codec, limits
from bazaar_protocol.fields import Id, Seq
from bazaar_protocol.kinds import BidTerms

_Data: TypeAlias = Annotated[bytes, Meta(max_length=limits.MAILED_BYTES_MAX)]


class TaskInput(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="input"
):
    """The poster sends a private input to the worker that holds the award."""

    task: Id
    data: _Data


class TaskResult(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="result"
):
    """The worker sends a small result to the poster, beside its ``deliver``."""

    task: Id
    epoch: Seq
    data: _Data


class Renewed(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="renewed"
):
    """The sequencer answers a heartbeat: the lease runs again from when that was sent."""

    task: Id
    epoch: Seq
    heartbeat: Id


class SealedTerms(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="terms"
):
    """What a sealed bid hides."""

    task: Id
    salt: Id
    terms: BidTerms


class Invitation(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="invitation"
):
    """The poster would like a bid of the recipient's for this task of its own."""

    task: Id


Letter: TypeAlias = TaskInput | TaskResult | Renewed | SealedTerms | Invitation


def encode_letter(letter: Letter) -> bytes:
    """Encode ``letter`` for ``sealing.seal_to``."""
    return codec.encode(letter)


def decode_letter(content: bytes) -> Letter:
    """Read what ``sealing.open_sealed`` gave.

    Raises:
        MalformedRecord: It is no letter.

    """
    return codec.decode(content, _LETTER)


_LETTER: Final[msgspec.msgpack.Decoder[Letter]] = msgspec.msgpack.Decoder(Letter)
