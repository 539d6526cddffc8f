-- The columns go with a later step back; until then the trail names them.
SELECT audit.track_table('tenants', 'tenant', 'id');
