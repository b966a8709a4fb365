"""What is true of a record whatever else is known: its form, its signature, and what it proves."""

from typing import Final

from bazaar_protocol.errors import BadSignature, RemoteError
from bazaar_protocol.evidence import check_omission
from bazaar_protocol.evidence_kinds import Omission, Proof
from bazaar_protocol.log import check_proof
from bazaar_protocol.records import Record, Signed, parse, unseal

_WITH_RECORDS: Final[frozenset[type]] = frozenset({Proof, Omission})


def verify(raw: bytes) -> Record | RemoteError:
    """Return the record in ``raw``, or what is wrong with it.

    A proof has more signatures inside, so it is checked here, where many threads may do it, and not
    where decisions wait for one another.
    """
    try:
        record = unseal(raw)
        if isinstance(record.body, Proof):
            check_proof(record.body)
        elif isinstance(record.body, Omission):
            check_omission(record.body)
    except RemoteError as error:
        return error
    return record


def read(raw: bytes) -> Signed | RemoteError:
    """Return what ``verify`` looks at before the signature, which is left to the caller."""
    try:
        return parse(raw)
    except RemoteError as error:
        return error


def has_more_inside(record: Record) -> bool:
    """Tell whether the signature of ``record`` is not all that has to be checked."""
    return type(record.body) in _WITH_RECORDS


def bad_signature(record: Record) -> BadSignature:
    """Return what is wrong with a record that its author did not sign."""
    return BadSignature(f"not signed by {record.author.hex()[:12]}")
