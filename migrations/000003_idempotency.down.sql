DROP TABLE idempotency_reaper;
DROP TABLE idempotency_pending;
DROP TABLE idempotency_answers;
DROP TABLE idempotency_keys;
DROP FUNCTION refuse_losing_a_key();
DELETE FROM schema_versions WHERE version = 3;
