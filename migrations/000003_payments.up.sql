-- Payments, and what makes them happen once. All of these tables are written by one transaction per batch of charges,
-- together with the accounts and entries of the ledger: either everything that a charge means is there, or nothing is.

-- The heart of it. A request claims its key by inserting this row; the primary key lets exactly one transaction have
-- it, whichever instance asks and however often. Everybody else waits for that transaction, and then finds the row.
--
-- A key is kept for ever. If it were deleted with its answer, a retry that comes later than anyone expected would
-- charge a second time. What is deleted after the retention is the answer's bytes, in the table below.
--
-- scope separates the key spaces: 'client' is shared by HTTP and messages. fingerprint is a SHA-256 of the request in
-- a canonical encoding, whose version stands beside it, so that a later release can change the encoding and still
-- recognise the older ones. request_id names the request that claimed the key: it finds the answer, and it is how the
-- service recognises its own claim after it lost the acknowledgement of a COMMIT.
CREATE TABLE idempotency_keys (
    merchant_id         bigint           NOT NULL,
    scope               text COLLATE "C" NOT NULL,
    key                 text COLLATE "C" NOT NULL,
    operation           text COLLATE "C" NOT NULL,
    fingerprint         bytea            NOT NULL,
    fingerprint_version smallint         NOT NULL,
    request_id          uuid             NOT NULL,
    payment_id          uuid             NOT NULL,
    created_at          timestamptz      NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (merchant_id, scope, key),
    CONSTRAINT idempotency_keys_key_length CHECK (octet_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32)
);

-- A claim may be taken back only by the transaction that made it, when its request is refused and the key stays free.
-- Once a claim is committed nothing removes or changes it. (xmin is the transaction that wrote the row.)
CREATE FUNCTION refuse_losing_a_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.xmin::text::bigint = (pg_current_xact_id()::text::numeric % 4294967296)::bigint THEN
        RETURN OLD;
    END IF;
    RAISE insufficient_privilege USING
        CONSTRAINT = TG_NAME,
        MESSAGE = 'an idempotency key is kept for ever: only the transaction that claimed it may take it back';
END
$$;

CREATE TRIGGER idempotency_keys_kept BEFORE DELETE ON idempotency_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_losing_a_key();
CREATE TRIGGER idempotency_keys_immutable BEFORE UPDATE OR TRUNCATE ON idempotency_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What was answered, as bytes, because a retry gets the same bytes (jsonb would not keep them). Written in the
-- transaction of the change that it reports, and deleted after the retention. Only final answers are ever stored: the
-- database refuses a 409, a 429 or a 5xx, which a retry must be able to outlive.
--
-- A table of its own, found by the request's id: time-ordered ids append to the right edge of the index, where a second
-- index over the keys themselves would write all over it. The BRIN index is what the reaper reads: it is tiny, and the
-- rows lie in the order of their time.
CREATE TABLE idempotency_answers (
    merchant_id bigint      NOT NULL,
    request_id  uuid        NOT NULL,
    status      smallint    NOT NULL,
    location    text        NOT NULL,
    body        bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT idempotency_answers_pkey PRIMARY KEY (merchant_id, request_id),
    CONSTRAINT idempotency_answers_status_final CHECK (status BETWEEN 200 AND 299 OR status = 402)
);
CREATE INDEX idempotency_answers_created_at ON idempotency_answers USING brin (created_at) WITH (autosummarize = on);

-- How far the reaper has come: no answer that was created before this moment is left. With it the audit can tell an
-- answer that was reaped from one that was never written.
CREATE TABLE idempotency_reaper (
    only_row       boolean     NOT NULL DEFAULT true,
    answers_before timestamptz NOT NULL,
    CONSTRAINT idempotency_reaper_pkey PRIMARY KEY (only_row),
    CONSTRAINT idempotency_reaper_only_row CHECK (only_row)
);
INSERT INTO idempotency_reaper (answers_before) VALUES ('-infinity');

