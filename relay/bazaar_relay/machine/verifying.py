"""What is true of a record whatever else is known: its form, its signature, and what it proves."""

from bazaar_protocol.errors import RemoteError
from bazaar_protocol.evidence import check_omission
from bazaar_protocol.evidence_kinds import Omission, Proof
from bazaar_protocol.log import check_proof
from bazaar_protocol.records import Record, unseal


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
