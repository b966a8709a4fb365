"""A process that checks signatures and does nothing else.

It is run as ``python -m bazaar_relay.serving.checker``.

A job is its size, then for each signature its author, how long it and what it covers are together,
and those bytes. The answer is a byte for each: 1 for good. It ends when its standard input does.
"""

import signal
import struct
import sys
from typing import BinaryIO, Final

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

SIZE: Final = struct.Struct("<I")
HEAD: Final = struct.Struct("<32sI")


def check_all(job: bytes) -> bytes:
    """Return a byte for each signature of ``job``."""
    answer = bytearray()
    start = 0
    while start < len(job):
        author, size = HEAD.unpack_from(job, start)
        start += HEAD.size
        try:
            crypto_sign_open(job[start : start + size], author)
        except (BadSignatureError, ValueError):
            answer.append(0)
        else:
            answer.append(1)
        start += size
    return bytes(answer)


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Answer one job after the other, until there are no more."""
    while len(head := jobs.read(SIZE.size)) == SIZE.size:
        answers.write(check_all(jobs.read(*SIZE.unpack(head))))
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the relay, which ends this then
    serve(sys.stdin.buffer, sys.stdout.buffer)
