"""The tables of what a node remembers beyond single tasks (``market_memory`` reads them)."""

from typing import Final

MARKET_TABLES: Final = """
    CREATE TABLE outcome (
        number INTEGER PRIMARY KEY,
        task BLOB NOT NULL,
        epoch INTEGER NOT NULL,
        worker BLOB NOT NULL,
        capability TEXT NOT NULL,
        version INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,
        ceiling INTEGER NOT NULL,
        confidence INTEGER,
        eta_ms INTEGER,
        is_good INTEGER NOT NULL,
        took_ms INTEGER NOT NULL,
        is_probe INTEGER NOT NULL,
        UNIQUE (task, epoch)
    ) STRICT;
    CREATE TABLE canary (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        capability TEXT NOT NULL,
        version INTEGER NOT NULL,
        input BLOB NOT NULL,
        media_type TEXT NOT NULL,
        digest BLOB NOT NULL,
        UNIQUE (capability, version, input)
    ) STRICT;
    CREATE TABLE probe (
        number INTEGER PRIMARY KEY,
        task BLOB NOT NULL UNIQUE,
        canary INTEGER NOT NULL,
        worker BLOB NOT NULL,
        price INTEGER NOT NULL,
        salt BLOB NOT NULL,
        digest BLOB NOT NULL
    ) STRICT;
"""
