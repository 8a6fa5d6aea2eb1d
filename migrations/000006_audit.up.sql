-- The promises of this schema, as queries. Each view has the violations of one invariant, so an empty
-- view is a kept promise. Its comment is the promise. `paymentsvc audit`, the clean-up of every test
-- and the torture run read them through audit.violations(). To add an invariant, add a view with these
-- columns and a comment.
--
-- Most of these violations are also refused by a constraint or a trigger. The views ask again, from the
-- rows alone, because a constraint can be dropped and a backup restored.
CREATE SCHEMA audit;

CREATE VIEW audit.i1_journals_balance AS
SELECT merchant_id, 'journal ' || journal_id AS subject,
       format('%s entries in %s sum to %s', count(*), currency, sum(amount)) AS detail
FROM entries
GROUP BY merchant_id, journal_id, currency
HAVING sum(amount) <> 0 OR count(*) < 2;
COMMENT ON VIEW audit.i1_journals_balance IS 'every journal has two entries or more, which sum to zero in each currency';

CREATE VIEW audit.i2_balances_match_entries AS
SELECT a.merchant_id, 'account ' || a.id AS subject,
       format('balance %s after entry %s, but %s entries up to %s sum to %s',
              a.balance, a.last_sequence, coalesce(e.count, 0), coalesce(e.last, 0), coalesce(e.total, 0)) AS detail
FROM accounts a
LEFT JOIN (SELECT merchant_id, account_id, sum(amount) AS total, count(*) AS count, max(sequence) AS last
           FROM entries GROUP BY merchant_id, account_id) e
    ON e.merchant_id = a.merchant_id AND e.account_id = a.id
WHERE a.balance <> coalesce(e.total, 0) OR a.last_sequence <> coalesce(e.last, 0) OR coalesce(e.count, 0) <> coalesce(e.last, 0)
UNION ALL
SELECT merchant_id, format('account %s, entry %s', account_id, sequence),
       format('follows entry %s: %s and %s do not make %s, at %s', previous, balance_before, amount, balance_after, at)
FROM (SELECT merchant_id, account_id, sequence, amount, balance_after, at,
             coalesce(lag(sequence) OVER chain, 0) AS previous,
             coalesce(lag(balance_after) OVER chain, 0) AS balance_before,
             coalesce(lag(at) OVER chain, '-infinity') AS at_before
      FROM entries
      WINDOW chain AS (PARTITION BY merchant_id, account_id ORDER BY sequence)) links
WHERE sequence <> previous + 1 OR balance_after <> balance_before + amount OR at < at_before;
COMMENT ON VIEW audit.i2_balances_match_entries IS
    'every balance is the sum of its entries, whose chain has no gap and does not go back in time';

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

CREATE VIEW audit.i4_no_orphans AS
SELECT e.merchant_id, format('account %s, entry %s', e.account_id, e.sequence) AS subject,
       CASE WHEN p.id IS NULL THEN format('there is no payment %s', e.payment_id)
            WHEN a.id IS NULL THEN 'there is no such account'
            ELSE format('entry in %s, account in %s, payment in %s', e.currency, a.currency, p.currency) END AS detail
FROM entries e
LEFT JOIN payments p ON p.merchant_id = e.merchant_id AND p.id = e.payment_id
LEFT JOIN accounts a ON a.merchant_id = e.merchant_id AND a.id = e.account_id
WHERE p.id IS NULL OR a.id IS NULL OR e.currency <> a.currency OR e.currency <> p.currency
UNION ALL
SELECT p.merchant_id, 'payment ' || p.id, format('account %s is missing or not in %s', side.account_id, p.currency)
FROM payments p
CROSS JOIN LATERAL (VALUES (p.source_account), (p.destination_account)) AS side (account_id)
LEFT JOIN accounts a ON a.merchant_id = p.merchant_id AND a.id = side.account_id
WHERE a.currency IS DISTINCT FROM p.currency;
COMMENT ON VIEW audit.i4_no_orphans IS 'every entry belongs to a payment and an account of the same merchant and currency';

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

CREATE VIEW audit.i6_answers_tell_the_truth AS
SELECT k.merchant_id, 'request ' || k.request_id AS subject,
       CASE WHEN p.id IS NULL THEN format('its key names payment %s, which does not exist', k.payment_id)
            ELSE format('answered %s at %L, payment %s is %s', a.status, a.location, p.id,
                        concat_ws(', ', p.status, p.cancellation_reason)) END AS detail
