"""The process in which schemas of strangers are tried: it may hang or die, and nobody else with it.

``schemas`` starts it as ``python -m bazaar_node.work.schema_worker``. On standard input come jobs,
each two lengths (u32, big-endian), a schema and a document; a length of 2³²-1 says that there is
no document, only a schema to check. Each is answered by one line of JSON: what is wrong, or null.
"""

import json
import resource
import signal
import struct
import sys
from contextlib import suppress
from typing import BinaryIO, Final

from bazaar_node.work import schema_rules
from bazaar_protocol import limits
from bazaar_protocol.errors import MalformedRecord, SchemaMismatch

HEADER: Final = struct.Struct(">II")
NO_DOCUMENT: Final = 2**32 - 1
READY: Final = b"ready\n"
_ALARM_AFTER_S: Final = limits.SCHEMA_TIMEOUT_S + 1


def main() -> None:
    """Do jobs until standard input ends."""
    # Not every system can bound it; where it cannot, the bound on the input has to do.
    with suppress(ValueError, OSError):
        bytes_max = limits.SCHEMA_MEMORY_BYTES_MAX
        resource.setrlimit(resource.RLIMIT_AS, (bytes_max, bytes_max))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the node, which then closes our input
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(READY)
    answers.flush()
    while (job := _read_job(source)) is not None:
        # Should the node die meanwhile, the system ends us: this alarm has no handler, so it works
        # however deep we are in a library.
        signal.setitimer(signal.ITIMER_REAL, _ALARM_AFTER_S)
        answer = _work(*job)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _read_job(source: BinaryIO) -> tuple[bytes, bytes | None] | None:
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    schema_bytes, document_bytes = HEADER.unpack(header)
    schema = source.read(schema_bytes)
    return schema, None if document_bytes == NO_DOCUMENT else source.read(document_bytes)


def _work(schema: bytes, document: bytes | None) -> tuple[str, str, str] | None:
    try:
        if document is None:
            schema_rules.check_schema(schema)
        else:
            schema_rules.check_document(schema, document)
    except SchemaMismatch as error:
        return error.code, error.path, error.reason
    except MalformedRecord as error:
        return error.code, "", str(error)
    except MemoryError:
        return SchemaMismatch.code, "", "too large to be checked"
    return None


if __name__ == "__main__":
    main()
