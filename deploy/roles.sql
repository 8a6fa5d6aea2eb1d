-- The logins of a deployment, each with what it needs and no more. Run it once, as an administrator, on the database that the
-- service is to have:
--
--     export OWNER_PASSWORD=… SERVICE_PASSWORD=…
--     psql --variable ON_ERROR_STOP=1 --file deploy/roles.sql postgres://administrator@host/paymentsvc
--
-- docker-compose.yml has it run when its database is made.
--
--   paymentsvc_owner    owns the database and its tables, and runs the migrations (MIGRATE_DATABASE_URL). No instance needs it.
--   paymentsvc_service  is what instances connect as (DATABASE_URL). It owns nothing.
--   paymentsvc_app      is no login. It holds the grants that the migrations give, and both act as it.
--
-- So somebody who takes an instance over, with all that it knows, can do what the service does: he cannot change
-- or delete a ledger entry, free a key, or switch off what protects them. With one login for everything he could.

-- From the environment, so that no password is in a command line.
\getenv owner_password OWNER_PASSWORD
\getenv service_password SERVICE_PASSWORD

CREATE ROLE paymentsvc_app NOLOGIN;
CREATE ROLE paymentsvc_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE paymentsvc_service LOGIN PASSWORD :'service_password';
GRANT paymentsvc_app TO paymentsvc_owner, paymentsvc_service;

SELECT current_database() AS database \gset
ALTER DATABASE :"database" OWNER TO paymentsvc_owner;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO paymentsvc_service;
