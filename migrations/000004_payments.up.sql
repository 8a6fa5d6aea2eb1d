-- Payments, the references that callers give them, and refunds.

CREATE TABLE payments (
    merchant_id         bigint           NOT NULL,
    id                  uuid             NOT NULL,
    status              text COLLATE "C" NOT NULL,
    amount              bigint           NOT NULL,
    currency            text COLLATE "C" NOT NULL,
    source_account      text COLLATE "C" NOT NULL,
    payment_method      text COLLATE "C",
    destination_account text COLLATE "C" NOT NULL,
    amount_captured     bigint           NOT NULL,
    amount_refunded     bigint           NOT NULL DEFAULT 0,
    amount_refunding    bigint           NOT NULL DEFAULT 0,
    pending_operation   text COLLATE "C",
    decline_code        text COLLATE "C",
    cancellation_reason text COLLATE "C",
    authorized_until    timestamptz,
    reference           text COLLATE "C",
    description         text             NOT NULL,
    metadata            jsonb            NOT NULL,
    idempotency_key     text COLLATE "C" NOT NULL,
    version             bigint           NOT NULL DEFAULT 1,
    created_at          timestamptz      NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT payments_status_known
        CHECK (status = ANY ('{authorized,processing,succeeded,declined,canceled}')),
    CONSTRAINT payments_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT payments_captured_within_amount CHECK (amount_captured BETWEEN 0 AND amount),
    CONSTRAINT payments_refunded_within_captured
        CHECK (amount_refunded >= 0 AND amount_refunding >= 0
            AND amount_refunded + amount_refunding <= amount_captured),
    CONSTRAINT payments_captured_when_succeeded CHECK ((status = 'succeeded') = (amount_captured > 0)),
    CONSTRAINT payments_decline_has_a_code CHECK ((status = 'declined') = (decline_code IS NOT NULL)),
    CONSTRAINT payments_cancellation_has_a_reason
        CHECK ((status = 'canceled') = (cancellation_reason IS NOT NULL)),
    CONSTRAINT payments_cancellation_reason_known CHECK (cancellation_reason = ANY ('{requested,expired}')),
    CONSTRAINT payments_authorized_has_an_end
        CHECK (status <> 'authorized' OR authorized_until IS NOT NULL),
    CONSTRAINT payments_decline_code_known CHECK (decline_code = ANY ('{insufficient_funds,
        card_declined,expired_card,authentication_required,incorrect_cvc,fraud_suspected,processing_error}')),
    CONSTRAINT payments_card_has_a_clearing_account
        CHECK ((payment_method IS NOT NULL) = (source_account LIKE 'processor:%')),
    CONSTRAINT payments_payment_method_form CHECK (payment_method ~ '^[A-Za-z0-9_]{1,255}$'),
    CONSTRAINT payments_only_cards_wait
        CHECK (payment_method IS NOT NULL
            OR status <> 'processing' AND pending_operation IS NULL AND amount_refunding = 0),
    CONSTRAINT payments_pending_operation_known CHECK (pending_operation = ANY ('{capture,cancel,expire}')),
    CONSTRAINT payments_pending_while_authorized
        CHECK (pending_operation IS NULL OR status = 'authorized'),
    CONSTRAINT payments_accounts_differ CHECK (source_account <> destination_account),
    CONSTRAINT payments_reference_length CHECK (char_length(reference) BETWEEN 1 AND 128),
    CONSTRAINT payments_description_length CHECK (char_length(description) <= 500)
);
COMMENT ON TABLE payments IS $$
A payment is one intent to move money from a source to a destination. This row alone decides what the
payment may still do, and every change of it locks the row: status, and the totals captured and
refunded, whose caps are checked here.
$$;
COMMENT ON COLUMN payments.id IS 'UUID version 7: sorts by time. Also the id of the journal of the charge or capture.';
COMMENT ON COLUMN payments.amount IS 'In minor units of the currency.';
COMMENT ON COLUMN payments.source_account IS
    'The account that pays. For a card, the clearing account of its processor.';
COMMENT ON COLUMN payments.payment_method IS 'The processor''s token of the card. NULL: an account pays.';
COMMENT ON COLUMN payments.amount_refunding IS 'What refunds will give back that are still at the processor.';
COMMENT ON COLUMN payments.pending_operation IS
    'What the processor is asked to do with the authorization. Until it has answered, nothing else can be asked.';
COMMENT ON COLUMN payments.cancellation_reason IS 'Whether the merchant or the end of the authorization has canceled it.';
COMMENT ON COLUMN payments.authorized_until IS 'When an authorization ends by itself, by the database''s clock.';
COMMENT ON COLUMN payments.idempotency_key IS 'The key, in scope client, that made the payment.';
COMMENT ON COLUMN payments.created_at IS
    'The transaction''s timestamp: the database''s clock after the locks, or a later last entry of an account.';

-- Finds the authorizations that have come to their end. It holds authorized payments only.
CREATE INDEX payments_authorized_until ON payments (authorized_until)
    WHERE status = 'authorized' AND pending_operation IS NULL;

-- The subject of a payment never changes: no right to update amount, accounts or reference.
GRANT SELECT, INSERT ON payments TO paymentsvc_app;
GRANT UPDATE (status, amount_captured, amount_refunded, amount_refunding, pending_operation, decline_code,
        cancellation_reason, authorized_until, description, metadata, version)
    ON payments TO paymentsvc_app;

-- A payment cannot be written without the claim that names it, and the primary key of
-- idempotency_keys allows one claim for each key. Together: one key makes one payment. This is a
-- foreign key that also compares payment_id and operation, checked once for each statement.
CREATE FUNCTION refuse_payment_without_its_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stray uuid;
BEGIN
    SELECT p.id INTO stray
    FROM inserted p
    LEFT JOIN LATERAL (
        SELECT k.payment_id, k.operation FROM idempotency_keys k
        WHERE k.merchant_id = p.merchant_id AND k.scope = 'client' AND k.key = p.idempotency_key
        OFFSET 0) AS k ON true
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

CREATE TRIGGER payments_claimed_by_key AFTER INSERT ON payments
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_without_its_key();

-- The state machine: the status of a payment, the operation that changes it, and the next status. ''
-- is a payment that does not exist yet. The trigger below refuses every other change of status,
-- audit.i12_transitions_are_legal looks for one in the events, and docs/payment-states.md is drawn
-- from it. (begin and settle are those of a card payment.)
CREATE FUNCTION payment_transitions() RETURNS TABLE (from_status text, operation text, to_status text)
LANGUAGE sql IMMUTABLE AS $$
    VALUES ('', 'charge', 'succeeded'),
           ('', 'charge', 'authorized'),
           ('', 'charge', 'declined'),
           ('', 'begin', 'processing'),
           ('authorized', 'capture', 'succeeded'),
           ('authorized', 'cancel', 'canceled'),
           ('authorized', 'expire', 'canceled'),
           ('authorized', 'settle', 'succeeded'),
           ('authorized', 'settle', 'canceled'),
           ('processing', 'settle', 'authorized'),
           ('processing', 'settle', 'succeeded'),
           ('processing', 'settle', 'declined')
$$;

-- A payment is captured once, a refund is not taken back, a version does not come again, and a status
-- keeps its decline code and its end. The trigger costs a charge nothing, because a charge only inserts.
CREATE FUNCTION refuse_illegal_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> NEW.status
            AND (OLD.status, NEW.status) NOT IN (SELECT from_status, to_status FROM payment_transitions())
        OR OLD.amount_captured > 0 AND NEW.amount_captured <> OLD.amount_captured
        OR NEW.amount_refunded < OLD.amount_refunded
        OR NEW.version < OLD.version
        OR OLD.status = NEW.status
            AND (OLD.decline_code, OLD.authorized_until) IS DISTINCT FROM (NEW.decline_code, NEW.authorized_until)
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

CREATE TABLE payment_references (
    merchant_id bigint           NOT NULL,
    reference   text COLLATE "C" NOT NULL,
    payment_id  uuid             NOT NULL,
    CONSTRAINT payment_references_pkey PRIMARY KEY (merchant_id, reference)
);
COMMENT ON TABLE payment_references IS $$
The caller's own name for the thing that is paid, such as an order number. Only one live payment, neither
declined nor canceled, may have it: inserting the row claims the name, and the row is deleted when the
payment ends without charging. So an order cannot be paid twice even under two idempotency keys.
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON payment_references TO paymentsvc_app;

-- The foreign key to payments is a real one: refunds are rare beside charges.
CREATE TABLE refunds (
    merchant_id     bigint           NOT NULL,
    payment_id      uuid             NOT NULL,
    id              uuid             NOT NULL,
    amount          bigint           NOT NULL,
    status          text COLLATE "C" NOT NULL,
    decline_code    text COLLATE "C",
    reason          text             NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    created_at      timestamptz      NOT NULL,
    CONSTRAINT refunds_pkey PRIMARY KEY (merchant_id, payment_id, id),
    CONSTRAINT refunds_one_per_key UNIQUE (merchant_id, idempotency_key),
    CONSTRAINT refunds_payment_exists
        FOREIGN KEY (merchant_id, payment_id) REFERENCES payments (merchant_id, id),
    CONSTRAINT refunds_status_known CHECK (status = ANY ('{processing,succeeded,declined}')),
    CONSTRAINT refunds_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT refunds_decline_has_a_code CHECK ((status = 'declined') = (decline_code IS NOT NULL)),
    CONSTRAINT refunds_decline_code_known CHECK (decline_code = ANY ('{insufficient_funds,
        card_declined,expired_card,authentication_required,incorrect_cvc,fraud_suspected,processing_error}')),
    CONSTRAINT refunds_reason_length CHECK (char_length(reason) <= 500)
);
COMMENT ON TABLE refunds IS $$
Money that was given back, a part of a payment. The payment's row has the total and checks its cap. A
declined refund, whose destination account could not pay, is kept because it is the answer of its key.
$$;
COMMENT ON COLUMN refunds.id IS 'UUID version 7: sorts by time. Also the id of the refund''s journal.';
COMMENT ON COLUMN refunds.amount IS 'In minor units of the payment''s currency.';
COMMENT ON COLUMN refunds.idempotency_key IS 'The key, in scope client, that made the refund.';
GRANT SELECT, INSERT ON refunds TO paymentsvc_app;
GRANT UPDATE (status, decline_code) ON refunds TO paymentsvc_app;

-- A refund ends once.
CREATE FUNCTION refuse_reviving_a_refund() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE integrity_constraint_violation USING
        CONSTRAINT = TG_NAME,
        MESSAGE = format('refund %s is %s: it cannot become %s', OLD.id, OLD.status, NEW.status);
END
$$;

CREATE TRIGGER refunds_end_once BEFORE UPDATE ON refunds
    FOR EACH ROW WHEN (OLD.status <> 'processing') EXECUTE FUNCTION refuse_reviving_a_refund();

-- The guard of payments_claimed_by_key, for refunds.
CREATE FUNCTION refuse_refund_without_its_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stray uuid;
BEGIN
    SELECT r.id INTO stray
    FROM inserted r
    LEFT JOIN LATERAL (
        SELECT k.payment_id, k.operation FROM idempotency_keys k
        WHERE k.merchant_id = r.merchant_id AND k.scope = 'client' AND k.key = r.idempotency_key
        OFFSET 0) AS k ON true
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

INSERT INTO schema_versions (version) VALUES (4);
