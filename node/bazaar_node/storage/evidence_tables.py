"""Where a node keeps the histories of others, the evidence in them and what follows from it."""

from typing import Final

EVIDENCE_TABLES: Final = """
    -- Every record that was verified and kept, whatever its age, within the protocol's limits.
    CREATE TABLE evidence (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        author BLOB NOT NULL,
        seq INTEGER NOT NULL,
        prev BLOB NOT NULL,
        parent BLOB,
        link_author BLOB,
        link_seq INTEGER,
        about BLOB,     -- the task of an award, whom a succession ends
        contract BLOB,  -- and, of a loose record, anything but null once it has found its place
        raw BLOB NOT NULL
    ) STRICT;
    CREATE INDEX evidence_place ON evidence (author, seq);
    CREATE INDEX evidence_parent ON evidence (parent) WHERE parent IS NOT NULL;
    CREATE INDEX evidence_about ON evidence (about) WHERE about IS NOT NULL;
    CREATE INDEX evidence_contract ON evidence (contract, kind, author, seq, id)
        WHERE contract IS NOT NULL;
    CREATE INDEX evidence_vouch ON evidence (author) WHERE kind = 'vouch';
    CREATE INDEX evidence_parked ON evidence (number) WHERE seq = 0 AND contract IS NULL;
    CREATE INDEX evidence_link ON evidence (link_author, link_seq)
        WHERE link_author IS NOT NULL AND contract IS NULL;

    -- One author's log, as far as it is held: entries first to whole follow one another.
    CREATE TABLE author (
        agent BLOB PRIMARY KEY,
        circle INTEGER NOT NULL,
        first INTEGER NOT NULL DEFAULT 0,
        whole INTEGER NOT NULL DEFAULT 0,
        whole_id BLOB NOT NULL DEFAULT x'',
        head INTEGER NOT NULL DEFAULT 0,
        entries INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        interest_ms INTEGER NOT NULL DEFAULT 0,
        asked_ms INTEGER NOT NULL DEFAULT 0,
        wanted_ms INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX author_wanted ON author (circle, wanted_ms) WHERE wanted_ms IS NOT NULL;

    CREATE TABLE strand (
        number INTEGER PRIMARY KEY,
        role TEXT NOT NULL,
        subject BLOB NOT NULL,
        rater BLOB NOT NULL,
        capability TEXT NOT NULL,
        version INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,
        UNIQUE (subject, role, rater, capability, version, fingerprint)
    ) STRICT;
    CREATE INDEX strand_rater ON strand (rater);
    CREATE TABLE tally (strand INTEGER PRIMARY KEY, tally BLOB NOT NULL) STRICT;
    CREATE TABLE finding (
        contract BLOB NOT NULL,
        strand INTEGER NOT NULL,
        round INTEGER NOT NULL,
        record BLOB NOT NULL,
        is_good INTEGER NOT NULL,
        weight INTEGER NOT NULL,
        why TEXT NOT NULL
    ) STRICT;
    CREATE INDEX finding_contract ON finding (contract);
    CREATE INDEX finding_strand ON finding (strand, round, record, contract);
    CREATE TABLE unsettled (
        author BLOB NOT NULL,
        seq INTEGER NOT NULL,
        contract BLOB NOT NULL,
        PRIMARY KEY (author, seq, contract)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX unsettled_contract ON unsettled (contract);

    CREATE TABLE conviction (
        agent BLOB PRIMARY KEY, claim TEXT NOT NULL, place INTEGER NOT NULL, record BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE log_end (
        old BLOB PRIMARY KEY,
        new BLOB NOT NULL,
        last_seq INTEGER NOT NULL,
        record BLOB NOT NULL,
        has_agreed INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX log_end_new ON log_end (new);
    CREATE TABLE stamp (agent BLOB PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;

    -- What is wrong with histories, by name.
    CREATE TABLE flaw (
        agent BLOB NOT NULL,
        what TEXT NOT NULL,
        place INTEGER NOT NULL,
        last INTEGER NOT NULL,
        source BLOB NOT NULL,
        note TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (agent, what, place, source)
    ) STRICT, WITHOUT ROWID;
    -- The newest entry of a log that a relay had when it was asked.
    CREATE TABLE served (
        author BLOB NOT NULL,
        relay BLOB NOT NULL,
        seq INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (author, relay)
    ) STRICT, WITHOUT ROWID;
    -- A relay's newest receipt for an entry of ours.
    CREATE TABLE receipt (
        relay BLOB PRIMARY KEY,
        seq INTEGER NOT NULL,
        entry BLOB NOT NULL,
        intake BLOB NOT NULL,
        place INTEGER NOT NULL,
        path BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- What we have to tell every relay, and which has it.
    CREATE TABLE word (id BLOB PRIMARY KEY, raw BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE told (
        id BLOB NOT NULL, relay BLOB NOT NULL, PRIMARY KEY (id, relay)
    ) STRICT, WITHOUT ROWID;
    -- What our tasks brought, until it is looked at. Not by a cursor: numbers of records that are
    -- forgotten come again.
    CREATE TABLE unread (number INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
    INSERT INTO unread (record) SELECT id FROM record ORDER BY number;
    CREATE TRIGGER record_unread AFTER INSERT ON record BEGIN
        INSERT INTO unread (record) VALUES (new.id);
    END;
    -- Evidence that a subscription brought, until it is looked at.
    CREATE TABLE witnessed (
        number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, raw BLOB NOT NULL
    ) STRICT;
"""
