-- Who somebody is, and whether their tenant has PHI refused. The functions before them stay for the running release.
-- Frozen: the migration that names this file has landed.

CREATE FUNCTION tenancy.identify_subject_2(subject text)
RETURNS TABLE (user_id uuid, tenant_id uuid, role text, is_active boolean, phi_guard text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.id, u.tenant_id, u.role, u.is_active, t.phi_guard
      FROM public.users u JOIN public.tenants t ON t.id = u.tenant_id WHERE u.auth_id = subject
$$;

CREATE FUNCTION tenancy.identify_session_2(token_digest text)
RETURNS TABLE (operator_id integer, username text, tenant_id uuid, user_id uuid, role text, phi_guard text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.id, o.username, o.tenant_id, o.user_id, u.role, t.phi_guard
      FROM public.operator_sessions s
      JOIN public.operators o ON o.id = s.user_id AND o.active AND o.admin
      LEFT JOIN public.users u ON u.id = o.user_id AND u.tenant_id = o.tenant_id
      LEFT JOIN public.tenants t ON t.id = o.tenant_id
     WHERE s.token = token_digest AND (o.user_id IS NULL OR u.is_active)
$$;

-- For the lines in the log that say, at the start, where PHI is let through.
CREATE FUNCTION tenancy.unguarded_tenants_1() RETURNS TABLE (slug text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.slug FROM public.tenants t WHERE t.phi_guard = 'off' ORDER BY t.slug
$$;

DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOREACH routine IN ARRAY ARRAY[
        'tenancy.identify_subject_2(text)',
        'tenancy.identify_session_2(text)',
        'tenancy.unguarded_tenants_1()'
    ]::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fastlane_authn', routine);
        PERFORM tenancy.hand_over(routine, 'fastlane_identity');
    END LOOP;
END
$$;
