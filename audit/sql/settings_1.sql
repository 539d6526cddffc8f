-- The trail names the columns that a tenant has got. Frozen: the migration that names this file has landed.
SELECT audit.track_table('tenants', 'tenant', 'id');
