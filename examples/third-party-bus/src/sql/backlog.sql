SELECT COUNT(queue.id), MIN(accepted), COUNT(CASE WHEN held_until > ?2 THEN 1 END)
FROM subscriptions LEFT JOIN queue ON sub = subscriptions.id
WHERE name = ?1 GROUP BY subscriptions.id;
