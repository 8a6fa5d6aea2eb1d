DROP TABLE entries;
DROP TABLE accounts;
DROP FUNCTION refuse_change();
DROP FUNCTION refuse_unbalanced_journal();
