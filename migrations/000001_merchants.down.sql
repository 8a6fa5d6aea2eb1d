DROP TABLE api_keys;
DROP TABLE merchants;
DROP TABLE readiness_probe;
DROP TABLE schema_versions;
DROP FUNCTION is_sharded();
-- The role stays. It belongs to the cluster, and another database may use it.
DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
    EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM paymentsvc_app', current_schema());
END
$$;
