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
SELECT run_command_on_workers('GRANT CONNECT ON DATABASE paymentsvc TO paymentsvc_app');

-- Without it, Citus refuses tables that have triggers, and the triggers guard the books.
ALTER DATABASE paymentsvc SET citus.enable_unsafe_triggers = on;
SELECT run_command_on_workers('ALTER DATABASE paymentsvc SET citus.enable_unsafe_triggers = on');
