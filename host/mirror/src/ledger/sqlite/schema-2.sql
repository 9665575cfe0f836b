-- Version 2: what exports carried to the other side of an air gap, and which exports were imported.

-- Digest of the document of the export; NULL for marks of version 1.
ALTER TABLE export ADD COLUMN digest TEXT;

-- Blobs that an export has itself, and the first repository that got each of them.
CREATE TABLE carried (
    run INTEGER NOT NULL,
    digest TEXT NOT NULL,
    repo TEXT NOT NULL,
    PRIMARY KEY (digest, run)
) STRICT, WITHOUT ROWID;

-- What an export says of a destination: a digest over everything that the image consists of.
CREATE TABLE exported (
    run INTEGER NOT NULL,
    destination TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (destination, run)
) STRICT, WITHOUT ROWID;

CREATE TABLE import (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    -- Digest of the document of the export, and its run at the other side.
    export TEXT NOT NULL,
    run INTEGER NOT NULL,
    destination TEXT NOT NULL
) STRICT;
