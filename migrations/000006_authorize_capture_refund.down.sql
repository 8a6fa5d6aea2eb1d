-- The older schema cannot hold what only this one knows, and nobody could say later what became of it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM payments WHERE status = 'authorized') OR EXISTS (SELECT FROM refunds)
        OR EXISTS (SELECT FROM idempotency_keys WHERE operation <> 'charge') THEN
        RAISE object_in_use USING
            MESSAGE = 'payments have been authorized, captured, canceled or refunded, which the older schema does not know',
            HINT = 'Go back by restoring a backup of before the migration, or go on.';
    END IF;
END
$$;

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
   OR p.amount_captured = 0 AND m.entries > 0;
COMMENT ON VIEW audit.i3_payments_are_posted IS
    'the entries of a payment move what was captured less what was refunded, and a payment that captured nothing has none';

DROP VIEW audit.i5_one_payment_per_key;
CREATE VIEW audit.i5_one_payment_per_key AS
SELECT merchant_id, format('payments of one key: %s', string_agg(id::text, ', ' ORDER BY id)) AS subject,
       format('%s payments', count(*)) AS detail
FROM payments
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
WHERE k.payment_id IS DISTINCT FROM p.id
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
COMMENT ON VIEW audit.i5_one_payment_per_key IS 'one key makes one payment, and one reference has one live payment';

DROP VIEW audit.i6_answers_tell_the_truth;
CREATE VIEW audit.i6_answers_tell_the_truth AS
SELECT k.merchant_id, 'request ' || k.request_id AS subject,
       CASE WHEN p.id IS NULL THEN format('its key names payment %s, which does not exist', k.payment_id)
            ELSE format('answered %s at %L, payment %s is %s', a.status, a.location, p.id, p.status) END AS detail
FROM idempotency_keys k
LEFT JOIN payments p ON p.merchant_id = k.merchant_id AND p.id = k.payment_id
LEFT JOIN idempotency_answers a ON a.merchant_id = k.merchant_id AND a.request_id = k.request_id
WHERE p.id IS NULL
   OR a.status = 402 AND k.operation = 'charge' AND p.status <> 'declined'
   OR a.status = 201 AND k.operation = 'charge' AND p.status = 'declined'
   OR a.status NOT BETWEEN 200 AND 299 AND a.status <> 402
   OR a.location <> '/payments/pay_' || replace(p.id::text, '-', '') AND k.operation = 'charge' AND a.status = 201
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
WHERE balance - held < -overdraft_limit
UNION ALL
SELECT merchant_id, 'payment ' || id,
       format('%s of %s captured, %s refunded', amount_captured, amount, amount_refunded)
FROM payments
WHERE amount_captured > amount OR amount_refunded > amount_captured
UNION ALL
SELECT a.merchant_id, 'account ' || a.id, format('held %s, but its authorized payments hold %s', a.held, coalesce(h.total, 0))
FROM accounts a
LEFT JOIN (SELECT merchant_id, source_account, sum(amount) AS total FROM payments
           WHERE status = 'authorized' GROUP BY merchant_id, source_account) h
    ON h.merchant_id = a.merchant_id AND h.source_account = a.id
WHERE a.held <> coalesce(h.total, 0);
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
SELECT merchant_id, 'payment ' || payment_id, format('%s events %s', count(*), type)
FROM events
GROUP BY merchant_id, payment_id, type
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
  AND NOT EXISTS (SELECT FROM idempotency_answers a WHERE a.merchant_id = k.merchant_id AND a.request_id = k.request_id);
COMMENT ON VIEW audit.i9_nothing_is_stuck IS 'every claimed key has its answer, until the retention deletes it';

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
WHERE NOT EXISTS (SELECT FROM payments p WHERE p.merchant_id = e.merchant_id AND p.id = e.payment_id);
COMMENT ON VIEW audit.i12_transitions_are_legal IS 'a payment moves only along its state machine';
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO paymentsvc_app;

ALTER TABLE events
    DROP CONSTRAINT events_refund_is_named,
    DROP CONSTRAINT events_type_known,
    ADD CONSTRAINT events_type_known CHECK (type IN ('payment.processing', 'payment.authorized', 'payment.succeeded',
        'payment.declined', 'payment.canceled')),
    DROP COLUMN refund_id;
DROP TABLE refunds;
DROP FUNCTION refuse_refund_without_its_key();
DROP TRIGGER payments_transition_legal ON payments;
DROP FUNCTION refuse_illegal_transition();
REVOKE UPDATE (status, amount_captured, amount_refunded, description, metadata, version) ON payments FROM paymentsvc_app;
GRANT UPDATE ON payments TO paymentsvc_app;
DROP INDEX payments_authorized_until;
ALTER TABLE payments
    DROP CONSTRAINT payments_authorized_has_an_end,
    DROP COLUMN authorized_until;
CREATE OR REPLACE FUNCTION refuse_payment_without_its_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stray uuid;
BEGIN
    SELECT p.id INTO stray
    FROM inserted p
    LEFT JOIN idempotency_keys k
        ON k.merchant_id = p.merchant_id AND k.scope = 'client' AND k.key = p.idempotency_key
    WHERE k.payment_id IS DISTINCT FROM p.id
    LIMIT 1;
    IF FOUND THEN
        RAISE integrity_constraint_violation USING
            CONSTRAINT = 'payments_claimed_by_key',
            MESSAGE = format('payment %s is not the one that its idempotency key names', stray);
    END IF;
    RETURN NULL;
END
$$;
ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_operation_known,
    DROP CONSTRAINT idempotency_keys_scope_known;
DROP TRIGGER accounts_closed_for_good ON accounts;
DROP FUNCTION refuse_reopening();
ALTER TABLE accounts
    DROP CONSTRAINT accounts_closed_has_nothing_open,
    DROP CONSTRAINT accounts_held_for_open_payments,
    DROP CONSTRAINT accounts_open_payments_not_negative,
    DROP COLUMN open_payments;
REVOKE UPDATE (status, overdraft_limit, balance, held, last_sequence, last_entry_at, version, name, metadata)
    ON accounts FROM paymentsvc_app;
GRANT UPDATE ON accounts TO paymentsvc_app;
