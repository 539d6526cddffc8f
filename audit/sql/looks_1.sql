-- Records who looked at what: views of one row on the trail, the rest in access_logs. Each argument is a list of objects
-- with the columns of its table, or NULL. Frozen: the migration that names this file has landed.
CREATE FUNCTION audit.record_looks_1(views jsonb, accesses jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    -- A look may be lost with the machine, not with the process: nobody waits for the disk.
    PERFORM set_config('synchronous_commit', 'off', true);
    -- The tenant or the user may be gone since.
    IF views IS NOT NULL THEN
        INSERT INTO public.audit_logs (
            id, tenant_id, user_id, action, entity_type, entity_id, ip_address, user_agent, actor, request_id, created_at)
        SELECT audit.new_id_1(), v.tenant_id,
               (SELECT u.id FROM public.users u WHERE u.id = v.user_id AND u.tenant_id = v.tenant_id),
               'view', v.entity_type, v.entity_id, nullif(left(v.ip_address, 45), ''), nullif(v.user_agent, ''),
               left(v.actor, 255), nullif(left(v.request_id, 100), ''), clock_timestamp()
          FROM jsonb_to_recordset(views) AS v (
               tenant_id uuid, user_id uuid, entity_type text, entity_id uuid, ip_address text, user_agent text,
               actor text, request_id text)
         WHERE (SELECT true FROM public.tenants t WHERE t.id = v.tenant_id);
    END IF;
    IF accesses IS NOT NULL THEN
        INSERT INTO public.access_logs (
            id, tenant_id, user_id, actor, access, method, path, filter, row_count, status, ip_address, user_agent,
            request_id, created_at)
        SELECT audit.new_id_1(), (SELECT t.id FROM public.tenants t WHERE t.id = a.tenant_id), a.user_id,
               left(a.actor, 255), a.access, left(a.method, 10), a.path, nullif(a.filter, ''), a.row_count, a.status,
               nullif(left(a.ip_address, 45), ''), nullif(a.user_agent, ''), nullif(left(a.request_id, 100), ''),
               clock_timestamp()
          FROM jsonb_to_recordset(accesses) AS a (
               tenant_id uuid, user_id uuid, actor text, access text, method text, path text, filter text,
               row_count integer, status integer, ip_address text, user_agent text, request_id text);
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION audit.record_looks_1(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.record_looks_1(jsonb, jsonb) TO fastlane_service;
SELECT tenancy.hand_over('audit.record_looks_1(jsonb, jsonb)', 'fastlane_auditor');
