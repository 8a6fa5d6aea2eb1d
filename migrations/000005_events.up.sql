-- What the world is told.

CREATE TABLE events (
    merchant_id     bigint           NOT NULL,
    transaction_id  xid8             NOT NULL DEFAULT pg_current_xact_id(),
    id              uuid             NOT NULL,
    type            text COLLATE "C" NOT NULL,
    payment_id      uuid             NOT NULL,
    refund_id       uuid,
    payment_version bigint           NOT NULL,
    data            json             NOT NULL,
    created_at      timestamptz      NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (merchant_id, transaction_id, id),
    CONSTRAINT events_type_known CHECK (type = ANY ('{payment.processing,payment.authorized,
        payment.succeeded,payment.declined,payment.canceled,refund.processing,refund.succeeded,refund.declined}')),
    CONSTRAINT events_payment_version_from_one CHECK (payment_version >= 1),
    CONSTRAINT events_refund_is_named CHECK ((type LIKE 'refund.%') = (refund_id IS NOT NULL))
);
COMMENT ON TABLE events IS $$
A transactional outbox: one row for each change of state, written by the transaction that makes the
change. So there is never an event without its change, nor a change without its event.
$$;
COMMENT ON COLUMN events.transaction_id IS
    'Gives the feed its order. Ids are made before the locks and commits overtake each other, so a reader that remembers the last id would skip rows. A reader that stays below the oldest running transaction skips nothing.';
COMMENT ON COLUMN events.payment_version IS
    'The version of the payment after the change. Within a payment this is the order: the transaction takes its id before it locks the payment.';
COMMENT ON COLUMN events.data IS 'The payment or refund as it was after the change.';

-- Old events are deleted (EVENT_RETENTION), and never changed.
GRANT SELECT, INSERT, DELETE ON events TO paymentsvc_app;

CREATE TRIGGER events_immutable BEFORE UPDATE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- For sharded mode. There, defaults are computed on the coordinator, whose transaction ids mean nothing
-- to the node that has the rows. A trigger of the table calls this on that node.
CREATE FUNCTION number_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.transaction_id := pg_current_xact_id();
    RETURN NEW;
END
$$;

CREATE TABLE event_horizons (
    merchant_id    bigint      NOT NULL,
    transaction_id xid8        NOT NULL,
    event_id       uuid        NOT NULL,
    created_before timestamptz NOT NULL,
    CONSTRAINT event_horizons_pkey PRIMARY KEY (merchant_id)
);
COMMENT ON TABLE event_horizons IS $$
The last event of a merchant that the retention has deleted, and with it all events before. A reader who
was there has missed nothing. A reader who was before it has, and is told so. With it the audit can tell
an event that was deleted from an event that was never written.
$$;
COMMENT ON COLUMN event_horizons.created_before IS 'Every deleted event was created before this moment.';
GRANT SELECT, INSERT, UPDATE ON event_horizons TO paymentsvc_app;

CREATE TABLE feed_cursors (
    merchant_id    bigint           NOT NULL,
    consumer       text COLLATE "C" NOT NULL,
    transaction_id xid8             NOT NULL DEFAULT '0',
    event_id       uuid             NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    leased_until   timestamptz      NOT NULL DEFAULT '-infinity',
    CONSTRAINT feed_cursors_pkey PRIMARY KEY (merchant_id, consumer),
    CONSTRAINT feed_cursors_consumer_known CHECK (consumer = ANY ('{webhooks,nats}'))
) WITH (fillfactor = 50);
COMMENT ON TABLE feed_cursors IS $$
How far a consumer inside the service has come in a merchant's feed: the last event that it has handled,
at first none. All instances share the cursor. A cursor only moves on from the event that its reader
began at, so an instance that was stopped meanwhile cannot move it back.
$$;
COMMENT ON COLUMN feed_cursors.leased_until IS
    'Until when one instance alone handles the events, by the database''s clock. A lease saves work: two instances would do no harm.';
GRANT SELECT, INSERT, UPDATE, DELETE ON feed_cursors TO paymentsvc_app;

INSERT INTO schema_versions (version) VALUES (5);
