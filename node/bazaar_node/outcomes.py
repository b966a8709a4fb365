"""What a failure means to whoever asked: an exit status, an HTTP status, and what to type next."""

from typing import Final

from bazaar_protocol.errors import (
    AddressInUse,
    BazaarError,
    ConfigError,
    IdentityEnded,
    IllegalTransition,
    KeyFileError,
    LinkClosed,
    LocalError,
    LogForked,
    NotFound,
    NotRunning,
    OldBackup,
    Refused,
    RemoteError,
    RestoredStore,
    StaleEpoch,
    StorageError,
    StorageFull,
    TimedOut,
    TooLarge,
    Unreachable,
)

OK: Final = 0
BUG: Final = 1
USAGE: Final = 2
LEASE_LOST: Final = 5
REFUSED: Final = 6
TIMED_OUT: Final = 7
WAITS_FOR_HUMAN: Final = 8
TRY_AGAIN: Final = 75
INTERRUPTED: Final = 130

# The first class that fits counts, so the narrow ones stand before the wide ones.
_EXIT_STATUS: Final[tuple[tuple[type[BazaarError], int], ...]] = (
    (StaleEpoch, LEASE_LOST),
    (Unreachable, TRY_AGAIN),
    (LinkClosed, TRY_AGAIN),
    (RemoteError, REFUSED),
)
_HTTP_STATUS: Final[tuple[tuple[type[BazaarError], int], ...]] = (
    (TooLarge, 413),
    (StaleEpoch, 409),
    (IllegalTransition, 409),
    (Refused, 409),
    (Unreachable, 502),
    (LinkClosed, 502),
    (RemoteError, 422),
    (NotFound, 404),
    (ConfigError, 400),
    (TimedOut, 408),
    (StorageFull, 507),
    (LocalError, 503),
)
_NEXT: Final[tuple[tuple[type[BazaarError], str], ...]] = (
    (NotRunning, "bazaar up"),
    (NotFound, "bazaar tasks"),
    (KeyFileError, "bazaar doctor"),
    (ConfigError, "bazaar --help"),
    (StaleEpoch, "bazaar work next"),
    (IllegalTransition, "bazaar tasks"),
    (Unreachable, "bazaar doctor"),
    (LinkClosed, "bazaar doctor"),
    (Refused, "bazaar status"),
    (RemoteError, "bazaar status"),
    (StorageFull, "bazaar doctor"),
    (OldBackup, "bazaar recover"),
    (RestoredStore, "bazaar relay restore --help"),
    (IdentityEnded, "bazaar key show"),
    (LogForked, "bazaar key recover --recovery-key FILE"),
    (AddressInUse, "bazaar status"),
    (StorageError, "bazaar doctor"),
    (TimedOut, "bazaar status"),
)


def exit_status(error: BazaarError) -> int:
    """Return the exit status of a command that ended with ``error``."""
    if isinstance(error, LocalError):
        return error.exit_status
    return _first(_EXIT_STATUS, error, BUG)


def http_status(error: BazaarError) -> int:
    """Return the status of an HTTP answer that says ``error``."""
    return _first(_HTTP_STATUS, error, 500)


def next_command(error: BazaarError) -> str:
    """Return the command that helps with ``error``; empty if there is none."""
    for cls, command in _NEXT:
        if isinstance(error, cls):
            return command
    return ""


def _first(table: tuple[tuple[type[BazaarError], int], ...], error: BazaarError, other: int) -> int:
    return next((status for cls, status in table if isinstance(error, cls)), other)
