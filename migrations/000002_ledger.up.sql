-- The ledger: accounts with their balances, and the journal entries that explain every balance.
--
-- Text that takes part in a key or a lock order is COLLATE "C". It then sorts byte by byte, as Go
-- sorts it, on every machine. An upgrade of the system's collations cannot corrupt a unique index.

-- fillfactor leaves room on the page: a new balance is written beside the old one, without touching
-- the index (a HOT update).
-- Lists of words are array constants in these files, and not IN (…). The server reads the text of every
-- CHECK again for each statement, and this form is half as long.
CREATE TABLE accounts (
    merchant_id     bigint           NOT NULL,
    id              text COLLATE "C" NOT NULL,
    currency        text COLLATE "C" NOT NULL,
    status          text COLLATE "C" NOT NULL DEFAULT 'open',
    overdraft_limit bigint           DEFAULT 0,
    balance         bigint           NOT NULL DEFAULT 0,
    held            bigint           NOT NULL DEFAULT 0,
    open_payments   bigint           NOT NULL DEFAULT 0,
    last_sequence   bigint           NOT NULL DEFAULT 0,
    last_entry_at   timestamptz,
    version         bigint           NOT NULL DEFAULT 1,
    name            text             NOT NULL DEFAULT '',
    metadata        jsonb            NOT NULL DEFAULT '{}',
    created_at      timestamptz      NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT accounts_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT accounts_merchant_exists FOREIGN KEY (merchant_id) REFERENCES merchants (id),
    CONSTRAINT accounts_id_form CHECK (id ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$'),
    CONSTRAINT accounts_currency_form CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT accounts_status_known CHECK (status = ANY ('{open,closed}')),
    CONSTRAINT accounts_overdraft_limit_range CHECK (overdraft_limit BETWEEN 0 AND 9007199254740991),
    CONSTRAINT accounts_balance_range CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991),
    CONSTRAINT accounts_held_range CHECK (held BETWEEN 0 AND 9007199254740991),
    CONSTRAINT accounts_balance_above_floor
        CHECK (overdraft_limit IS NULL OR balance - held >= -overdraft_limit),
    CONSTRAINT accounts_open_payments_not_negative CHECK (open_payments >= 0),
    CONSTRAINT accounts_held_for_open_payments CHECK (held <= 0 OR open_payments > 0),
    CONSTRAINT accounts_closed_has_nothing_open CHECK (status = 'open' OR open_payments = 0),
    CONSTRAINT accounts_entries_have_a_time CHECK ((last_sequence = 0) = (last_entry_at IS NULL)),
    CONSTRAINT accounts_name_length CHECK (char_length(name) <= 200)
) WITH (fillfactor = 50);
COMMENT ON TABLE accounts IS $$
An account holds one currency. Its balance is stored rather than summed, because a charge locks and
decides on this one row. Everything that decides is on it: balance, held, floor, status, the count of
open payments, and the number of the last entry. Amounts stay within 2^53 - 1, because a JSON reader may
round a larger number.
$$;
COMMENT ON COLUMN accounts.overdraft_limit IS 'How far below zero balance - held may go. NULL: without limit, a source of money.';
COMMENT ON COLUMN accounts.held IS 'What authorized payments will take from this account.';
COMMENT ON COLUMN accounts.open_payments IS
    'Authorized payments from or to this account. Closing the account is one UPDATE that waits for this row.';
COMMENT ON COLUMN accounts.last_sequence IS 'The number of the last entry. Only postings change it.';
COMMENT ON COLUMN accounts.version IS
    'The ETag. Only the caller''s edits change it, or If-Match would fail on every busy account.';

-- The id and currency of an account never change, so the service has no right to update them.
GRANT SELECT, INSERT ON accounts TO paymentsvc_app;
GRANT UPDATE (status, overdraft_limit, balance, held, open_payments, last_sequence, last_entry_at, version, name, metadata)
    ON accounts TO paymentsvc_app;

-- An account is closed and opened under a new version, so that the If-Match of a late request does not
-- match. The trigger runs only for statements that set the status, which a posting does not.
CREATE FUNCTION refuse_status_without_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE integrity_constraint_violation USING
        CONSTRAINT = TG_NAME,
        MESSAGE = format('account %s is to become %s under version %s, which is not new', OLD.id, NEW.status, NEW.version);
END
$$;

CREATE TRIGGER accounts_status_has_new_version BEFORE UPDATE OF status ON accounts
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND NEW.version <= OLD.version)
    EXECUTE FUNCTION refuse_status_without_version();

-- There is no foreign key to accounts or payments. Row-wise foreign keys on the hot tables cost about
-- a third of the rate and protect little here: the transaction that writes an entry has read and
-- locked the account's row, and no account is ever deleted. The view audit.i4_no_orphans looks instead.
CREATE TABLE entries (
    merchant_id   bigint           NOT NULL,
    account_id    text COLLATE "C" NOT NULL,
    sequence      bigint           NOT NULL,
    journal_id    uuid             NOT NULL,
    payment_id    uuid             NOT NULL,
    currency      text COLLATE "C" NOT NULL,
    amount        bigint           NOT NULL,
    balance_after bigint           NOT NULL,
    at            timestamptz      NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (merchant_id, account_id, sequence),
    CONSTRAINT entries_sequence_from_one CHECK (sequence >= 1),
    CONSTRAINT entries_amount_not_zero CHECK (amount <> 0),
    CONSTRAINT entries_amount_range CHECK (amount BETWEEN -9007199254740991 AND 9007199254740991),
    CONSTRAINT entries_balance_after_range CHECK (balance_after BETWEEN -9007199254740991 AND 9007199254740991)
);
COMMENT ON TABLE entries IS $$
A journal is one movement of money: two or more entries that sum to zero. An entry is the side of one
account. The entries of an account are numbered without a gap, and each has the balance that it left.
So a lost update cannot hide: two writers of one balance collide on the number, and a chain that does
not add up stays visible.
$$;
COMMENT ON COLUMN entries.sequence IS
    'The order of an account''s entries. Ids cannot give it: they are made before the account is locked.';
COMMENT ON COLUMN entries.journal_id IS 'The payment''s id for a charge or capture, the refund''s id for a refund.';
COMMENT ON COLUMN entries.amount IS 'In minor units. Negative: money leaves the account.';
GRANT SELECT, INSERT ON entries TO paymentsvc_app;

-- One check for each statement: the transition table has all rows that the statement inserted. One
-- statement writes a whole journal, so a journal that does not sum to zero here is wrong. No amount
-- is zero, so a balanced journal has at least two entries.
CREATE FUNCTION refuse_unbalanced_journal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced record;
BEGIN
    SELECT journal_id, currency, sum(amount) AS total INTO unbalanced
    FROM inserted
    GROUP BY merchant_id, journal_id, currency
    HAVING sum(amount) <> 0
    LIMIT 1;
    IF FOUND THEN
        RAISE integrity_constraint_violation USING
            CONSTRAINT = 'entries_balanced',
            MESSAGE = format('journal %s does not balance: its %s entries sum to %s',
                             unbalanced.journal_id, unbalanced.currency, unbalanced.total);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER entries_balanced AFTER INSERT ON entries
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced_journal();

-- History is never rewritten, not even by the owner of the table. A second journal corrects a mistake.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING
        CONSTRAINT = TG_NAME,
        MESSAGE = format('%s of %I is refused: its rows are never changed', TG_OP, TG_TABLE_NAME);
END
$$;

CREATE TRIGGER entries_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

INSERT INTO schema_versions (version) VALUES (2);
