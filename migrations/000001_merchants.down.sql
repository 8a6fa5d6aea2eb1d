-- The role stays: it belongs to the cluster, and another database may be using it.
DROP TABLE api_keys;
DROP TABLE merchants;
DROP TABLE schema_compatibility;
