DROP TABLE feed_cursors;
DROP TABLE event_horizons;
DROP TABLE events;
DELETE FROM schema_versions WHERE version = 5;
