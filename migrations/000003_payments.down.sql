DROP TABLE events;
DROP TABLE payment_references;
DROP TABLE payments;
DROP TABLE idempotency_reaper;
DROP TABLE idempotency_answers;
DROP TABLE idempotency_keys;
DROP FUNCTION refuse_payment_without_its_key();
DROP FUNCTION refuse_losing_a_key();
