-- What makes an operation happen once: its key, and the answer that a retry gets. These rows are
-- written by the transaction that changes payments, accounts and entries. It commits all or nothing.

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
    CONSTRAINT idempotency_keys_scope_known CHECK (scope = ANY ('{client,service,processor:stripe}')),
    CONSTRAINT idempotency_keys_operation_known
        CHECK (operation = ANY ('{charge,capture,cancel,expire,refund,settle}')),
    CONSTRAINT idempotency_keys_key_length CHECK (octet_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32)
);
COMMENT ON TABLE idempotency_keys IS $$
A request claims its key by inserting this row. The primary key gives the key to one transaction; a
rival transaction waits for that one to end, and then finds the row. A key is kept for ever: if it were
deleted with its answer, a very late retry would charge a second time.
$$;
COMMENT ON COLUMN idempotency_keys.scope IS
    'Separates key spaces: client is for callers, service for operations of the service itself, processor:stripe for the ids of that processor''s events.';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'SHA-256 of the request in a canonical encoding.';
COMMENT ON COLUMN idempotency_keys.fingerprint_version IS
    'The version of that encoding. A later release can change it and still recognise older requests.';
COMMENT ON COLUMN idempotency_keys.request_id IS
    'The request that claimed the key. It finds the answer, and lets the service recognise its own claim after a lost COMMIT reply.';
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO paymentsvc_app;

-- Only the transaction that made a claim may take it back: when its request is refused, the key stays
-- free. A committed claim stays. (xmin is the transaction that wrote the row.)
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

-- The answers have a table of their own, found by the request's id. Time-ordered ids append to the
-- right edge of the index; a second index over the keys would be written everywhere. The reaper finds
-- old answers by the same primary key.
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
COMMENT ON TABLE idempotency_answers IS $$
What was answered, so that a retry gets the same status and the same bytes. An answer is written by the
transaction of its operation and deleted after the retention. Only final answers are stored: a 409, a
429 or a 5xx must be able to become something else on the next try.
$$;
COMMENT ON COLUMN idempotency_answers.body IS 'Bytes, because jsonb would not keep them as they were.';
GRANT SELECT, INSERT, DELETE ON idempotency_answers TO paymentsvc_app;

CREATE TABLE idempotency_pending (
    merchant_id bigint      NOT NULL,
    request_id  uuid        NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT idempotency_pending_pkey PRIMARY KEY (merchant_id, request_id)
);
COMMENT ON TABLE idempotency_pending IS $$
The request is still at a card processor. It is written with the claim of the key, and deleted by the
transaction that stores the answer. A missing answer alone would not tell a request that is still worked
on from one whose answer was deleted after its retention.
$$;
GRANT SELECT, INSERT, DELETE ON idempotency_pending TO paymentsvc_app;

CREATE TABLE idempotency_reaper (
    only_row       boolean     NOT NULL DEFAULT true,
    answers_before timestamptz NOT NULL,
    CONSTRAINT idempotency_reaper_pkey PRIMARY KEY (only_row),
    CONSTRAINT idempotency_reaper_only_row CHECK (only_row)
);
COMMENT ON TABLE idempotency_reaper IS $$
How far the deletion of old answers has come. With it the audit can tell an answer that was deleted
from an answer that was never written.
$$;
COMMENT ON COLUMN idempotency_reaper.answers_before IS 'The reaper deletes answers that were created before this moment.';
INSERT INTO idempotency_reaper (answers_before) VALUES ('-infinity');
GRANT SELECT, UPDATE ON idempotency_reaper TO paymentsvc_app;

INSERT INTO schema_versions (version) VALUES (3);
