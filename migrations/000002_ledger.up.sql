-- The books: accounts with their balances, and the journal entries that explain every one of them.
--
-- Every text that takes part in a key or a lock order is COLLATE "C": it then sorts as Go sorts it, byte by byte, on
-- every machine, and an upgrade of the system's collations cannot silently corrupt a unique index.

-- An account's balance is stored, not summed, because it is what a charge locks and decides on. Whatever decides lives
-- on this one row: balance, held, the floor, and the number of its last entry. fillfactor leaves room on the page, so
-- that a new balance is written beside the old one without touching the index (a HOT update).
--
-- version is moved by the caller's edits only (it is the ETag); last_sequence is moved by postings only. One column for
-- both would fail every If-Match on a busy account.
CREATE TABLE accounts (
    merchant_id     bigint            NOT NULL,
    id              text COLLATE "C"  NOT NULL,
    currency        text COLLATE "C"  NOT NULL,
    status          text COLLATE "C"  NOT NULL DEFAULT 'open',
    overdraft_limit bigint            DEFAULT 0, -- NULL: unlimited, a source of money ("world")
    balance         bigint            NOT NULL DEFAULT 0,
    held            bigint            NOT NULL DEFAULT 0,
    last_sequence   bigint            NOT NULL DEFAULT 0,
    last_entry_at   timestamptz,
    version         bigint            NOT NULL DEFAULT 1,
    name            text              NOT NULL DEFAULT '',
    metadata        jsonb             NOT NULL DEFAULT '{}',
    created_at      timestamptz       NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT accounts_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT accounts_merchant_exists FOREIGN KEY (merchant_id) REFERENCES merchants (id),
    CONSTRAINT accounts_id_form CHECK (id ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$'),
    CONSTRAINT accounts_currency_form CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT accounts_status_known CHECK (status IN ('open', 'closed')),
    CONSTRAINT accounts_overdraft_limit_range CHECK (overdraft_limit BETWEEN 0 AND 9007199254740991),
    CONSTRAINT accounts_held_not_negative CHECK (held >= 0),
    CONSTRAINT accounts_balance_above_floor CHECK (overdraft_limit IS NULL OR balance - held >= -overdraft_limit),
    CONSTRAINT accounts_entries_have_a_time CHECK ((last_sequence = 0) = (last_entry_at IS NULL)),
    CONSTRAINT accounts_name_length CHECK (char_length(name) <= 200)
) WITH (fillfactor = 50);

-- A journal is one movement of money: two or more entries that sum to zero. An entry is one account's side of it.
-- Entries are numbered per account without a gap, and each carries the balance that it left. So a lost update cannot
-- hide: two writers of one balance collide on (account, sequence), and a chain that does not add up is visible for ever.
-- The order is the account's own sequence and not the payment id: ids are given before the lock is taken.
--
-- There is no foreign key to accounts or payments. Row-wise foreign keys on the hot tables cost about a third of the
-- rate, and protect little here: the account's row is read and locked by the very transaction that writes its entries,
-- and no account is ever deleted. The view audit.i4_no_orphans carries the rest of that weight.
CREATE TABLE entries (
    merchant_id   bigint           NOT NULL,
    account_id    text COLLATE "C" NOT NULL,
    sequence      bigint           NOT NULL,
    journal_id    uuid             NOT NULL,
    payment_id    uuid             NOT NULL,
    currency      text COLLATE "C" NOT NULL,
    amount        bigint           NOT NULL, -- signed, in minor units: negative leaves the account
    balance_after bigint           NOT NULL,
    at            timestamptz      NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (merchant_id, account_id, sequence),
    CONSTRAINT entries_sequence_from_one CHECK (sequence >= 1),
    CONSTRAINT entries_amount_not_zero CHECK (amount <> 0)
);

-- One check a statement, not one a row: the transition table holds everything that the statement inserted. A journal
-- is always written by one statement, so what does not sum to zero here is wrong. No amount is zero, so a journal
-- that balances has at least two entries.
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

-- History is appended to and never rewritten, not even by the owner of the table: a mistake is corrected by a second
-- journal that says so.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING
        CONSTRAINT = TG_NAME,
        MESSAGE = format('%s of %I is refused: its rows are never changed', TG_OP, TG_TABLE_NAME);
END
$$;

CREATE TRIGGER entries_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT, UPDATE ON accounts TO paymentsvc_app;
GRANT SELECT, INSERT ON entries TO paymentsvc_app;
