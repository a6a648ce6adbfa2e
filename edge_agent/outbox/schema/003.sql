-- Schema 3: a loss can name points.

-- JSON list of their names; '': any point of the device and class.
ALTER TABLE loss ADD COLUMN points TEXT NOT NULL DEFAULT '';
