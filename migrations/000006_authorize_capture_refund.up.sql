-- The rest of a payment's life: authorized and captured later, canceled, refunded.

-- Whoever holds a lock on these tables for long makes this migration fail, rather than everybody wait behind it.
SET LOCAL lock_timeout = '5s';

-- How many payments from or to the account are open (authorized). It lives on the account's row, like everything that
-- decides: an account is closed by one conditional UPDATE, which waits for the transaction that is opening a payment.
ALTER TABLE accounts
    ADD COLUMN open_payments bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT accounts_open_payments_not_negative CHECK (open_payments >= 0),
    ADD CONSTRAINT accounts_held_for_open_payments CHECK (held <= 0 OR open_payments > 0),
    ADD CONSTRAINT accounts_closed_has_nothing_open CHECK (status = 'open' OR open_payments = 0);

-- An account's id and currency never change, and it is closed for good. (The trigger looks at statements that set the
-- status, which a posting does not.)
REVOKE UPDATE ON accounts FROM paymentsvc_app;
GRANT UPDATE (status, overdraft_limit, balance, held, open_payments, last_sequence, last_entry_at, version, name, metadata)
    ON accounts TO paymentsvc_app;
CREATE FUNCTION refuse_reopening() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE integrity_constraint_violation USING
        CONSTRAINT = TG_NAME,
        MESSAGE = format('account %s is closed, for good', OLD.id);
END
$$;
CREATE TRIGGER accounts_closed_for_good BEFORE UPDATE OF status ON accounts
    FOR EACH ROW WHEN (OLD.status = 'closed' AND NEW.status <> 'closed') EXECUTE FUNCTION refuse_reopening();

-- What a key can stand for. A payment is made by a charge, and by nothing else.
ALTER TABLE idempotency_keys
    ADD CONSTRAINT idempotency_keys_scope_known CHECK (scope IN ('client', 'service')),
    ADD CONSTRAINT idempotency_keys_operation_known
        CHECK (operation IN ('charge', 'capture', 'cancel', 'expire', 'refund'));
CREATE OR REPLACE FUNCTION refuse_payment_without_its_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stray uuid;
BEGIN
    SELECT p.id INTO stray
    FROM inserted p
    LEFT JOIN idempotency_keys k
        ON k.merchant_id = p.merchant_id AND k.scope = 'client' AND k.key = p.idempotency_key
    WHERE k.payment_id IS DISTINCT FROM p.id OR k.operation <> 'charge'
    LIMIT 1;
    IF FOUND THEN
        RAISE integrity_constraint_violation USING
            CONSTRAINT = 'payments_claimed_by_key',
            MESSAGE = format('payment %s is not the one that its idempotency key names', stray);
    END IF;
    RETURN NULL;
END
$$;

-- When an authorization ends by itself, by the database's clock. The index holds the authorized payments and no others.
ALTER TABLE payments
    ADD COLUMN authorized_until timestamptz,
    ADD CONSTRAINT payments_authorized_has_an_end CHECK (status <> 'authorized' OR authorized_until IS NOT NULL);
CREATE INDEX payments_authorized_until ON payments (authorized_until) WHERE status = 'authorized';

-- What a payment is about never changes; how it stands does.
REVOKE UPDATE ON payments FROM paymentsvc_app;
GRANT UPDATE (status, amount_captured, amount_refunded, description, metadata, version) ON payments TO paymentsvc_app;

-- The state machine, which the code has as a table too (internal/payments/states.go). What was captured once is captured
-- once, what was refunded stays refunded, and a version never comes again. It costs a charge nothing: a charge only inserts.
CREATE FUNCTION refuse_illegal_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
            ('processing', 'authorized'), ('processing', 'succeeded'), ('processing', 'declined'),
            ('authorized', 'succeeded'), ('authorized', 'canceled'))
        OR OLD.amount_captured > 0 AND NEW.amount_captured <> OLD.amount_captured
        OR NEW.amount_refunded < OLD.amount_refunded
        OR NEW.version < OLD.version
    THEN
        RAISE integrity_constraint_violation USING
            CONSTRAINT = TG_NAME,
            MESSAGE = format('payment %s is %s, %s captured, %s refunded, version %s: it cannot become %s, %s, %s, %s',
                OLD.id, OLD.status, OLD.amount_captured, OLD.amount_refunded, OLD.version,
                NEW.status, NEW.amount_captured, NEW.amount_refunded, NEW.version);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER payments_transition_legal BEFORE UPDATE ON payments
    FOR EACH ROW EXECUTE FUNCTION refuse_illegal_transition();

