"""Addresses of PostgreSQL databases, as they stand in settings."""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from bazaar_protocol.errors import ConfigError

PASSWORDS: Final = "a file named by PGPASSFILE, ~/.pgpass, or a service file"
_SCHEMES: Final = ("postgresql", "postgres")


def check_address(address: str) -> None:
    """Refuse what is no address, and one with a password: settings are shown, and processes too.

    Raises:
        ConfigError: It is not one to use.

    """
    try:
        parts = urlsplit(address)
        has_password = parts.password is not None
    except ValueError as error:
        raise ConfigError(f"store: {error}") from error
    if parts.scheme not in _SCHEMES:
        raise ConfigError(
            f"store is sqlite, or an address as postgresql://user@host/database; not {address!r}"
        )
    if has_password or any(name == "password" for name, _ in parse_qsl(parts.query)):
        raise ConfigError(f"store: leave the password out of the address; put it into {PASSWORDS}")


def place_of(address: str) -> str:
    """Return what to call the database at ``address`` in what people read."""
    parts = urlsplit(address)
    host = dict(parse_qsl(parts.query)).get("host") or parts.hostname or "localhost"
    return f"the PostgreSQL database {parts.path.lstrip('/') or 'of the user'} at {host}"
