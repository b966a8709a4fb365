"""The tables of a relay's store in PostgreSQL, and whether they are ours.

``store`` has one row. Whoever commits locks it first, so cursors and letters have numbers in the
order of the commits, and nobody ever sees one of them before a smaller one. The other tables are
what SQLite has, with the indexes of PostgreSQL in place of our own.
"""

from typing import Any, Final

from bazaar_protocol.errors import ConfigError, StorageError
from bazaar_protocol.identity import AgentId, to_did

SCHEMA: Final = "bazaar_relay"

_LOCK: Final = 0x62617A616172  # "bazaar"; held while tables are made
_MIGRATIONS: Final = (
    """
    CREATE TABLE store (
        only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
        name bytea NOT NULL,
        relay bytea,
        cursor bigint NOT NULL DEFAULT 0,
        letter bigint NOT NULL DEFAULT 0,
        covered bigint NOT NULL DEFAULT 0
    );

    -- A route of an older record to one more agent is a row of its own: no bytes, and route_of.
    CREATE TABLE record (
        cursor bigint PRIMARY KEY,
        id bytea,
        author bytea,
        seq bigint,
        raw bytea NOT NULL,
        audience bytea NOT NULL,
        expires_ms bigint,
        route_of bigint
    );
    CREATE UNIQUE INDEX record_by_id ON record (id) WHERE id IS NOT NULL;
    CREATE UNIQUE INDEX record_by_seq ON record (author, seq) WHERE seq > 0;
    CREATE INDEX record_by_expiry ON record (expires_ms) WHERE expires_ms IS NOT NULL;
    CREATE INDEX record_by_route ON record (route_of) WHERE route_of IS NOT NULL;
    CREATE TABLE head (author bytea PRIMARY KEY, seq bigint NOT NULL, id bytea NOT NULL);
    CREATE TABLE posting (key bytea, cursor bigint, PRIMARY KEY (key, cursor));

    CREATE TABLE letter (
        number bigint PRIMARY KEY,
        agent bytea NOT NULL,
        sealed bytea NOT NULL,
        expires_ms bigint NOT NULL,
        sender bytea
    );
    CREATE INDEX letter_by_agent ON letter (agent, number);
    CREATE INDEX letter_by_expiry ON letter (expires_ms);

    CREATE TABLE receipt (
        last bigint PRIMARY KEY,
        first bigint NOT NULL,
        intake bytea NOT NULL,
        ids bytea NOT NULL,
        roots bytea NOT NULL,
        expires_ms bigint NOT NULL
    );
    CREATE INDEX receipt_by_expiry ON receipt (expires_ms);

    -- Who listens at which process: true only while that process says so.
    CREATE UNLOGGED TABLE listening (
        process bytea PRIMARY KEY, agents bytea NOT NULL, said timestamptz NOT NULL
    );
    """,
)


async def prepare(db: Any, *, name: bytes, relay: AgentId | None, place: str) -> bytes:
    """Make or bring up to date the tables, inside a transaction; return the store's name.

    Raises:
        StorageError: A newer version made them.
        ConfigError: They are another relay's.

    """
    await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    await db.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    await db.execute("CREATE TABLE IF NOT EXISTS version (number integer NOT NULL)")
    version = await db.fetchval("SELECT coalesce(max(number), 0) FROM version")
    if version > len(_MIGRATIONS):
        raise StorageError(
            f"{place} was written by a newer version: its schema is number {version}, this "
            f"program knows {len(_MIGRATIONS)}"
        )
    for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
        await db.execute(script)
        await db.execute("INSERT INTO version VALUES ($1)", number)
    await db.execute("INSERT INTO store (name) VALUES ($1) ON CONFLICT DO NOTHING", name)
    if relay is not None:
        await db.execute("UPDATE store SET relay = $1 WHERE relay IS NULL", relay)
    row = await db.fetchrow("SELECT name, relay FROM store")
    if relay is not None and row["relay"] != relay:
        raise ConfigError(
            f"{place} is the store of another relay, {to_did(AgentId(row['relay']))}; this one is "
            f"{to_did(relay)}. Each relay needs a database of its own"
        )
    kept: bytes = row["name"]
    return kept
