-- Makes a cluster of three Citus servers, and the logins of deploy/roles.sql. docker-compose.yml runs it once, on the
-- coordinator, as an administrator. Citus repeats roles and their grants on the workers.

SELECT citus_set_coordinator_host('coordinator', 5432);
SELECT citus_add_node('worker1', 5432);
SELECT citus_add_node('worker2', 5432);

\ir ../roles.sql

-- The coordinator connects to the workers as the current role, which is this one in every session of the service. With
-- passwords on the workers, it would also need:
--     INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo) VALUES (0, 'paymentsvc_app', 'password=…');
-- and citus.node_conninfo = 'sslmode=verify-full' for the network between them.
ALTER ROLE paymentsvc_app LOGIN;
GRANT CONNECT ON DATABASE paymentsvc TO paymentsvc_app;

-- Citus may not repeat these commands on the workers, so this runs them there. The owner of a database may create
-- schemas in it. Without citus.enable_unsafe_triggers, Citus refuses tables with triggers, and the triggers guard the
-- books. The coordinator's setting comes last: docker-compose.yml takes it as the sign that all of this is done.
DO $$
DECLARE
    command text;
    problem text;
BEGIN
    FOREACH command IN ARRAY ARRAY[
        'ALTER DATABASE paymentsvc OWNER TO paymentsvc_owner',
        'GRANT CONNECT ON DATABASE paymentsvc TO paymentsvc_app',
        'ALTER DATABASE paymentsvc SET citus.enable_unsafe_triggers = on']
    LOOP
        SELECT result INTO problem FROM run_command_on_workers(command) WHERE NOT success LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION '% failed on a worker: %', command, problem;
        END IF;
    END LOOP;
END
$$;
ALTER DATABASE paymentsvc SET citus.enable_unsafe_triggers = on;
