DROP VIEW audit.i8_every_event_is_delivered;
DROP TABLE webhook_attempts;
DROP TABLE webhook_deliveries;
DROP TABLE webhook_endpoints;
DROP FUNCTION number_subscription();
DELETE FROM schema_versions WHERE version = 7;