FROM idempotency_keys k
LEFT JOIN payments p ON p.merchant_id = k.merchant_id AND p.id = k.payment_id
LEFT JOIN refunds r ON r.merchant_id = k.merchant_id AND r.idempotency_key = k.key AND k.scope = 'client'
LEFT JOIN idempotency_answers a ON a.merchant_id = k.merchant_id AND a.request_id = k.request_id
LEFT JOIN idempotency_pending q ON q.merchant_id = k.merchant_id AND q.request_id = k.request_id
WHERE p.id IS NULL
   OR q.request_id IS NOT NULL AND a.request_id IS NOT NULL
   OR a.status NOT BETWEEN 200 AND 299 AND a.status <> 402
   OR k.operation NOT IN ('charge', 'capture', 'cancel', 'expire', 'refund', 'settle')
   OR k.operation = 'charge' AND (
        a.status = 402 AND p.status <> 'declined'
        OR a.status = 201 AND p.status = 'declined'
        OR a.status = 201 AND a.location <> '/payments/pay_' || replace(p.id::text, '-', ''))
   OR k.operation = 'capture' AND q.request_id IS NULL AND NOT (
        coalesce(a.status, 200) = 200 AND p.status = 'succeeded'
        -- the processor had ended the authorization
        OR coalesce(a.status, 402) = 402 AND p.status = 'canceled' AND p.payment_method IS NOT NULL
            AND p.cancellation_reason = 'expired')
   OR k.operation IN ('cancel', 'expire') AND q.request_id IS NULL AND NOT (
        coalesce(a.status, 200) = 200 AND p.status = 'canceled'
            AND p.cancellation_reason = CASE k.operation WHEN 'cancel' THEN 'requested' ELSE 'expired' END
        -- somebody had captured it at the processor
        OR coalesce(a.status, 200) = 200 AND p.status = 'succeeded' AND p.payment_method IS NOT NULL)
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

CREATE VIEW audit.i7_caps_and_floors AS
SELECT merchant_id, 'account ' || id AS subject,
       format('balance %s less held %s is below the floor of -%s', balance, held, overdraft_limit) AS detail
FROM accounts
WHERE balance::numeric - held < -overdraft_limit
UNION ALL
SELECT merchant_id, 'account ' || id, format('balance %s or held %s is beyond ±9007199254740991', balance, held)
FROM accounts
WHERE abs(balance::numeric) > 9007199254740991 OR held > 9007199254740991
UNION ALL
SELECT merchant_id, 'payment ' || id,
       format('%s of %s captured, %s refunded', amount_captured, amount, amount_refunded)
FROM payments
WHERE amount_captured > amount OR amount_refunded + amount_refunding > amount_captured
UNION ALL
SELECT p.merchant_id, 'payment ' || p.id,
       format('%s refunded and %s being refunded, but its refunds sum to %s and %s', p.amount_refunded, p.amount_refunding,
              coalesce(r.done, 0), coalesce(r.pending, 0))
FROM payments p
LEFT JOIN (SELECT merchant_id, payment_id, sum(amount) FILTER (WHERE status = 'succeeded') AS done,
                  sum(amount) FILTER (WHERE status = 'processing') AS pending
           FROM refunds GROUP BY merchant_id, payment_id) r
    ON r.merchant_id = p.merchant_id AND r.payment_id = p.id
WHERE p.amount_refunded <> coalesce(r.done, 0) OR p.amount_refunding <> coalesce(r.pending, 0)
UNION ALL
-- An authorization holds the money of its source account; that of a card is held at the processor. A
-- refund that is at the processor holds the money of the payment's destination.
SELECT a.merchant_id, 'account ' || a.id,
       format('held %s with %s open payments, but its payments and refunds hold %s and %s are open',
              a.held, a.open_payments, coalesce(h.total, 0), coalesce(h.count, 0))
FROM accounts a
LEFT JOIN (SELECT o.merchant_id, side.account_id, count(*) AS count,
                  coalesce(sum(o.held) FILTER (WHERE side.account_id = o.holder), 0) AS total
           FROM (SELECT merchant_id, source_account, destination_account, source_account AS holder,
                        CASE WHEN payment_method IS NULL THEN amount ELSE 0 END AS held
                 FROM payments WHERE status IN ('authorized', 'processing')
                 UNION ALL
                 SELECT p.merchant_id, p.source_account, p.destination_account, p.destination_account, r.amount
                 FROM refunds r
                 JOIN payments p ON p.merchant_id = r.merchant_id AND p.id = r.payment_id
                 WHERE r.status = 'processing') o
           CROSS JOIN LATERAL (VALUES (o.source_account), (o.destination_account)) AS side (account_id)
           GROUP BY o.merchant_id, side.account_id) h
    ON h.merchant_id = a.merchant_id AND h.account_id = a.id
WHERE a.held <> coalesce(h.total, 0) OR a.open_payments <> coalesce(h.count, 0);
COMMENT ON VIEW audit.i7_caps_and_floors IS
    'no balance is below its floor or beyond 2^53 - 1, nothing is captured or refunded over its cap, and what is held is what was authorized';

CREATE VIEW audit.i8_one_event_per_change AS
SELECT p.merchant_id, 'payment ' || p.id AS subject,
       format('is %s, with %s events that say so', p.status, count(e.id)) AS detail
