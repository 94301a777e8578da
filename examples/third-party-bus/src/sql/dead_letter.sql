INSERT INTO dead (sub, message, stored, cause)
SELECT id, ?2, ?3, ?4 FROM subscriptions WHERE name = ?1;
