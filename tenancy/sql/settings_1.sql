-- What the platform sets for a tenant. Frozen: the migration that names this file has landed.
ALTER TABLE tenants
    ADD CONSTRAINT tenants_phi_guard_check CHECK (phi_guard IN ('block', 'off')),
    -- PostgreSQL refuses a name that it does not know.
    ADD CONSTRAINT tenants_time_zone_check CHECK (timezone(time_zone, timestamptz '2000-01-01 00:00Z') IS NOT NULL);
