-- Leases up to $5 due deliveries: of each endpoint $4, or as many as the list ($1, $2, $3) says. $8 is
-- their merchant, or NULL for all merchants.
-- It jumps along the index from one endpoint with pending deliveries to the next, so that a long
-- queue of one endpoint does not stand before the others. Rows that another worker has locked are
-- passed over. The lock reads the row again, so a row that was taken meanwhile is left.
WITH RECURSIVE waiting AS (
    (SELECT d.merchant_id, d.endpoint_uid
        FROM webhook_deliveries d
        WHERE ($8::bigint IS NULL OR d.merchant_id = $8) AND d.status = 'pending'
        ORDER BY d.merchant_id, d.endpoint_uid
        LIMIT 1)
    UNION ALL
    SELECT next.merchant_id, next.endpoint_uid
    FROM waiting w
    CROSS JOIN LATERAL (
        SELECT d.merchant_id, d.endpoint_uid
        FROM webhook_deliveries d
        WHERE ($8::bigint IS NULL OR d.merchant_id = $8) AND d.status = 'pending'
            AND (d.merchant_id, d.endpoint_uid) > (w.merchant_id, w.endpoint_uid)
        ORDER BY d.merchant_id, d.endpoint_uid
        LIMIT 1) AS next),
served AS (
    SELECT w.merchant_id, w.endpoint_uid, coalesce(r.free, $4) AS free
    FROM waiting w
    CROSS JOIN LATERAL (
        SELECT FROM webhook_endpoints e
        WHERE e.merchant_id = coalesce($8, w.merchant_id) AND e.uid = w.endpoint_uid
            AND e.status = 'enabled'
        OFFSET 0) AS e
    LEFT JOIN unnest($1::bigint[], $2::uuid[], $3::bigint[])
        AS r (merchant_id, endpoint_uid, free)
        ON r.merchant_id = w.merchant_id AND r.endpoint_uid = w.endpoint_uid),
due AS (
    SELECT s.merchant_id, s.endpoint_uid, d.transaction_id, d.event_id
    FROM served s
    CROSS JOIN LATERAL (
        SELECT d.transaction_id, d.event_id
        FROM webhook_deliveries d
        WHERE d.merchant_id = coalesce($8, s.merchant_id) AND d.endpoint_uid = s.endpoint_uid
            AND d.status = 'pending' AND d.next_attempt_at <= statement_timestamp()
        ORDER BY d.next_attempt_at, d.transaction_id, d.event_id
        LIMIT s.free) AS d
    LIMIT $5),
leased AS (
    UPDATE webhook_deliveries d
    SET lease = $6, attempts = d.attempts + 1,
        next_attempt_at = statement_timestamp() + $7::interval
    FROM (
        SELECT locked.row
        FROM due
        CROSS JOIN LATERAL (
            SELECT d.ctid AS row
            FROM webhook_deliveries d
            WHERE d.merchant_id = coalesce($8, due.merchant_id)
                AND d.endpoint_uid = due.endpoint_uid
                AND d.transaction_id = due.transaction_id AND d.event_id = due.event_id
                AND d.status = 'pending' AND d.next_attempt_at <= statement_timestamp()
            FOR UPDATE SKIP LOCKED) AS locked) AS taken
    WHERE d.merchant_id = coalesce($8, d.merchant_id) AND d.ctid = taken.row
    RETURNING d.merchant_id, d.endpoint_uid, d.transaction_id, d.event_id, d.attempts,
        d.is_test, d.begun_at)
SELECT l.merchant_id, l.endpoint_uid, l.transaction_id, l.event_id, l.attempts, l.is_test,
    l.begun_at, w.id, w.version, w.url, w.secrets, statement_timestamp(),
    e.type, e.payment_id, e.payment_version, e.data, e.created_at
FROM leased l
CROSS JOIN LATERAL (
    SELECT w.id, w.version, w.url, CASE
        WHEN w.previous_valid_until > statement_timestamp()
        THEN ARRAY[w.secret, w.previous_secret] ELSE ARRAY[w.secret] END AS secrets
    FROM webhook_endpoints w
    WHERE w.merchant_id = coalesce($8, l.merchant_id) AND w.uid = l.endpoint_uid
    OFFSET 0) AS w
LEFT JOIN LATERAL (
    SELECT e.type, e.payment_id, e.payment_version, e.data, e.created_at
    FROM events e
    WHERE e.merchant_id = coalesce($8, l.merchant_id) AND e.transaction_id = l.transaction_id
        AND e.id = l.event_id
    OFFSET 0) AS e ON true
