-- What the world is told.

CREATE TABLE events (
    merchant_id    bigint           NOT NULL,
    transaction_id xid8             NOT NULL DEFAULT pg_current_xact_id(),
    id             uuid             NOT NULL,
    type           text COLLATE "C" NOT NULL,
    payment_id     uuid             NOT NULL,
    refund_id      uuid,
    data           json             NOT NULL,
    created_at     timestamptz      NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (merchant_id, transaction_id, id),
    CONSTRAINT events_type_known CHECK (type IN ('payment.processing', 'payment.authorized', 'payment.succeeded',
        'payment.declined', 'payment.canceled', 'refund.processing', 'refund.succeeded', 'refund.declined')),
    CONSTRAINT events_refund_is_named CHECK ((type LIKE 'refund.%') = (refund_id IS NOT NULL))
);
COMMENT ON TABLE events IS $$
A transactional outbox: one row for each change of state, written by the transaction that makes the
change. So there is never an event without its change, nor a change without its event.
$$;
COMMENT ON COLUMN events.transaction_id IS
    'Gives the feed its order. Ids are made before the locks and commits overtake each other, so a reader that remembers the last id would skip rows. A reader that stays below the oldest running transaction skips nothing.';
COMMENT ON COLUMN events.data IS 'The payment or refund as it was after the change.';
GRANT SELECT, INSERT ON events TO paymentsvc_app;

INSERT INTO schema_versions (version) VALUES (5);
