-- 32: what files are for, in the words of those who upload them ("batch", "batch_output", "user_data"); empty for what is
-- no file. Files of before are those of batches.
ALTER TABLE model_objects ADD COLUMN purpose {text} NOT NULL DEFAULT '';

UPDATE model_objects SET purpose = CASE WHEN id LIKE '%-output' OR id LIKE '%-errors' THEN 'batch_output' ELSE 'batch' END
WHERE kind = 0
