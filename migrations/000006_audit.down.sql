DROP SCHEMA audit CASCADE;
DELETE FROM schema_versions WHERE version = 6;