-- Money that was given back. How much of a payment is refunded stands on the payment's row, where the cap is checked; a
-- refund is one part of it. A declined one, whose destination could not pay, is kept because it is the answer of its key.
-- The foreign key is a real one: refunds are rare beside charges.
CREATE TABLE refunds (
    merchant_id     bigint           NOT NULL,
    payment_id      uuid             NOT NULL,
    id              uuid             NOT NULL, -- version 7: sorts by time; also the id of its journal
    amount          bigint           NOT NULL, -- minor units of the payment's currency
    status          text COLLATE "C" NOT NULL,
    decline_code    text COLLATE "C",
    reason          text             NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL, -- the key in scope 'client' that made it
    created_at      timestamptz      NOT NULL,
    CONSTRAINT refunds_pkey PRIMARY KEY (merchant_id, payment_id, id),
    CONSTRAINT refunds_one_per_key UNIQUE (merchant_id, idempotency_key),
    CONSTRAINT refunds_payment_exists FOREIGN KEY (merchant_id, payment_id) REFERENCES payments (merchant_id, id),
    CONSTRAINT refunds_status_known CHECK (status IN ('processing', 'succeeded', 'declined')),
    CONSTRAINT refunds_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT refunds_decline_has_a_code CHECK ((status = 'declined') = (decline_code IS NOT NULL)),
    CONSTRAINT refunds_reason_length CHECK (char_length(reason) <= 500)
);

-- The same guard as for payments: a refund cannot be written without the claim that names its payment.
CREATE FUNCTION refuse_refund_without_its_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stray uuid;
BEGIN
    SELECT r.id INTO stray
    FROM inserted r
    LEFT JOIN idempotency_keys k
        ON k.merchant_id = r.merchant_id AND k.scope = 'client' AND k.key = r.idempotency_key
    WHERE k.payment_id IS DISTINCT FROM r.payment_id OR k.operation <> 'refund'
    LIMIT 1;
    IF FOUND THEN
        RAISE integrity_constraint_violation USING
            CONSTRAINT = 'refunds_claimed_by_key',
            MESSAGE = format('refund %s is not the one that its idempotency key names', stray);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER refunds_claimed_by_key AFTER INSERT ON refunds
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_refund_without_its_key();

GRANT SELECT, INSERT ON refunds TO paymentsvc_app;

-- A refund has events of its own, which say which refund.
ALTER TABLE events
    ADD COLUMN refund_id uuid,
    DROP CONSTRAINT events_type_known,
    ADD CONSTRAINT events_type_known CHECK (type IN ('payment.processing', 'payment.authorized', 'payment.succeeded',
        'payment.declined', 'payment.canceled', 'refund.processing', 'refund.succeeded', 'refund.declined')),
    ADD CONSTRAINT events_refund_is_named CHECK ((type LIKE 'refund.%') = (refund_id IS NOT NULL));

-- What the audit asks about all this.

DROP VIEW audit.i3_payments_are_posted;
CREATE VIEW audit.i3_payments_are_posted AS
WITH moved AS (
    SELECT p.merchant_id, p.id, count(*) AS entries,
           coalesce(sum(e.amount) FILTER (WHERE e.account_id = p.source_account), 0) AS source,
           coalesce(sum(e.amount) FILTER (WHERE e.account_id = p.destination_account), 0) AS destination,
           count(*) FILTER (WHERE e.account_id NOT IN (p.source_account, p.destination_account)) AS elsewhere
    FROM payments p
    JOIN entries e ON e.merchant_id = p.merchant_id AND e.payment_id = p.id
    GROUP BY p.merchant_id, p.id
)
SELECT p.merchant_id, 'payment ' || p.id AS subject,
       format('%s, captured %s, refunded %s, but its entries sum to %s on %s and %s on %s, and %s of %s are on other accounts',
              p.status, p.amount_captured, p.amount_refunded, coalesce(m.source, 0), p.source_account,
              coalesce(m.destination, 0), p.destination_account, coalesce(m.elsewhere, 0), coalesce(m.entries, 0)) AS detail
