-- Webhooks: a merchant's endpoints, their deliveries, and each attempt.
-- No charge touches these tables.

CREATE TABLE webhook_endpoints (
    merchant_id            bigint           NOT NULL,
    id                     text COLLATE "C" NOT NULL,
    uid                    uuid             NOT NULL DEFAULT gen_random_uuid(),
    url                    text             NOT NULL,
    event_types            text[],
    status                 text COLLATE "C" NOT NULL DEFAULT 'enabled',
    disabled_reason        text COLLATE "C",
    secret                 text COLLATE "C" NOT NULL,
    previous_secret        text COLLATE "C",
    previous_valid_until   timestamptz,
    version                bigint           NOT NULL DEFAULT 1,
    since_transaction_id   xid8             NOT NULL,
    changed_transaction_id xid8             NOT NULL,
    created_at             timestamptz      NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT webhook_endpoints_uid_unique UNIQUE (merchant_id, uid),
    CONSTRAINT webhook_endpoints_merchant_exists FOREIGN KEY (merchant_id) REFERENCES merchants (id),
    CONSTRAINT webhook_endpoints_id_form CHECK (id ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$'),
    CONSTRAINT webhook_endpoints_url_form CHECK (url ~ '^https?://' AND octet_length(url) <= 2048),
    CONSTRAINT webhook_endpoints_event_types_some CHECK (cardinality(event_types) > 0),
    CONSTRAINT webhook_endpoints_status_known CHECK (status IN ('enabled', 'disabled')),
    CONSTRAINT webhook_endpoints_disabled_has_a_reason CHECK (
        (status = 'disabled') = (disabled_reason IS NOT NULL) AND disabled_reason IN ('requested', 'gone')),
    CONSTRAINT webhook_endpoints_secret_form CHECK (secret ~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$'),
    CONSTRAINT webhook_endpoints_previous_secret_ends CHECK ((previous_secret IS NULL) = (previous_valid_until IS NULL))
);
COMMENT ON TABLE webhook_endpoints IS $$
The receivers of a merchant's events. The merchant chooses the id, so making one is an upsert.
$$;
COMMENT ON COLUMN webhook_endpoints.uid IS
    'Names this row among all that ever had the id. Deliveries refer to it, so an endpoint that is made again does not get those of the deleted one.';
COMMENT ON COLUMN webhook_endpoints.event_types IS 'NULL: all.';
COMMENT ON COLUMN webhook_endpoints.disabled_reason IS 'requested: by the merchant. gone: the receiver answered 410.';
COMMENT ON COLUMN webhook_endpoints.secret IS 'In clear, because every delivery is signed with it.';
COMMENT ON COLUMN webhook_endpoints.previous_secret IS
    'Signs too until previous_valid_until, by the database''s clock, so that a receiver can change over.';
COMMENT ON COLUMN webhook_endpoints.since_transaction_id IS
    'The transaction that made the endpoint. Only events of later transactions go to it.';
COMMENT ON COLUMN webhook_endpoints.changed_transaction_id IS
    'The last transaction that decided which events go to it: its types or its status. The fan-out has seen that decision at each event of a later transaction, because it reads only below the oldest running one. The audit counts on these.';
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_endpoints TO paymentsvc_app;

-- A trigger takes the ids, because in sharded mode a statement would take those of the coordinator.
CREATE FUNCTION number_subscription() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.since_transaction_id := pg_current_xact_id();
        NEW.changed_transaction_id := pg_current_xact_id();
    ELSIF (NEW.event_types, NEW.status) IS DISTINCT FROM (OLD.event_types, OLD.status) THEN
        NEW.changed_transaction_id := pg_current_xact_id();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER webhook_endpoints_numbered BEFORE INSERT OR UPDATE ON webhook_endpoints
    FOR EACH ROW EXECUTE FUNCTION number_subscription();

CREATE TABLE webhook_deliveries (
    merchant_id     bigint           NOT NULL,
    endpoint_uid    uuid             NOT NULL,
    transaction_id  xid8             NOT NULL,
    event_id        uuid             NOT NULL,
    is_test         boolean          NOT NULL DEFAULT false,
    status          text COLLATE "C" NOT NULL DEFAULT 'pending',
    attempts        bigint           NOT NULL DEFAULT 0,
    begun_at        timestamptz      NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at timestamptz      NOT NULL DEFAULT clock_timestamp(),
    lease           uuid,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (merchant_id, endpoint_uid, transaction_id, event_id),
    CONSTRAINT webhook_deliveries_status_known CHECK (status IN ('pending', 'delivered', 'failed')),
    CONSTRAINT webhook_deliveries_leased_while_pending CHECK (lease IS NULL OR status = 'pending')
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE webhook_deliveries IS $$
One event that is to reach one endpoint. The fan-out writes the rows in the transaction that moves its
cursor, so no event is passed over. A row is pending until the receiver has taken the event or the last
try has failed. It is never marked before it is sent: a worker that dies leaves it pending.
$$;
COMMENT ON COLUMN webhook_deliveries.endpoint_uid IS
    'No foreign key: deleting an endpoint would delete all its deliveries in one transaction. The workers pass over rows without an endpoint, and the retention deletes them in batches.';
COMMENT ON COLUMN webhook_deliveries.transaction_id IS 'With event_id, the place of the event in the feed.';
COMMENT ON COLUMN webhook_deliveries.is_test IS 'A test event, which is not in the feed.';
COMMENT ON COLUMN webhook_deliveries.attempts IS 'Tries that began since begun_at.';
COMMENT ON COLUMN webhook_deliveries.begun_at IS 'When trying began; redelivery by hand begins anew.';
COMMENT ON COLUMN webhook_deliveries.next_attempt_at IS
    'When a worker may take the row. A lease moves it to the lease''s end, so a row of a dead worker becomes due by itself.';
COMMENT ON COLUMN webhook_deliveries.lease IS
    'A fencing token. Only the worker with the last lease may mark the row.';
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries
    (merchant_id, endpoint_uid, next_attempt_at, transaction_id, event_id) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_begun_at ON webhook_deliveries (begun_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_deliveries TO paymentsvc_app;

CREATE TABLE webhook_attempts (
    merchant_id    bigint      NOT NULL,
    endpoint_uid   uuid        NOT NULL,
    id             uuid        NOT NULL,
    transaction_id xid8        NOT NULL,
    event_id       uuid        NOT NULL,
    number         bigint      NOT NULL,
    status_code    bigint,
    error          text,
    latency_ms     bigint      NOT NULL,
    response       text        NOT NULL,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (merchant_id, endpoint_uid, id),
    CONSTRAINT webhook_attempts_status_or_error CHECK (status_code IS NOT NULL OR error IS NOT NULL),
    CONSTRAINT webhook_attempts_response_length CHECK (octet_length(response) <= 4096)
);
COMMENT ON TABLE webhook_attempts IS $$
Each try to deliver, for the merchant to look at when a receiver does not get its events.
$$;
COMMENT ON COLUMN webhook_attempts.id IS 'A UUIDv7, which gives the list its order.';
COMMENT ON COLUMN webhook_attempts.error IS 'Why there was no answer, in words of the service. They tell nothing about its network.';
COMMENT ON COLUMN webhook_attempts.response IS 'The first bytes of the answer.';
CREATE INDEX webhook_attempts_at ON webhook_attempts (at);
GRANT SELECT, INSERT, DELETE ON webhook_attempts TO paymentsvc_app;

CREATE VIEW audit.i8_every_event_is_delivered AS
SELECT w.merchant_id, 'event ' || e.id AS subject,
       format('endpoint %s subscribes to %s, and the event was not passed on to it', w.id, e.type) AS detail
FROM webhook_endpoints w
JOIN feed_cursors c ON c.merchant_id = w.merchant_id AND c.consumer = 'webhooks'
JOIN events e ON e.merchant_id = w.merchant_id
    AND (e.transaction_id, e.id) <= (c.transaction_id, c.event_id)
    AND e.transaction_id > w.changed_transaction_id
WHERE w.status = 'enabled' AND (w.event_types IS NULL OR e.type = ANY (w.event_types))
    AND NOT EXISTS (
        SELECT FROM webhook_deliveries d
        WHERE d.merchant_id = w.merchant_id AND d.endpoint_uid = w.uid
            AND d.transaction_id = e.transaction_id AND d.event_id = e.id)
UNION ALL
SELECT w.merchant_id, 'webhook endpoint ' || w.id, 'there is no cursor, so it gets no events'
FROM webhook_endpoints w
WHERE NOT EXISTS (SELECT FROM feed_cursors c WHERE c.merchant_id = w.merchant_id AND c.consumer = 'webhooks');
COMMENT ON VIEW audit.i8_every_event_is_delivered IS
    'every event that the fan-out has passed has a delivery for each endpoint that subscribes to it';
GRANT SELECT ON audit.i8_every_event_is_delivered TO paymentsvc_app;

INSERT INTO schema_versions (version) VALUES (7);
