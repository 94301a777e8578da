UPDATE queue SET due = ?3, attempts = ?4, holder = 0, held_until = 0 WHERE id = ?1 AND holder = ?2;
