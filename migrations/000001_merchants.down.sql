-- The role stays: it belongs to the cluster, and another database may be using it.
DROP TABLE api_keys;
DROP TABLE merchants;
DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
END
$$;
DROP TABLE schema_compatibility;