FROM payments p
LEFT JOIN events e ON e.merchant_id = p.merchant_id AND e.payment_id = p.id AND e.type = 'payment.' || p.status
LEFT JOIN event_horizons h ON h.merchant_id = p.merchant_id
WHERE p.created_at >= coalesce(h.created_before, '-infinity') -- the retention has deleted older events
GROUP BY p.merchant_id, p.id, p.status
HAVING count(e.id) <> 1
UNION ALL
SELECT r.merchant_id, 'refund ' || r.id, format('is %s, with %s events that say so', r.status, count(e.id))
FROM refunds r
LEFT JOIN events e ON e.merchant_id = r.merchant_id AND e.payment_id = r.payment_id AND e.refund_id = r.id
    AND e.type = 'refund.' || r.status
LEFT JOIN event_horizons h ON h.merchant_id = r.merchant_id
WHERE r.created_at >= coalesce(h.created_before, '-infinity')
GROUP BY r.merchant_id, r.id, r.status
HAVING count(e.id) <> 1
UNION ALL
SELECT merchant_id, coalesce('refund ' || refund_id, 'payment ' || payment_id), format('%s events %s', count(*), type)
FROM events
GROUP BY merchant_id, payment_id, refund_id, type
HAVING count(*) > 1;
COMMENT ON VIEW audit.i8_one_event_per_change IS
    'every change of state has exactly one event, until the retention deletes it';

CREATE VIEW audit.i9_nothing_is_stuck AS
SELECT k.merchant_id, 'request ' || k.request_id AS subject,
       format('claimed its key at %s and was never answered', k.created_at) AS detail
FROM idempotency_keys k
WHERE k.created_at >= (SELECT answers_before FROM idempotency_reaper)
  AND NOT EXISTS (SELECT FROM idempotency_pending q WHERE q.merchant_id = k.merchant_id AND q.request_id = k.request_id)
  AND NOT EXISTS (SELECT FROM idempotency_answers a WHERE a.merchant_id = k.merchant_id AND a.request_id = k.request_id)
UNION ALL
SELECT merchant_id, 'payment ' || id, format('was to be captured or canceled by %s', authorized_until)
FROM payments
WHERE status = 'authorized' AND pending_operation IS NULL
    AND authorized_until < clock_timestamp() - interval '1 day'; -- an instance does it within seconds
COMMENT ON VIEW audit.i9_nothing_is_stuck IS
    'every claimed key has its answer, until the retention deletes it, or is still at the processor, and no authorization outlives its end';

CREATE VIEW audit.i12_transitions_are_legal AS
SELECT merchant_id, 'payment ' || payment_id AS subject,
       format('%s after %s', status, coalesce(nullif(before, ''), 'nothing')) AS detail
FROM (SELECT e.merchant_id, e.payment_id, split_part(e.type, '.', 2) AS status,
             coalesce(lag(split_part(e.type, '.', 2)) OVER life, '') AS before,
             row_number() OVER life = 1 AND p.created_at < h.created_before AS may_follow_deleted
      FROM events e
      LEFT JOIN event_horizons h ON h.merchant_id = e.merchant_id
      LEFT JOIN payments p ON p.merchant_id = e.merchant_id AND p.id = e.payment_id
      WHERE e.type LIKE 'payment.%'
      WINDOW life AS (PARTITION BY e.merchant_id, e.payment_id ORDER BY e.payment_version, e.transaction_id, e.id)) steps
WHERE (before, status) NOT IN (SELECT from_status, to_status FROM payment_transitions())
    AND may_follow_deleted IS NOT TRUE
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

-- Every violation of every view of this schema, at most max_rows of each. STABLE makes all views read
-- the snapshot of the calling query. Otherwise a charge between two views would look like a violation.
CREATE FUNCTION audit.violations(max_rows bigint)
RETURNS TABLE (invariant text, promise text, merchant_id bigint, subject text, detail text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    view record;
BEGIN
    FOR view IN
        SELECT c.relname::text AS name, coalesce(obj_description(c.oid, 'pg_class'), '') AS promise
        FROM pg_class c
        WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind = 'v'
        ORDER BY length(substring(c.relname FROM '^i[0-9]+')), c.relname COLLATE "C"
    LOOP
        -- MATERIALIZED, because most views are empty. For a LIMIT, the planner would choose a plan that is
        -- cheap only if the first rows come early.
        RETURN QUERY EXECUTE format(
            'WITH found AS MATERIALIZED (SELECT merchant_id, subject::text, detail::text FROM audit.%I)
             SELECT %L::text, %L::text, merchant_id, subject, detail FROM found LIMIT $1',
            view.name, view.name, view.promise) USING max_rows;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA audit TO paymentsvc_app;
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO paymentsvc_app;

INSERT INTO schema_versions (version) VALUES (6);