FROM payments p
LEFT JOIN moved m ON m.merchant_id = p.merchant_id AND m.id = p.id
WHERE coalesce(m.destination, 0) <> p.amount_captured - p.amount_refunded
   OR coalesce(m.source, 0) <> p.amount_refunded - p.amount_captured
   OR m.elsewhere > 0
   OR p.amount_captured = 0 AND m.entries > 0
UNION ALL
SELECT r.merchant_id, 'refund ' || r.id,
       format('%s, of %s, but the entries of its journal bring the source %s', r.status, r.amount, coalesce(sum(e.amount), 0))
FROM refunds r
JOIN payments p ON p.merchant_id = r.merchant_id AND p.id = r.payment_id
LEFT JOIN entries e ON e.merchant_id = r.merchant_id AND e.account_id = p.source_account AND e.journal_id = r.id
GROUP BY r.merchant_id, r.id, r.status, r.amount
HAVING coalesce(sum(e.amount), 0) <> CASE r.status WHEN 'succeeded' THEN r.amount ELSE 0 END;
COMMENT ON VIEW audit.i3_payments_are_posted IS
    'the entries of a payment move what was captured less what was refunded, and what did not move money has none';

DROP VIEW audit.i5_one_payment_per_key;
CREATE VIEW audit.i5_one_payment_per_key AS
SELECT merchant_id, format('payments of one key: %s', string_agg(id::text, ', ' ORDER BY id)) AS subject,
       format('%s payments', count(*)) AS detail
FROM payments
GROUP BY merchant_id, idempotency_key
HAVING count(*) > 1
UNION ALL
SELECT merchant_id, format('refunds of one key: %s', string_agg(id::text, ', ' ORDER BY id)), format('%s refunds', count(*))
FROM refunds
GROUP BY merchant_id, idempotency_key
HAVING count(*) > 1
UNION ALL
SELECT merchant_id, format('keys of one name in scope %s: %s', scope, string_agg(request_id::text, ', ' ORDER BY request_id)),
       format('%s claims', count(*))
FROM idempotency_keys
GROUP BY merchant_id, scope, key
HAVING count(*) > 1
UNION ALL
SELECT p.merchant_id, 'payment ' || p.id, coalesce('its key names payment ' || k.payment_id, 'its key is missing')
FROM payments p
LEFT JOIN idempotency_keys k ON k.merchant_id = p.merchant_id AND k.scope = 'client' AND k.key = p.idempotency_key
WHERE k.payment_id IS DISTINCT FROM p.id OR k.operation <> 'charge'
UNION ALL
SELECT r.merchant_id, 'refund ' || r.id,
       coalesce(format('its key names a %s of payment %s', k.operation, k.payment_id), 'its key is missing')
FROM refunds r
LEFT JOIN idempotency_keys k ON k.merchant_id = r.merchant_id AND k.scope = 'client' AND k.key = r.idempotency_key
WHERE k.payment_id IS DISTINCT FROM r.payment_id OR k.operation <> 'refund'
UNION ALL
SELECT merchant_id, format('live payments of one reference: %s', string_agg(id::text, ', ' ORDER BY id)),
       format('%s payments', count(*))
FROM payments
WHERE reference IS NOT NULL AND status NOT IN ('declined', 'canceled')
GROUP BY merchant_id, reference
HAVING count(*) > 1
UNION ALL
SELECT coalesce(p.merchant_id, r.merchant_id), 'payment ' || coalesce(p.id, r.payment_id),
       CASE WHEN p.id IS NULL THEN 'holds a reference, but is not live or has another one'
            ELSE 'is live, but does not hold its reference' END
FROM (SELECT merchant_id, reference, id FROM payments
      WHERE reference IS NOT NULL AND status NOT IN ('declined', 'canceled')) p
FULL JOIN payment_references r ON r.merchant_id = p.merchant_id AND r.reference = p.reference AND r.payment_id = p.id
WHERE p.id IS NULL OR r.payment_id IS NULL;
COMMENT ON VIEW audit.i5_one_payment_per_key IS
    'one key makes one payment or one refund, and one reference has one live payment';

