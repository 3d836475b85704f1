-- The database of a reviewed folder. `reading` and `correction` only ever grow.

CREATE TABLE IF NOT EXISTS database (  -- its name: a browser must not write into another one
  id INTEGER PRIMARY KEY CHECK (id = 1),
  name TEXT NOT NULL
);
INSERT OR IGNORE INTO database VALUES (1, lower(hex(randomblob(8))));

CREATE TABLE IF NOT EXISTS file (      -- where the pictures are now; found again at each start
  path     TEXT PRIMARY KEY,           -- relative to the folder, with slashes
  hash     TEXT NOT NULL,              -- SHA-256 of the content
  size     INTEGER NOT NULL,
  modified INTEGER NOT NULL            -- nanoseconds
);
CREATE INDEX IF NOT EXISTS file_hash ON file (hash);

CREATE TABLE IF NOT EXISTS page (      -- one picture, or one page of a document
  id     INTEGER PRIMARY KEY,
  hash   TEXT NOT NULL,
  number INTEGER NOT NULL,             -- from 1
  UNIQUE (hash, number)
);

CREATE TABLE IF NOT EXISTS reading (   -- what a model read
  id         INTEGER PRIMARY KEY,
  page       INTEGER NOT NULL REFERENCES page,
  model      TEXT NOT NULL,            -- the first half of the SHA-256 of the model file
  time       TEXT NOT NULL,            -- UTC, ISO 8601
  status     TEXT NOT NULL,            -- read, empty or error; of a form read, unsure, check or error;
                                       -- gone: the picture has no such page any more
  confidence REAL NOT NULL,
  text       TEXT NOT NULL,
  content    TEXT NOT NULL             -- as `rowscan read --format jsonl` writes it, or a form
);
CREATE INDEX IF NOT EXISTS reading_page ON reading (page, id);

CREATE TABLE IF NOT EXISTS correction ( -- what a person did, each time with all that is then known
  id      INTEGER PRIMARY KEY,
  event   TEXT NOT NULL UNIQUE,        -- from the browser, which may send it twice
  page    INTEGER NOT NULL REFERENCES page,
  line    TEXT NOT NULL,               -- its number in the reading, from 0; a name; '' is the page
  state   TEXT NOT NULL,               -- of a line: read, accepted, typed, deleted;
                                       -- of a page: open, seen, done, none (no number here)
  text    TEXT NOT NULL,
  x INTEGER NOT NULL, y INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
  reading INTEGER NOT NULL REFERENCES reading, -- what the person saw
  kind    TEXT NOT NULL,               -- do, undo, redo, look
  gesture TEXT NOT NULL,               -- what is undone together
  undoes  TEXT,                        -- the gesture that an undo or redo takes back
  user    TEXT NOT NULL,
  session TEXT NOT NULL,               -- the browser's tab
  time    TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS correction_line ON correction (page, line, id);
CREATE INDEX IF NOT EXISTS correction_session ON correction (session, id);
CREATE INDEX IF NOT EXISTS correction_gesture ON correction (gesture);

CREATE TABLE IF NOT EXISTS model (     -- the models in use, the last one now
  id   INTEGER PRIMARY KEY,
  path TEXT NOT NULL,                  -- relative to the folder
  user TEXT NOT NULL,
  time TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS forms (     -- what fields are read by, the last ones now
  id    INTEGER PRIMARY KEY,
  paths TEXT NOT NULL,                 -- a JSON array: each form.toml, relative to the folder
  user  TEXT NOT NULL,
  time  TEXT NOT NULL
);

CREATE TRIGGER IF NOT EXISTS reading_is_kept BEFORE UPDATE ON reading
BEGIN SELECT RAISE(ABORT, 'readings are never changed'); END;
CREATE TRIGGER IF NOT EXISTS reading_stays BEFORE DELETE ON reading
BEGIN SELECT RAISE(ABORT, 'readings are never deleted'); END;
CREATE TRIGGER IF NOT EXISTS correction_is_kept BEFORE UPDATE ON correction
BEGIN SELECT RAISE(ABORT, 'corrections are never changed'); END;
CREATE TRIGGER IF NOT EXISTS correction_stays BEFORE DELETE ON correction
BEGIN SELECT RAISE(ABORT, 'corrections are never deleted'); END;

-- The last word on each line and each page.
CREATE VIEW IF NOT EXISTS current AS
SELECT * FROM correction AS one
WHERE id = (SELECT max(id) FROM correction AS same WHERE same.page = one.page AND same.line = one.line);

-- The reading of each page: the one that was first corrected, or else the newest.
CREATE VIEW IF NOT EXISTS shown AS
SELECT page.id AS page, COALESCE(
  (SELECT reading FROM correction WHERE correction.page = page.id AND kind <> 'look' ORDER BY id LIMIT 1),
  (SELECT max(id) FROM reading WHERE reading.page = page.id)) AS reading
FROM page;

-- Each page that a file in the folder has.
CREATE VIEW IF NOT EXISTS entry AS
SELECT page.id, page.hash, page.number,
  (SELECT min(path) FROM file WHERE file.hash = page.hash) AS path, reading.id AS reading,
  reading.model, reading.status, reading.confidence, reading.text, reading.content,
  COALESCE((SELECT state FROM current WHERE current.page = page.id AND line = ''), 'open') AS state
FROM page
JOIN shown ON shown.page = page.id
JOIN reading ON reading.id = shown.reading
WHERE EXISTS (SELECT 1 FROM file WHERE file.hash = page.hash);

-- What is learned from: the lines of the pages that are done.
CREATE VIEW IF NOT EXISTS lesson AS
SELECT entry.id AS page, entry.path, entry.number, entry.state AS page_state, current.line,
  current.state, current.text, current.x, current.y, current.width, current.height
FROM entry LEFT JOIN current
  ON current.page = entry.id AND current.line <> '' AND current.state IN ('accepted', 'typed')
WHERE entry.state IN ('done', 'none');