-- A payment is one intent to move money from a source to a destination. What it may still do is decided by this row
-- alone, which every change of it locks: status, and the totals captured and refunded, whose caps are checked here too.
CREATE TABLE payments (
    merchant_id         bigint           NOT NULL,
    id                  uuid             NOT NULL, -- version 7: sorts by time
    status              text COLLATE "C" NOT NULL,
    amount              bigint           NOT NULL, -- minor units
    currency            text COLLATE "C" NOT NULL,
    source_account      text COLLATE "C" NOT NULL,
    destination_account text COLLATE "C" NOT NULL,
    amount_captured     bigint           NOT NULL,
    amount_refunded     bigint           NOT NULL DEFAULT 0,
    decline_code        text COLLATE "C",
    reference           text COLLATE "C",
    description         text             NOT NULL,
    metadata            jsonb            NOT NULL,
    idempotency_key     text COLLATE "C" NOT NULL, -- the key in scope 'client' that created it
    version             bigint           NOT NULL DEFAULT 1,
    created_at          timestamptz      NOT NULL, -- the database's clock, read after the locks
    CONSTRAINT payments_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT payments_status_known
        CHECK (status IN ('authorized', 'processing', 'succeeded', 'declined', 'canceled')),
    CONSTRAINT payments_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT payments_captured_within_amount CHECK (amount_captured BETWEEN 0 AND amount),
    CONSTRAINT payments_refunded_within_captured CHECK (amount_refunded BETWEEN 0 AND amount_captured),
    CONSTRAINT payments_captured_when_succeeded CHECK ((status = 'succeeded') = (amount_captured > 0)),
    CONSTRAINT payments_decline_has_a_code CHECK ((status = 'declined') = (decline_code IS NOT NULL)),
    CONSTRAINT payments_accounts_differ CHECK (source_account <> destination_account),
    CONSTRAINT payments_reference_length CHECK (char_length(reference) BETWEEN 1 AND 128),
    CONSTRAINT payments_description_length CHECK (char_length(description) <= 500)
);

-- The other half of "one key, one payment": a payment cannot be written without the claim that names it, and the
-- primary key above allows one claim a key. This is a foreign key to idempotency_keys that also compares payment_id,
-- checked once a statement (see entries for what row-wise checks cost).
CREATE FUNCTION refuse_payment_without_its_key() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER payments_claimed_by_key AFTER INSERT ON payments
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_without_its_key();

-- The caller's own name for what is paid (an order number), which only one live payment may have: neither declined
-- nor canceled. The row is inserted to claim the name, and deleted when its payment ends without charging. So an order
-- cannot be paid twice even under two idempotency keys.
CREATE TABLE payment_references (
    merchant_id bigint           NOT NULL,
    reference   text COLLATE "C" NOT NULL,
    payment_id  uuid             NOT NULL,
    CONSTRAINT payment_references_pkey PRIMARY KEY (merchant_id, reference)
);

-- What happened, one row per change of state, for whoever wants to be told (a transactional outbox): it is written
-- by the transaction that makes the change, so there is never an event without its change or a change without its event.
--
-- transaction_id gives the feed its order. Ids are made before the locks and commits overtake each other, so a reader
-- that remembers "the last id" would skip rows that commit late; one that reads only below the oldest running
-- transaction skips nothing.
CREATE TABLE events (
    merchant_id    bigint           NOT NULL,
    transaction_id xid8             NOT NULL DEFAULT pg_current_xact_id(),
    id             uuid             NOT NULL,
    type           text COLLATE "C" NOT NULL,
    payment_id     uuid             NOT NULL,
    data           json             NOT NULL, -- the payment as it was after the change
    created_at     timestamptz      NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (merchant_id, transaction_id, id),
    CONSTRAINT events_type_known CHECK (type IN ('payment.processing', 'payment.authorized', 'payment.succeeded',
        'payment.declined', 'payment.canceled'))
);

GRANT SELECT, INSERT, DELETE ON idempotency_keys TO paymentsvc_app;
GRANT SELECT, INSERT, DELETE ON idempotency_answers TO paymentsvc_app;
GRANT SELECT, UPDATE ON idempotency_reaper TO paymentsvc_app;
GRANT SELECT, INSERT, UPDATE ON payments TO paymentsvc_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON payment_references TO paymentsvc_app;
GRANT SELECT, INSERT ON events TO paymentsvc_app;
