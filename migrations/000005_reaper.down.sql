CREATE INDEX idempotency_answers_created_at ON idempotency_answers USING brin (created_at) WITH (autosummarize = on);
