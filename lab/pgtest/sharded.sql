-- Like Citus, this refuses an UPDATE or DELETE of the service that changes rows of several merchants. The
-- statements of the tests themselves may do so.

CREATE FUNCTION refuse_several_merchants() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') LIKE 'paymentsvc%'
        AND (SELECT min(merchant_id) <> max(merchant_id) FROM changed)
    THEN
        RAISE EXCEPTION 'a statement has changed rows of several merchants in %', TG_TABLE_NAME
            USING HINT = 'Citus refuses that: see internal/postgres/sharded.go.';
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT table_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND column_name = 'merchant_id'
            AND table_name IN (SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE')
            AND table_name <> 'api_keys' -- every node has all of them
    LOOP
        EXECUTE format('CREATE TRIGGER one_merchant_updated AFTER UPDATE ON %I REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_several_merchants()', name);
        EXECUTE format('CREATE TRIGGER one_merchant_deleted AFTER DELETE ON %I REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_several_merchants()', name);
    END LOOP;
END
$$;
