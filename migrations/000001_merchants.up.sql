-- Who may act: the service's own role, the merchants and their credentials. And what the schema
-- knows about itself. The purpose of a table is its COMMENT, so that psql and docs/schema.md show
-- the same text.

-- The service never works as the owner of its tables. Every pooled connection starts as this role,
-- which cannot alter or drop anything, nor change a ledger entry. With one login for
-- everything this is defence in depth, because the session could RESET ROLE. With a separate
-- owner's login for migrations (MIGRATE_DATABASE_URL) it is a boundary.
--
-- A role belongs to the cluster. The migration of another database may create or grant it at the
-- same moment. Those races show as unique_violation and as "tuple concurrently updated"
-- (internal_error), so the block tries again.
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
    -- By default, everybody may create temporary tables in a database.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- In sharded mode, the tables are distributed by merchant (internal/postgres/sharded.go). A user
-- switches it on by creating the extension of Citus. The setting is for tests, which have no Citus.
CREATE FUNCTION is_sharded() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(current_setting('paymentsvc.sharded', true) = 'on', false)
        OR EXISTS (SELECT FROM pg_extension WHERE extname = 'citus');
END
$$;

CREATE TABLE schema_versions (
    version             bigint      NOT NULL,
    breaks_older_builds boolean     NOT NULL DEFAULT false,
    applied_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT schema_versions_pkey PRIMARY KEY (version),
    CONSTRAINT schema_versions_version_positive CHECK (version > 0)
);
COMMENT ON TABLE schema_versions IS $$
The migrations that this database has. Each migration writes its own row in its own transaction, so
the row is there exactly when the migration took effect, however the program ended. The highest
version is the version of the schema.
$$;
COMMENT ON COLUMN schema_versions.breaks_older_builds IS
    'A build that does not know this version refuses the schema. Otherwise old instances go on working during a rolling deploy.';
GRANT SELECT ON schema_versions TO paymentsvc_app;

CREATE TABLE readiness_probe (
    only_row boolean     NOT NULL DEFAULT true,
    at       timestamptz NOT NULL,
    CONSTRAINT readiness_probe_pkey PRIMARY KEY (only_row),
    CONSTRAINT readiness_probe_only_row CHECK (only_row)
);
COMMENT ON TABLE readiness_probe IS $$
After money transactions have failed, an instance finds out here whether the database works again. It
empties the table and inserts a row. That needs a new file, and so it fails while the disk is full.
$$;
GRANT INSERT, TRUNCATE ON readiness_probe TO paymentsvc_app;

CREATE TABLE merchants (
    id         bigint      NOT NULL,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT merchants_pkey PRIMARY KEY (id),
    CONSTRAINT merchants_id_positive CHECK (id > 0),
    CONSTRAINT merchants_name_length CHECK (char_length(name) BETWEEN 1 AND 200)
);
COMMENT ON TABLE merchants IS $$
A merchant is the tenant. Every row about money belongs to exactly one merchant, its keys begin with
merchant_id, and no charge touches the rows of two merchants. So these tables can be sharded by
merchant_id.
$$;
COMMENT ON COLUMN merchants.id IS 'Random, so that an id does not reveal how many merchants there are.';
GRANT SELECT, INSERT ON merchants TO paymentsvc_app;

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
COMMENT ON TABLE api_keys IS $$
The credentials of a merchant. A revoked key keeps its row, so that an old log line can still be
explained.
$$;
COMMENT ON COLUMN api_keys.secret_sha256 IS
    'The secret is 160 random bits. It cannot be guessed, so it needs no slow hash.';
GRANT SELECT, INSERT, UPDATE (revoked_at) ON api_keys TO paymentsvc_app;

INSERT INTO schema_versions (version) VALUES (1);