DROP VIEW audit.i6_answers_tell_the_truth;
CREATE VIEW audit.i6_answers_tell_the_truth AS
SELECT k.merchant_id, 'request ' || k.request_id AS subject,
       CASE WHEN p.id IS NULL THEN format('its key names payment %s, which does not exist', k.payment_id)
            ELSE format('answered %s at %L, payment %s is %s', a.status, a.location, p.id, p.status) END AS detail
FROM idempotency_keys k
LEFT JOIN payments p ON p.merchant_id = k.merchant_id AND p.id = k.payment_id
LEFT JOIN refunds r ON r.merchant_id = k.merchant_id AND r.idempotency_key = k.key AND k.scope = 'client'
LEFT JOIN idempotency_answers a ON a.merchant_id = k.merchant_id AND a.request_id = k.request_id
WHERE p.id IS NULL
   OR a.status NOT BETWEEN 200 AND 299 AND a.status <> 402
   OR k.operation NOT IN ('charge', 'capture', 'cancel', 'expire', 'refund')
   OR k.operation = 'charge' AND (
        a.status = 402 AND p.status <> 'declined'
        OR a.status = 201 AND p.status = 'declined'
        OR a.status = 201 AND a.location <> '/payments/pay_' || replace(p.id::text, '-', ''))
   OR k.operation IN ('capture', 'cancel', 'expire') AND (
        a.status <> 200
        OR p.status <> CASE k.operation WHEN 'capture' THEN 'succeeded' ELSE 'canceled' END)
   OR k.operation = 'refund' AND (
        r.id IS NULL
        OR a.status = 402 AND r.status <> 'declined'
        OR a.status = 201 AND r.status = 'declined'
        OR a.status = 201 AND a.location <>
            format('/payments/pay_%s/refunds/ref_%s', replace(p.id::text, '-', ''), replace(r.id::text, '-', '')))
UNION ALL
SELECT a.merchant_id, 'request ' || a.request_id, 'an answer without a key'
FROM idempotency_answers a
WHERE NOT EXISTS (SELECT FROM idempotency_keys k WHERE k.merchant_id = a.merchant_id AND k.request_id = a.request_id);
COMMENT ON VIEW audit.i6_answers_tell_the_truth IS 'every stored answer is final, belongs to a key, and says what its payment says';

DROP VIEW audit.i7_caps_and_floors;
CREATE VIEW audit.i7_caps_and_floors AS
SELECT merchant_id, 'account ' || id AS subject,
       format('balance %s less held %s is below the floor of -%s', balance, held, overdraft_limit) AS detail
FROM accounts
WHERE balance::numeric - held < -overdraft_limit
UNION ALL
SELECT merchant_id, 'payment ' || id,
       format('%s of %s captured, %s refunded', amount_captured, amount, amount_refunded)
FROM payments
WHERE amount_captured > amount OR amount_refunded > amount_captured
UNION ALL
SELECT p.merchant_id, 'payment ' || p.id, format('%s refunded, but its refunds sum to %s', p.amount_refunded, coalesce(r.total, 0))
FROM payments p
LEFT JOIN (SELECT merchant_id, payment_id, sum(amount) AS total FROM refunds
           WHERE status <> 'declined' GROUP BY merchant_id, payment_id) r
    ON r.merchant_id = p.merchant_id AND r.payment_id = p.id
WHERE p.amount_refunded <> coalesce(r.total, 0)
UNION ALL
SELECT a.merchant_id, 'account ' || a.id,
       format('held %s with %s open payments, but its authorized payments hold %s and %s are open',
              a.held, a.open_payments, coalesce(h.total, 0), coalesce(h.count, 0))
FROM accounts a
LEFT JOIN (SELECT p.merchant_id, side.account_id, count(*) AS count,
                  coalesce(sum(p.amount) FILTER (WHERE side.account_id = p.source_account), 0) AS total
           FROM payments p
           CROSS JOIN LATERAL (VALUES (p.source_account), (p.destination_account)) AS side (account_id)
           WHERE p.status = 'authorized'
           GROUP BY p.merchant_id, side.account_id) h
    ON h.merchant_id = a.merchant_id AND h.account_id = a.id
