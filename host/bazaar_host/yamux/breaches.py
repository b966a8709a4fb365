"""The ways in which a peer can break the rules of a session, by names that can be counted."""

from enum import StrEnum


class Breach(StrEnum):
    """Why a session was ended by us. A small, fixed set: each value labels a counter."""

    VERSION = "version"
    """A frame of another version of yamux."""
    TYPE = "type"
    """A frame of a type, or with flags, that yamux does not have."""
    STREAM = "stream"
    """A stream number that is not the peer's to open, or not one for such a frame."""
    WINDOW = "window"
    """More data than the window that we had opened."""
    WINDOW_SIZE = "window-size"
    """A window that was opened beyond what 32 bits can hold."""
    DATA_AFTER_END = "data-after-end"
    """Data on a stream whose end the peer had announced."""
    FLOOD = "flood"
    """So many frames that ask for an answer that the answers pile up."""
    SILENT = "silent"
    """Nothing for a while, not even an answer to a ping."""
    STUCK = "stuck"
    """Nothing of what we wrote was read for a while."""
    FORGED = "forged"
    """Bytes that the peer of the handshake did not encrypt, or not at this point."""
