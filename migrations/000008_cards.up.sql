-- Charges by card: money that moves at a processor, over a network, outside of our transactions.

CREATE TABLE processor_installation (
    only_row              boolean     NOT NULL DEFAULT true,
    id                    uuid        NOT NULL DEFAULT gen_random_uuid(),
    reconcile_due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    reconciled_until      timestamptz,
    reconcile_differences bigint,
    CONSTRAINT processor_installation_pkey PRIMARY KEY (only_row),
    CONSTRAINT processor_installation_only_row CHECK (only_row)
);
COMMENT ON TABLE processor_installation IS $$
Names this database at the processor. It is part of every key and of all metadata that we send, so two
databases that share a processor's account do not take each other's payments for their own. A restored
backup has the same id and so sends the same keys.
$$;
COMMENT ON COLUMN processor_installation.reconcile_due_at IS
    'When an instance may compare the processor''s books with ours. It moves this time first, so that only one does.';
COMMENT ON COLUMN processor_installation.reconciled_until IS 'The end of the time that was last compared. NULL: none yet.';
COMMENT ON COLUMN processor_installation.reconcile_differences IS 'How many differences that comparison has found.';
INSERT INTO processor_installation DEFAULT VALUES;
GRANT SELECT ON processor_installation TO paymentsvc_app;
GRANT UPDATE (reconcile_due_at, reconciled_until, reconcile_differences)
    ON processor_installation TO paymentsvc_app;

CREATE TABLE processor_attempts (
    merchant_id  bigint           NOT NULL,
    id           uuid             NOT NULL,
    operation    text COLLATE "C" NOT NULL,
    payment_id   uuid             NOT NULL,
    refund_id    uuid,
    request_id   uuid             NOT NULL,
    amount       bigint           NOT NULL,
    state        text COLLATE "C" NOT NULL DEFAULT 'open',
    intent_id    text COLLATE "C",
    generation   bigint           NOT NULL DEFAULT 1,
    decline_code text COLLATE "C",
    token        bigint           NOT NULL DEFAULT 1,
    due_at       timestamptz      NOT NULL,
    tries        bigint           NOT NULL DEFAULT 0,
    problem      text             NOT NULL DEFAULT '',
    created_at   timestamptz      NOT NULL,
    settled_at   timestamptz,
    CONSTRAINT processor_attempts_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT processor_attempts_payment_exists
        FOREIGN KEY (merchant_id, payment_id) REFERENCES payments (merchant_id, id),
    CONSTRAINT processor_attempts_operation_known
        CHECK (operation IN ('charge', 'authorize', 'capture', 'cancel', 'expire', 'refund')),
    CONSTRAINT processor_attempts_refund_is_named CHECK ((operation = 'refund') = (refund_id IS NOT NULL)),
    CONSTRAINT processor_attempts_state_known CHECK (state IN ('open', 'review', 'settled')),
    CONSTRAINT processor_attempts_settled_has_a_time CHECK ((state = 'settled') = (settled_at IS NOT NULL)),
    CONSTRAINT processor_attempts_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT processor_attempts_generation_from_one CHECK (generation >= 1),
    CONSTRAINT processor_attempts_problem_length CHECK (char_length(problem) <= 1000)
) WITH (fillfactor = 70);
COMMENT ON TABLE processor_attempts IS $$
One keyed request whose effect is at the processor: a charge, capture, cancellation, expiry or refund of a
card payment. The row is written by the transaction that claims the key, before any call. So an instance
that dies at any moment leaves a row, and another instance asks the processor what has happened.
$$;
COMMENT ON COLUMN processor_attempts.id IS
    'Made of the merchant, the scope and the key of the request. A retry after a restored backup is the same attempt, and sends the same keys to the processor.';
COMMENT ON COLUMN processor_attempts.operation IS 'What the processor is to do. authorize: a charge whose money is captured later.';
COMMENT ON COLUMN processor_attempts.request_id IS 'The request that claimed the key. Its answer is stored when the attempt is settled.';
COMMENT ON COLUMN processor_attempts.amount IS 'What is to be charged, captured or refunded, in minor units.';
COMMENT ON COLUMN processor_attempts.state IS
    'open: an instance works on it, or will. review: a person has to decide. settled: the result is in our books.';
COMMENT ON COLUMN processor_attempts.intent_id IS 'The processor''s payment intent. NULL until the intent was made.';
COMMENT ON COLUMN processor_attempts.generation IS
    'Part of the processor''s key. It is raised, and committed, before a call that must not get the stored answer of an earlier one.';
COMMENT ON COLUMN processor_attempts.decline_code IS 'Why the card was declined, noted before the failed intent is canceled.';
COMMENT ON COLUMN processor_attempts.token IS
    'A fencing token. Each lease raises it, and only the instance with the last one may write.';
COMMENT ON COLUMN processor_attempts.due_at IS
    'When an instance may lease the attempt. A lease moves it to the lease''s end, so the attempt of a dead instance becomes due by itself.';
COMMENT ON COLUMN processor_attempts.problem IS 'Why the last try did not settle it, for a person.';

-- One request at a time may ask the processor to end an authorization.
CREATE UNIQUE INDEX processor_attempts_one_at_a_time ON processor_attempts (merchant_id, payment_id)
    WHERE state <> 'settled' AND operation IN ('capture', 'cancel', 'expire');
CREATE INDEX processor_attempts_payment ON processor_attempts (merchant_id, payment_id);
CREATE INDEX processor_attempts_due ON processor_attempts (due_at) WHERE state = 'open';
-- Reconciliation reads the attempts of a period.
CREATE INDEX processor_attempts_time ON processor_attempts (created_at, merchant_id, id);
CREATE INDEX processor_attempts_review ON processor_attempts (merchant_id, created_at) WHERE state = 'review';
GRANT SELECT, INSERT ON processor_attempts TO paymentsvc_app;
GRANT UPDATE (state, intent_id, generation, decline_code, token, due_at, tries, problem, settled_at)
    ON processor_attempts TO paymentsvc_app;

