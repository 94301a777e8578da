INSERT INTO queue (sub, message, size, accepted)
SELECT id, ?2, ?3, ?4 FROM subscriptions WHERE channel = ?1;
