UPDATE queue SET held_until = ?3, attempts = ?4 WHERE id = ?1 AND holder = ?2;