WHERE a.held <> coalesce(h.total, 0) OR a.open_payments <> coalesce(h.count, 0);
COMMENT ON VIEW audit.i7_caps_and_floors IS
    'no balance is below its floor, nothing is captured or refunded over its cap, and what is held is what was authorized';

DROP VIEW audit.i8_one_event_per_change;
CREATE VIEW audit.i8_one_event_per_change AS
SELECT p.merchant_id, 'payment ' || p.id AS subject,
       format('is %s, with %s events that say so', p.status, count(e.id)) AS detail
FROM payments p
LEFT JOIN events e ON e.merchant_id = p.merchant_id AND e.payment_id = p.id AND e.type = 'payment.' || p.status
GROUP BY p.merchant_id, p.id, p.status
HAVING count(e.id) <> 1
UNION ALL
SELECT r.merchant_id, 'refund ' || r.id, format('is %s, with %s events that say so', r.status, count(e.id))
FROM refunds r
LEFT JOIN events e ON e.merchant_id = r.merchant_id AND e.payment_id = r.payment_id AND e.refund_id = r.id
    AND e.type = 'refund.' || r.status
GROUP BY r.merchant_id, r.id, r.status
HAVING count(e.id) <> 1
UNION ALL
SELECT merchant_id, coalesce('refund ' || refund_id, 'payment ' || payment_id), format('%s events %s', count(*), type)
FROM events
GROUP BY merchant_id, payment_id, refund_id, type
HAVING count(*) > 1;
COMMENT ON VIEW audit.i8_one_event_per_change IS 'every change of state has exactly one event';

DROP VIEW audit.i9_nothing_is_stuck;
CREATE VIEW audit.i9_nothing_is_stuck AS
SELECT k.merchant_id, 'request ' || k.request_id AS subject,
       format('claimed its key at %s and was never answered', k.created_at) AS detail
FROM idempotency_keys k
LEFT JOIN payments p ON p.merchant_id = k.merchant_id AND p.id = k.payment_id
WHERE p.status IS DISTINCT FROM 'processing'
  AND k.created_at >= (SELECT answers_before FROM idempotency_reaper)
  AND NOT EXISTS (SELECT FROM idempotency_answers a WHERE a.merchant_id = k.merchant_id AND a.request_id = k.request_id)
UNION ALL
SELECT merchant_id, 'payment ' || id, format('was to be captured or canceled by %s', authorized_until)
FROM payments
WHERE status = 'authorized' AND authorized_until < clock_timestamp() - interval '1 day'; -- an instance does it within seconds
COMMENT ON VIEW audit.i9_nothing_is_stuck IS
    'every claimed key has its answer, until the retention deletes it, and no authorization outlives its end';

DROP VIEW audit.i12_transitions_are_legal;
CREATE VIEW audit.i12_transitions_are_legal AS
SELECT merchant_id, 'payment ' || payment_id AS subject, format('%s after %s', type, coalesce(before, 'nothing')) AS detail
FROM (SELECT merchant_id, payment_id, type,
             lag(type) OVER (PARTITION BY merchant_id, payment_id ORDER BY transaction_id, id) AS before
      FROM events WHERE type LIKE 'payment.%') steps
WHERE before IS NOT NULL AND (before, type) NOT IN (
        ('payment.processing', 'payment.authorized'), ('payment.processing', 'payment.succeeded'),
        ('payment.processing', 'payment.declined'), ('payment.authorized', 'payment.succeeded'),
        ('payment.authorized', 'payment.canceled'))
   OR before IS NULL AND type = 'payment.canceled'
UNION ALL
SELECT e.merchant_id, 'event ' || e.id, format('%s of payment %s, which does not exist', e.type, e.payment_id)
FROM events e
WHERE NOT EXISTS (SELECT FROM payments p WHERE p.merchant_id = e.merchant_id AND p.id = e.payment_id)
UNION ALL
SELECT e.merchant_id, 'event ' || e.id, format('%s of refund %s, which its payment does not have', e.type, e.refund_id)
FROM events e
WHERE e.refund_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM refunds r WHERE r.merchant_id = e.merchant_id AND r.payment_id = e.payment_id AND r.id = e.refund_id);
COMMENT ON VIEW audit.i12_transitions_are_legal IS 'a payment moves only along its state machine';
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO paymentsvc_app;
