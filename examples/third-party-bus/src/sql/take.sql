-- Takes the oldest message of a subscription that is due and that nobody holds, within the credit:
-- one message may pass the bytes, so that a large one is not stuck.
-- ?1 subscription, ?2 holder, ?3 messages and ?4 bytes of credit, ?5 now, ?6 the lease's end.
WITH held AS (
  SELECT COUNT(*) AS messages, TOTAL(size) AS bytes
  FROM queue WHERE holder = ?2 AND holder != 0 AND held_until > ?5
), next AS (
  SELECT id, size
  FROM queue WHERE sub = ?1 AND due <= ?5 AND held_until <= ?5 ORDER BY id LIMIT 1
)
UPDATE queue SET holder = ?2, held_until = ?6
WHERE id = (
  SELECT next.id FROM next, held
  WHERE held.messages = 0 OR (held.messages < ?3 AND held.bytes + next.size <= ?4)
)
RETURNING id, message, accepted, attempts;
