-- The reaper finds old answers by the primary key of idempotency_answers, whose request ids sort by time. The BRIN index
-- that it used to read stopped helping once the space of deleted answers was used again: a block range that has held
-- an old row is taken for old for ever, so that after the first retention every run read the whole table.
DROP INDEX idempotency_answers_created_at;
