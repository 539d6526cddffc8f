DROP FUNCTION tenancy.identify_subject_2(text), tenancy.identify_session_2(text), tenancy.unguarded_tenants_1();
