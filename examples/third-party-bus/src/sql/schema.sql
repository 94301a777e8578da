PRAGMA busy_timeout = 5000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS channels (name TEXT PRIMARY KEY, uid TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS subscriptions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  uid TEXT NOT NULL,
  channel TEXT NOT NULL REFERENCES channels (name) ON DELETE CASCADE
);
-- One of the same name and another UID was deleted while nobody looked: with it goes what was its own.
CREATE TRIGGER IF NOT EXISTS subscriptions_renewed BEFORE INSERT ON subscriptions BEGIN
  DELETE FROM subscriptions WHERE name = NEW.name AND uid != NEW.uid;
END;
CREATE INDEX IF NOT EXISTS subscriptions_of ON subscriptions (channel);
-- A message of one subscription, its cursor being what is left. Times are microseconds since 1970.
-- A consumer holds it until its lease, held_until, runs out: a holder that died needs no clean-up.
CREATE TABLE IF NOT EXISTS queue (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sub INTEGER NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
  message BLOB NOT NULL,
  size INTEGER NOT NULL,
  accepted INTEGER NOT NULL,
  due INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  holder INTEGER NOT NULL DEFAULT 0,
  held_until INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS queue_of ON queue (sub, id);
CREATE INDEX IF NOT EXISTS queue_held ON queue (holder, held_until) WHERE holder != 0;
CREATE TABLE IF NOT EXISTS dead (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sub INTEGER NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
  message BLOB NOT NULL,
  stored INTEGER NOT NULL,
  cause TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_of ON dead (sub, id);
