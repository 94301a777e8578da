-- The row is the channel's if its UID is; another UID's row is left alone, and no row changes.
INSERT INTO channels VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET uid = uid WHERE uid = excluded.uid;
