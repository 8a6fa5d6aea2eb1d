-- What differs in the schema in sharded mode (internal/postgres/sharded.go). `migrate up` runs this once,
-- after the migrations, and then citus.sql if the extension is there.

-- These two triggers read another table. On a shard that fails: "cannot execute a distributed query from
-- a query on a shard". The view audit.i5_one_payment_per_key finds what they would refuse.
DROP TRIGGER IF EXISTS payments_claimed_by_key ON payments;
DROP TRIGGER IF EXISTS refunds_claimed_by_key ON refunds;

CREATE TRIGGER events_numbered BEFORE INSERT ON events
    FOR EACH ROW EXECUTE FUNCTION number_event();
