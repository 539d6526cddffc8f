ALTER TABLE tenants DROP CONSTRAINT tenants_phi_guard_check, DROP CONSTRAINT tenants_time_zone_check;
