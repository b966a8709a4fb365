"""Every error raised on purpose, split by whose fault it is.

The split decides what the caller may do. A ``RemoteError`` is everyday life on an open network:
drop the input, count it against the peer, carry on. A ``LocalError`` is for the operator to fix.
Anything else, ``AssertionError`` included, is a bug: nobody catches it and the process stops.
"""

from typing import ClassVar


class BazaarError(Exception):
    """Base class of every error this project raises on purpose."""

    code: ClassVar[str] = "bazaar"
    """Stable, machine-readable name. Programs match on it; never reuse or rename one."""


class RemoteError(BazaarError):
    """A peer broke the protocol, or what it sent does not fit what we know."""


class MalformedRecord(RemoteError):
    """Bytes that are not the one canonical encoding of a value the protocol allows."""

    code = "malformed"


class TooLarge(MalformedRecord):
    """Well formed perhaps, but past a limit; nothing was decoded."""

    code = "too-large"


class BadSignature(RemoteError):
    """A signature that does not match the author, the purpose and the bytes."""

    code = "signature"


class BrokenChain(RemoteError):
    """Records that do not follow one another in one author's log."""

    code = "gap"


class Contradiction(RemoteError):
    """Two records by one author for one position of its log; what that proves is another matter."""

    code = "fork"


class Equivocation(Contradiction):
    """Two records by one author for one position of its log: ``proof`` convinces anyone."""

    def __init__(self, first: bytes, second: bytes) -> None:
        super().__init__("the author signed two records for one position of its log")
        self.proof = (first, second)


class IllegalTransition(RemoteError):
    """An event that the state of the task does not allow; the task is unchanged."""

    code = "illegal"

    def __init__(self, state: str, event: str, why: str = "") -> None:
        super().__init__(f"a task that is {state} takes no {event}" + (f": {why}" if why else ""))
        self.state = state
        self.event = event


class StaleEpoch(RemoteError):
    """A record from an attempt that is over: its lease was lost. The task is unchanged."""

    code = "stale"

    def __init__(self, *, have: int, need: int) -> None:
        super().__init__(f"epoch {have} is over, the task is at epoch {need}")
        self.have = have
        self.need = need


class Refused(RemoteError):
    """A peer said no, with a machine-readable ``prefix`` before its reason."""

    code = "refused"

    def __init__(self, prefix: str, reason: str) -> None:
        super().__init__(f"{prefix}: {reason}" if reason else prefix)
        self.prefix = prefix


class LinkClosed(RemoteError):
    """The connection to a peer ended; what was not acknowledged may not have arrived."""

    code = "link-closed"


class BrokenSession(RemoteError):
    """A peer broke the rules of a layer below our frames; ``breach`` is one of a small set."""

    code = "session"

    def __init__(self, breach: str, text: str) -> None:
        super().__init__(text)
        self.breach = breach


class PeerLied(RemoteError):
    """A peer of a relay showed what it cannot have checked; ``fault`` is one of a small set."""

    code = "peer-lied"

    def __init__(self, fault: str, text: str) -> None:
        super().__init__(f"{fault}: {text}")
        self.fault = fault


class Unreachable(RemoteError):
    """None of a peer's addresses answered, or not as that peer."""

    code = "unreachable"


class SchemaMismatch(RemoteError):
    """A document that is not what the schema asks for, at ``path`` (a JSON pointer)."""

    code = "schema"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"at {path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason


class LocalError(BazaarError):
    """Our own side cannot do what it was asked to do; the operator can mend it."""

    exit_status: ClassVar[int] = 1


class ConfigError(LocalError):
    """The configuration, the command line or a file that the user named is wrong."""

    code = "config"
    exit_status = 2


class KeyFileError(ConfigError):
    """A key file that is missing, damaged, readable by others, or locked by another passphrase."""

    code = "key-file"


class AddressInUse(LocalError):
    """We cannot listen on the address that we were given."""

    code = "address-in-use"


class StorageError(LocalError):
    """The database is missing, full, corrupt, in use, or from a newer version."""

    code = "storage"


class StorageFull(StorageError):
    """There is no room left; nothing of the failed write remains, and reading still works."""

    code = "storage-full"
    exit_status = 75


class OldBackup(LocalError):
    """The relays know a later record of ours than our own store: signing now would fork the log."""

    code = "old-backup"


class RestoredStore(LocalError):
    """What a relay keeps comes from a backup: only one with a new key may go on with it."""

    code = "restored-store"


class LogForked(LocalError):
    """Our log went on in two ways, and not by our doing: two nodes, or a thief, have our key."""

    code = "log-forked"


class IdentityEnded(LocalError):
    """Our recovery key has ended our identity, and another one carries on."""

    code = "ended"


class NotRunning(LocalError):
    """There is no node to talk to."""

    code = "not-running"
    exit_status = 3


class NotFound(LocalError):
    """No such task, agent or file."""

    code = "not-found"
    exit_status = 4


class ProgramFailed(LocalError):
    """A program that the operator named did not do its work; ``lines`` are its last words.

    ``status`` is its exit status, negative for a signal; none if it never began or was stopped.
    """

    code = "program"

    def __init__(
        self, reason: str, *, status: int | None = None, lines: tuple[str, ...] = ()
    ) -> None:
        super().__init__(": ".join((reason, *lines[-1:])))
        self.reason = reason
        self.status = status
        self.lines = lines


class TimedOut(LocalError):
    """What was waited for did not happen in time; it may happen later."""

    code = "timed-out"
    exit_status = 7


class NotReady(LocalError):
    """It cannot be done yet; trying again later may help."""

    code = "not-ready"
    exit_status = 75
