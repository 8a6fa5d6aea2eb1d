DROP VIEW audit.i10_an_event_has_one_effect;
DROP VIEW audit.i9_no_attempt_is_abandoned;
DROP TABLE processor_events;
DROP TABLE processor_attempts;
DROP TABLE processor_installation;
DROP FUNCTION refuse_going_back();
DELETE FROM schema_versions WHERE version = 8;
