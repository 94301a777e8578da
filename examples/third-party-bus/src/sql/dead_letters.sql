-- A page: whoever wants more reads on after its last id.
SELECT dead.id, stored, cause, message
FROM dead JOIN subscriptions ON subscriptions.id = sub
WHERE name = ?1 AND dead.id > ?2 ORDER BY dead.id LIMIT 100;
