-- No row changes while the channel is not there. A subscription of the same name and another UID is gone: see the trigger.
INSERT INTO subscriptions (name, uid, channel)
SELECT ?1, ?2, name FROM channels WHERE name = ?3 AND uid = ?4
ON CONFLICT (name) DO UPDATE SET uid = uid;
