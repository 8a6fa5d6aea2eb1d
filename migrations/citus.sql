-- Distributes the tables over the nodes of a Citus cluster, by merchant. All rows of a merchant are on one
-- node, so a money transaction is a local transaction of that node. Not distributed are schema_versions,
-- readiness_probe, idempotency_reaper and processor_installation: they have no merchant.

DO $$
BEGIN
    IF current_setting('citus.enable_unsafe_triggers') <> 'on' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'Citus may not distribute tables that have triggers, and the triggers guard the books',
            HINT = format('Run ALTER DATABASE %I SET citus.enable_unsafe_triggers = on, and migrate again.',
                          current_database());
    END IF;
END
$$;

-- The tables refer to each other, so Citus must change their shards one after another.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

-- Every node has all rows of these two. A secret is unique among all merchants.
SELECT create_reference_table('merchants');
SELECT create_reference_table('api_keys');

SELECT create_distributed_table('accounts', 'merchant_id');
SELECT create_distributed_table('entries', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('idempotency_keys', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('idempotency_answers', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('idempotency_pending', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('payments', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('payment_references', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('refunds', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('events', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('event_horizons', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('feed_cursors', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('webhook_endpoints', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('webhook_deliveries', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('webhook_attempts', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('processor_attempts', 'merchant_id', colocate_with => 'accounts');
SELECT create_distributed_table('processor_events', 'merchant_id', colocate_with => 'accounts');

-- A trigger and a view call this function on the nodes. Citus only brings along the triggers' own.
SELECT create_distributed_function('payment_transitions()');

-- Citus makes the views again that read a distributed table, without their rights.
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO paymentsvc_app;
