-- Takes the oldest message of a subscription that is due and that nobody holds, within the credit:
-- one message may pass the bytes, so that a large one is not stuck.
WITH held AS (
  SELECT COUNT(*) AS messages, TOTAL(size) AS bytes
  FROM queue WHERE holder = :holder AND holder != 0 AND held_until > :now
), next AS (
  SELECT id, size
  FROM queue WHERE sub = :sub AND due <= :now AND held_until <= :now ORDER BY id LIMIT 1
)
UPDATE queue SET holder = :holder, held_until = :until
WHERE id = (
  SELECT next.id FROM next, held
  WHERE held.messages = 0 OR (held.messages < :messages AND held.bytes + next.size <= :bytes)
)
RETURNING id, message, accepted, attempts;
