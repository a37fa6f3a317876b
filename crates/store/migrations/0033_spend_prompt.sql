-- 33: which prompt and which version of it calls were made of, and how they ended. Of what was added up before nobody knows.
ALTER TABLE spend_series ADD COLUMN prompt {text} NOT NULL DEFAULT '';
ALTER TABLE spend_series ADD COLUMN prompt_version {text} NOT NULL DEFAULT '';
ALTER TABLE spend_series ADD COLUMN outcome {text} NOT NULL DEFAULT ''
