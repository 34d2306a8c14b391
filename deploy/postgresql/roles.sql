-- The host's database, and the one user that it needs: no superuser, and nothing else on this server is its business.
-- As the server's administrator, with the user's password in a file:
--   DATABASE_PASSWORD_FILE=/etc/openalgo/database_password psql --no-psqlrc -v ON_ERROR_STOP=1 -f roles.sql
-- The host makes its tables itself, so the user may create in its schema. PostgreSQL 13 or newer.

\set password `cat "$DATABASE_PASSWORD_FILE"`
SELECT length(:'password') < 16 AS is_bad \gset
\if :is_bad
DO 'BEGIN RAISE EXCEPTION $$DATABASE_PASSWORD_FILE names no file that can be read, with a password of 16 characters$$; END';
\endif
SET password_encryption = 'scram-sha-256';
CREATE ROLE openalgo LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
CREATE DATABASE openalgo;
REVOKE ALL ON DATABASE openalgo FROM PUBLIC;
GRANT CONNECT ON DATABASE openalgo TO openalgo;
\connect openalgo
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO openalgo;
