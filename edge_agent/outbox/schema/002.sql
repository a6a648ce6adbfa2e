-- Schema 2: bounds, losses, accounting, dead letters, anchors of the clock.

ALTER TABLE row ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;     -- 0 readings; 1 gap record: n = 0, codec 2
ALTER TABLE row ADD COLUMN anchor INTEGER;                      -- anchor.id; null: the times are right as they are

-- Eviction goes by class, then by id.
CREATE INDEX row_by_class ON row (class, kind, id);

-- Accounting in readings. owed = confirmed + dropped + what is pending.
ALTER TABLE publisher ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;       -- ever committed for it
ALTER TABLE publisher ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE publisher ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;

UPDATE publisher SET owed = (
    SELECT coalesce(sum(n), 0) FROM row WHERE NOT EXISTS (
        SELECT 1 FROM acknowledged
        WHERE acknowledged.publisher = publisher.id AND row.id BETWEEN acknowledged.first AND acknowledged.last
    )
);

-- What was lost, from when to when, for whom, and why. Neighbours are merged; the oldest entries go first.
CREATE TABLE loss (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    class TEXT NOT NULL,                    -- '' where a file was lost and nobody can say
    publisher TEXT NOT NULL,                -- '*': all that were configured
    epoch TEXT NOT NULL,
    row_first INTEGER NOT NULL,             -- 0: was lost before it got a row
    row_last INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    t_first INTEGER NOT NULL,               -- ns, acquisition
    t_last INTEGER NOT NULL,
    reason TEXT NOT NULL,                   -- full, age, newest, memory, damaged, refused
    noted_ns INTEGER NOT NULL,
    is_reported INTEGER NOT NULL DEFAULT 0  -- 1: its gap record is in the log, or was
) STRICT;
CREATE INDEX loss_to_report ON loss (id) WHERE is_reported = 0;

-- Completeness by UTC day of acquisition and device.
CREATE TABLE day (
    day TEXT NOT NULL,                      -- 2026-11-23
    device TEXT NOT NULL,
    committed INTEGER NOT NULL,
    lost INTEGER NOT NULL,                  -- at least one publisher never gets it, or it never reached the disk
    PRIMARY KEY (day, device)
) STRICT, WITHOUT ROWID;

-- How old rows are, without a clock that may step: at this age of the log, its last row was row_id.
CREATE TABLE age_mark (
    age_s INTEGER PRIMARY KEY,
    row_id INTEGER NOT NULL
) STRICT;

-- Rows that a broker refused for what they are.
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    publisher TEXT NOT NULL,
    reason TEXT NOT NULL,
    noted_ns INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    row_id INTEGER NOT NULL,
    device TEXT NOT NULL,
    class TEXT NOT NULL,
    table_version INTEGER NOT NULL,
    n INTEGER NOT NULL,
    t_first INTEGER NOT NULL,
    t_last INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL,
    kind INTEGER NOT NULL,
    anchor INTEGER
) STRICT;

-- Where wall time and monotonic time were in one boot; rows that name an anchor get their true time from it.
CREATE TABLE anchor (
    id INTEGER PRIMARY KEY,
    boot_id TEXT NOT NULL,
    monotonic_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    is_synced INTEGER NOT NULL
) STRICT;

-- Rows that were given up: with what every publisher has, all that is missing between the first row and the last.
CREATE TABLE gone (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;
