DROP TABLE feed_cursors;
DROP TABLE event_horizons;
DROP TABLE events;
DROP FUNCTION number_event();
DELETE FROM schema_versions WHERE version = 5;