-- An attempt is settled once. Its intent never changes. Its token and its generation never decrease.
CREATE FUNCTION refuse_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'settled' OR NEW.token < OLD.token OR NEW.generation < OLD.generation
        OR OLD.intent_id IS NOT NULL AND OLD.intent_id IS DISTINCT FROM NEW.intent_id
    THEN
        RAISE integrity_constraint_violation USING
            CONSTRAINT = TG_NAME,
            MESSAGE = format('attempt %s is %s, intent %s, generation %s, token %s: it cannot become %s, %s, %s, %s',
                OLD.id, OLD.state, OLD.intent_id, OLD.generation, OLD.token,
                NEW.state, NEW.intent_id, NEW.generation, NEW.token);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER processor_attempts_go_forward BEFORE UPDATE ON processor_attempts
    FOR EACH ROW EXECUTE FUNCTION refuse_going_back();

CREATE TABLE processor_events (
    merchant_id bigint           NOT NULL,
    id          text COLLATE "C" NOT NULL,
    attempt_id  uuid             NOT NULL,
    body        bytea            NOT NULL,
    received_at timestamptz      NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT processor_events_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT processor_events_id_length CHECK (octet_length(id) BETWEEN 1 AND 255)
);
COMMENT ON TABLE processor_events IS $$
Events of the processor that came too early: their attempt is not in the database yet. An event is
deleted in the transaction that applies it, under its own id, once there is one.
$$;
COMMENT ON COLUMN processor_events.body IS 'As it was signed.';
CREATE INDEX processor_events_attempt ON processor_events (merchant_id, attempt_id);
GRANT SELECT, INSERT, DELETE ON processor_events TO paymentsvc_app;

CREATE VIEW audit.i9_no_attempt_is_abandoned AS
SELECT p.merchant_id, 'payment ' || p.id AS subject,
       format('is %s%s, but no attempt is under way', p.status, ', ' || p.pending_operation) AS detail
FROM payments p
WHERE (p.status = 'processing' OR p.pending_operation IS NOT NULL)
  AND NOT EXISTS (
    SELECT FROM processor_attempts a
    WHERE a.merchant_id = p.merchant_id AND a.payment_id = p.id AND a.state <> 'settled'
      AND (a.operation = p.pending_operation OR p.pending_operation IS NULL AND a.operation IN ('charge', 'authorize')))
UNION ALL
SELECT r.merchant_id, 'refund ' || r.id, 'is processing, but no attempt is under way'
FROM refunds r
WHERE r.status = 'processing'
  AND NOT EXISTS (
    SELECT FROM processor_attempts a
    WHERE a.merchant_id = r.merchant_id AND a.payment_id = r.payment_id AND a.refund_id = r.id AND a.state <> 'settled')
UNION ALL
SELECT coalesce(a.merchant_id, q.merchant_id), 'request ' || coalesce(a.request_id, q.request_id),
       CASE WHEN a.id IS NULL THEN 'is still at the processor, but no attempt is under way'
            ELSE format('attempt %s is %s, but its key is not marked', a.id, a.state) END
FROM (SELECT merchant_id, id, request_id, state FROM processor_attempts WHERE state <> 'settled') a
FULL JOIN idempotency_pending q ON q.merchant_id = a.merchant_id AND q.request_id = a.request_id
WHERE a.id IS NULL OR q.request_id IS NULL
UNION ALL
SELECT a.merchant_id, 'attempt ' || a.id, format('is %s, but its %s is not waited for', a.state, a.operation)
FROM processor_attempts a
LEFT JOIN payments p ON p.merchant_id = a.merchant_id AND p.id = a.payment_id
LEFT JOIN refunds r ON r.merchant_id = a.merchant_id AND r.payment_id = a.payment_id AND r.id = a.refund_id
WHERE a.state <> 'settled'
  AND CASE a.operation
        WHEN 'charge' THEN p.status = 'processing'
        WHEN 'authorize' THEN p.status = 'processing'
        WHEN 'refund' THEN r.status = 'processing'
        ELSE p.pending_operation = a.operation END IS NOT TRUE
UNION ALL
SELECT merchant_id, 'attempt ' || id, format('was to be worked on at %s', due_at)
FROM processor_attempts
WHERE state = 'open' AND due_at < clock_timestamp() - interval '1 day'; -- an instance does it within seconds
COMMENT ON VIEW audit.i9_no_attempt_is_abandoned IS
    'what is at the processor has an attempt that an instance works on, or that waits for a person';
GRANT SELECT ON audit.i9_no_attempt_is_abandoned TO paymentsvc_app;

CREATE VIEW audit.i10_an_event_has_one_effect AS
SELECT e.merchant_id, 'event ' || e.id AS subject, 'was applied and is still kept' AS detail
FROM processor_events e
JOIN idempotency_keys k ON k.merchant_id = e.merchant_id AND k.scope = 'processor:stripe' AND k.key = e.id
UNION ALL
SELECT a.merchant_id, 'attempt ' || a.id, format('is %s, but its request has an answer', a.state)
FROM processor_attempts a
JOIN idempotency_answers w ON w.merchant_id = a.merchant_id AND w.request_id = a.request_id
WHERE a.state <> 'settled';
COMMENT ON VIEW audit.i10_an_event_has_one_effect IS
    'an event of the processor is kept or applied, and an attempt is answered when it is settled';
GRANT SELECT ON audit.i10_an_event_has_one_effect TO paymentsvc_app;

INSERT INTO schema_versions (version) VALUES (8);
