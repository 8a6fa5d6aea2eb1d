DROP TABLE events;
DELETE FROM schema_versions WHERE version = 5;
