"""The tables of a relay's store.

``record`` is the log of arrivals: a commit appends to it and to ``head``, and that is all. The
tables under it are indexes. They are filled later, many records at a time and in their own order,
which touches each of their pages once for many rows. ``store.merged`` says up to which cursor
they are complete, ``store.merging`` how far the merge under way goes. What is newer stands in
memory, and is read again from ``record`` at start-up. ``store.covered`` says up to which cursor
what needs a receipt is under one; it outlasts the receipts.
"""

from typing import Final

MIGRATIONS: Final = (
    """
    CREATE TABLE store (
        name BLOB NOT NULL, merged INTEGER NOT NULL, merging INTEGER NOT NULL
    ) STRICT;

    -- A route of an older record to one more agent is a row of its own: no bytes, and route_of.
    CREATE TABLE record (
        cursor INTEGER PRIMARY KEY,
        raw BLOB NOT NULL,
        audience BLOB NOT NULL,
        expires_ms INTEGER,
        route_of INTEGER
    ) STRICT;
    CREATE TABLE head (
        author BLOB NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, id BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE by_id (
        id BLOB NOT NULL PRIMARY KEY, cursor INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- Many cursors to a row (postings.py): a row for each would be most of the work of a merge.
    CREATE TABLE by_key (
        key BLOB NOT NULL, last INTEGER NOT NULL, cursors BLOB NOT NULL, PRIMARY KEY (key, last)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE by_seq (
        author BLOB NOT NULL, seq INTEGER NOT NULL, cursor INTEGER NOT NULL,
        PRIMARY KEY (author, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE by_expiry (
        expires_ms INTEGER NOT NULL, cursor INTEGER NOT NULL, PRIMARY KEY (expires_ms, cursor)
    ) STRICT, WITHOUT ROWID;

    -- AUTOINCREMENT, since a number that was collected must not come back with another letter.
    CREATE TABLE letter (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        agent BLOB NOT NULL,
        sealed BLOB NOT NULL,
        expires_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX letter_by_agent ON letter (agent, number);
    CREATE INDEX letter_by_expiry ON letter (expires_ms);
    """,
    # Whose link a letter came on; null for the relay's own.
    "ALTER TABLE letter ADD COLUMN sender BLOB",
    # What came before there were receipts gets none.
    """
    CREATE TABLE receipt (
        last INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        intake BLOB NOT NULL,
        ids BLOB NOT NULL,
        roots BLOB NOT NULL,
        expires_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX receipt_by_expiry ON receipt (expires_ms);
    ALTER TABLE store ADD COLUMN covered INTEGER NOT NULL DEFAULT 0;
    UPDATE store SET covered = (SELECT coalesce(max(cursor), 0) FROM record);
    """,
    # Whose store it is, and of a copy when it was made.
    """
    ALTER TABLE store ADD COLUMN relay BLOB;
    ALTER TABLE store ADD COLUMN backup_ms INTEGER;
    """,
)
