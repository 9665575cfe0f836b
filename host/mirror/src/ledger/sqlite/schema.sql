-- Version 1 of the ledger. Times are seconds since 1970-01-01 UTC. Digests are text, so that `sqlite3 FILE` can be read.

CREATE TABLE mirror (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'running', 'finished', 'stopped')),
    file_digest TEXT NOT NULL,
    selection TEXT NOT NULL,
    worker TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    totals TEXT
) STRICT;

CREATE TABLE item (
    -- Never given again: a lease of an item that was forgotten must not fit another one.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES run,
    -- The run that added it, and the last one that changed its destination.
    added_run INTEGER NOT NULL,
    changed_run INTEGER,
    source TEXT NOT NULL,
    destination TEXT NOT NULL UNIQUE,
    src_host TEXT NOT NULL,
    dst_host TEXT NOT NULL,
    dst_repo TEXT NOT NULL,
    rule INTEGER NOT NULL,
    content TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('planned', 'leased', 'done', 'failed', 'blocked', 'retry', 'dead', 'extra')),
    attempt INTEGER NOT NULL DEFAULT 0,
    -- When a wait began and when it ends. A wait that begins in the future is over: the clock went back.
    since INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0,
    lease_by TEXT,
    lease_gen INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    want_digest TEXT,
    have_digest TEXT,
    level TEXT,
    verified_at INTEGER,
    outcome TEXT,
    verdict TEXT,
    error_class TEXT,
    error TEXT,
    hint TEXT,
    bytes_sent INTEGER NOT NULL DEFAULT 0,
    bytes_mounted INTEGER NOT NULL DEFAULT 0,
    ended INTEGER,
    CHECK ((state = 'leased') = (lease_by IS NOT NULL)),
    CHECK ((state = 'done') = (outcome IS NOT NULL)),
    CHECK ((have_digest IS NULL) = (verified_at IS NULL) AND (have_digest IS NULL) = (level IS NULL))
) STRICT;

CREATE INDEX item_ready ON item (run, src_host, dst_host, id) WHERE state = 'planned';
CREATE INDEX item_retry ON item (run, not_before) WHERE state = 'retry';
CREATE INDEX item_leased ON item (id) WHERE state = 'leased';
CREATE INDEX item_failure ON item (run, id) WHERE state IN ('failed', 'blocked', 'dead');
CREATE INDEX item_repo ON item (dst_host, dst_repo);

CREATE TABLE receipt (
    item INTEGER PRIMARY KEY REFERENCES item ON DELETE CASCADE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE object (
    item INTEGER NOT NULL REFERENCES item ON DELETE CASCADE,
    number INTEGER NOT NULL,
    role TEXT NOT NULL,
    digest TEXT,
    size INTEGER,
    status TEXT NOT NULL,
    found TEXT,
    PRIMARY KEY (item, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    -- First 31 bits of the digest, for subsets.
    bucket INTEGER NOT NULL,
    -- 0 bad, 1 never read, 2 good: the order of verification.
    rank INTEGER NOT NULL DEFAULT 1 CHECK (rank IN (0, 1, 2)),
    -- 0 for never.
    verified_at INTEGER NOT NULL DEFAULT 0,
    -- The run that recorded it last.
    checked_run INTEGER NOT NULL DEFAULT 0,
    found TEXT,
    UNIQUE (host, digest)
) STRICT;

CREATE INDEX blob_due ON blob (rank, verified_at, id);

CREATE TABLE link (
    blob INTEGER NOT NULL REFERENCES blob ON DELETE CASCADE,
    repo TEXT NOT NULL,
    noted INTEGER NOT NULL,
    PRIMARY KEY (blob, repo)
) STRICT, WITHOUT ROWID;

CREATE INDEX link_repo ON link (repo, blob);

CREATE TABLE created (
    config TEXT PRIMARY KEY,
    at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE referrers (
    host TEXT NOT NULL,
    repo TEXT NOT NULL,
    subject TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    PRIMARY KEY (host, repo, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE host (
    name TEXT PRIMARY KEY,
    has_referrers INTEGER,
    paused_since INTEGER NOT NULL DEFAULT 0,
    paused_until INTEGER NOT NULL DEFAULT 0,
    pulls_left INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    run INTEGER NOT NULL,
    item INTEGER,
    worker TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE INDEX event_run ON event (run);

CREATE TABLE export (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    run INTEGER NOT NULL,
    since INTEGER,
    place TEXT NOT NULL
) STRICT;

-- Answers of hosts, by status; 0 for requests without an answer.
CREATE TABLE request (
    run INTEGER NOT NULL,
    host TEXT NOT NULL,
    code INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (run, host, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE moved (
    run INTEGER PRIMARY KEY,
    sent INTEGER NOT NULL,
    mounted INTEGER NOT NULL
) STRICT;

-- Sources of a run that could not be listed, or of which the rules select nothing.
CREATE TABLE unlisted (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    class TEXT NOT NULL,
    error TEXT NOT NULL,
    hint TEXT,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
