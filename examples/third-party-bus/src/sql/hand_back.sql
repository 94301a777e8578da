-- All that the holder has, or one of it.
UPDATE queue SET holder = 0, held_until = 0 WHERE holder = ?1 AND (?2 IS NULL OR id = ?2);
