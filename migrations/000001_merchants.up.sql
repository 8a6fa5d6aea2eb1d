-- Who may ask, and as whom the service itself may act.

-- The service never works as the owner of its tables. Every pooled connection starts as this role, which cannot alter,
-- drop or truncate anything, nor change a ledger entry. With one login for everything that is defence in depth (the
-- session could RESET ROLE); with an owner's login of its own for migrations (MIGRATE_DATABASE_URL) it is a boundary.
--
-- Roles belong to the cluster, not to this database, so another database's migration may create or grant it at the
-- same moment: those two races show as unique_violation and as "tuple concurrently updated" (internal_error).
DO $$
DECLARE
    grant_option text := '';
    needed text := 'MEMBER';
BEGIN
    IF current_setting('server_version_num')::int >= 160000 THEN
        grant_option := ' WITH SET TRUE'; -- since 16, membership alone does not allow SET ROLE
        needed := 'SET';
    END IF;
    FOR attempt IN 1 .. 20 LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'paymentsvc_app') THEN
                CREATE ROLE paymentsvc_app NOLOGIN;
            END IF;
            IF NOT pg_has_role(current_user, 'paymentsvc_app', needed) THEN
                EXECUTE format('GRANT paymentsvc_app TO %I', current_user) || grant_option;
            END IF;
            EXIT;
        EXCEPTION
            WHEN unique_violation OR duplicate_object OR internal_error THEN
                IF attempt = 20 THEN RAISE; END IF;
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING
                    MESSAGE = format('%I may not create or grant the role paymentsvc_app', current_user),
                    HINT = format('Let an administrator run: CREATE ROLE paymentsvc_app NOLOGIN; GRANT paymentsvc_app TO %I%s;',
                                  current_user, grant_option);
        END;
    END LOOP;
END
$$;

DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO paymentsvc_app', current_schema());
    EXECUTE format('GRANT SELECT ON %I.schema_migrations TO paymentsvc_app', current_schema());
    -- Everybody may make temporary tables in a database, unless its owner takes that away.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- Which builds can live with this schema. A rolling deploy migrates first and replaces the instances after, so older
-- builds meet schemas that they have never heard of. A migration that they cannot live with raises needs_version to its own
-- number; a build refuses a schema that needs a version it does not know.
CREATE TABLE schema_compatibility (
    only_row      boolean NOT NULL DEFAULT true,
    needs_version bigint  NOT NULL,
    CONSTRAINT schema_compatibility_pkey PRIMARY KEY (only_row),
    CONSTRAINT schema_compatibility_only_row CHECK (only_row)
);
INSERT INTO schema_compatibility (needs_version) VALUES (1);
GRANT SELECT ON schema_compatibility TO paymentsvc_app;

-- A merchant is the tenant: everything below belongs to exactly one, every key begins with merchant_id, and no
-- statement ever touches two merchants' rows for one charge. That is what lets the tables be sharded by merchant_id.
-- The id is a random positive number, so it tells nobody how many merchants there are.
CREATE TABLE merchants (
    id         bigint      NOT NULL,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT merchants_pkey PRIMARY KEY (id),
    CONSTRAINT merchants_id_positive CHECK (id > 0),
    CONSTRAINT merchants_name_length CHECK (char_length(name) BETWEEN 1 AND 200)
);

-- The credentials of a merchant. Only the SHA-256 of the secret is kept: it is 160 random bits, so there is nothing to
-- guess and no need for a slow hash. Revoking sets a time and keeps the row, so that a log line can still be explained.
CREATE TABLE api_keys (
    merchant_id   bigint      NOT NULL,
    id            uuid        NOT NULL,
    secret_sha256 bytea       NOT NULL,
    read_only     boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at    timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT api_keys_secret_unique UNIQUE (secret_sha256),
    CONSTRAINT api_keys_secret_is_sha256 CHECK (octet_length(secret_sha256) = 32),
    CONSTRAINT api_keys_merchant_exists FOREIGN KEY (merchant_id) REFERENCES merchants (id)
);

GRANT SELECT, INSERT ON merchants TO paymentsvc_app;
GRANT SELECT, INSERT, UPDATE (revoked_at) ON api_keys TO paymentsvc_app;
