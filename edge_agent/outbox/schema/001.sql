-- Schema 1. Never edited once released: a change is a new file.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,                   -- epoch, machine, created_ns
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The points of a device as they were configured when rows were written. Immutable; deleted with the last row.
CREATE TABLE point_table (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    digest TEXT NOT NULL,
    content TEXT NOT NULL,                  -- PointTable.to_json
    UNIQUE (device, digest)
) STRICT;

-- The log. AUTOINCREMENT: an id is never given twice, not even after the log has run empty.
CREATE TABLE row (
    epoch TEXT NOT NULL,
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    class TEXT NOT NULL,
    table_version INTEGER NOT NULL,
    n INTEGER NOT NULL,                     -- readings
    t_first INTEGER NOT NULL,               -- ns; for people, never for order or retention
    t_last INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    crc INTEGER NOT NULL,                   -- CRC-32 of body
    body BLOB NOT NULL
) STRICT;

-- Counts without touching the bodies, and which point tables are still needed.
CREATE INDEX row_by_table ON row (table_version, class, n);

CREATE TABLE publisher (
    id TEXT PRIMARY KEY,
    configured INTEGER NOT NULL,            -- 0: removed from the configuration; holds no row back
    added_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a publisher has got through, as ranges of row ids, both ends included.
CREATE TABLE acknowledged (
    publisher TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (publisher, first)
) STRICT, WITHOUT ROWID;

-- What drivers have learned of devices.
CREATE TABLE learned (
    device TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device, key)
) STRICT, WITHOUT ROWID;
