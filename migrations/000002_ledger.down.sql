DROP TABLE entries;
DROP TABLE accounts;
DROP FUNCTION refuse_change();
DROP FUNCTION refuse_unbalanced_journal();
DROP FUNCTION refuse_status_without_version();
DELETE FROM schema_versions WHERE version = 2;
