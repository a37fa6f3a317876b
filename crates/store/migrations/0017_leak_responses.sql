-- 17: the rules for leaks, until now a setting, are the declared resource leak_responses/default. What they name and is
-- not there any more is left out of them by migrate/leak_responses.rs. The setting stays, and the feed tells of it as of
-- a setting, for nodes of the former version: see former.rs.
UPDATE head SET change_seq = change_seq + 1 WHERE EXISTS (SELECT 1 FROM settings WHERE name = 'leak_response');

INSERT INTO changes (seq, kind, name)
SELECT head.change_seq, 'settings', 'leak_response' FROM head, settings WHERE settings.name = 'leak_response';

INSERT INTO resources (kind, name, body, revision, created, updated)
SELECT 'leak_responses', 'default', {settings.value as text}, head.change_seq, {now}, {now}
FROM head, settings WHERE settings.name = 'leak_response'
