-- Documents that mean what their keys say, and codes in one spelling, whoever writes them.
--
-- Triggers, not CHECK constraints: a check is asked again at every update of a row, so that a case with an older, odd
-- document could not even change its status, and a new status would take longer for nothing. What is stored is not
-- looked at, so that no old row is in the way of this migration; a value is checked when it is written. Rows that the
-- restorer brings back are as they were.

-- Codes -------------------------------------------------------------------------------------------------------------

-- The code as it is stored, NULL when it is none of the system. As cases/codes.py.
CREATE FUNCTION cases.code_1(code text, code_system text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    -- Of ASCII letters only: upper() goes by the database's locale.
    tidy text COLLATE "C" := translate(btrim(code, E' \t\r\n'), 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ');
BEGIN
    CASE code_system
        WHEN 'ICD-10-CM' THEN
            IF tidy ~ '^[A-Z][0-9][0-9AB](\.[0-9A-Z]{1,4})?$' THEN
                RETURN tidy;
            ELSIF tidy ~ '^[A-Z][0-9][0-9AB][0-9A-Z]{1,4}$' THEN
                RETURN overlay(tidy PLACING '.' FROM 4 FOR 0);
            END IF;
        WHEN 'CPT' THEN
            IF tidy ~ '^[0-9]{4}[0-9FT]$' THEN
                RETURN tidy;
            END IF;
        WHEN 'HCPCS' THEN
            IF tidy ~ '^[A-V][0-9]{4}$' THEN
                RETURN tidy;
            END IF;
        ELSE
            RETURN NULL;
    END CASE;
    RETURN NULL;
END
$$;

-- Those of the codes that the tenant's list of diagnoses does not have; NULL without a list. One by one: a join may read
-- the whole list.
CREATE FUNCTION cases.unknown_codes_1(of_tenant uuid, codes varchar[]) RETURNS varchar[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    item varchar;
    unknown varchar[] := '{}';
BEGIN
    IF NOT EXISTS (SELECT FROM public.known_codes k WHERE k.tenant_id = of_tenant AND k.system = 'ICD-10-CM') THEN
        RETURN NULL;
    END IF;
    FOREACH item IN ARRAY coalesce(codes, '{}') LOOP
        IF NOT EXISTS (SELECT FROM public.known_codes k
                        WHERE k.tenant_id = of_tenant AND k.system = 'ICD-10-CM' AND k.code = item) THEN
            unknown := unknown || item;
        END IF;
    END LOOP;
    RETURN unknown;
END
$$;

-- Whether the tenant's list of the system has the code; NULL without a list.
CREATE FUNCTION cases.is_known_1(of_tenant uuid, code_system text, of_code text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF EXISTS (SELECT FROM public.known_codes k
                WHERE k.tenant_id = of_tenant AND k.system = code_system AND k.code = of_code) THEN
        RETURN true;
    ELSIF EXISTS (SELECT FROM public.known_codes k WHERE k.tenant_id = of_tenant AND k.system = code_system) THEN
        RETURN false;
    END IF;
    RETURN NULL;
END
$$;

-- Documents: what is named is right, where it is there ----------------------------------------------------------------

CREATE FUNCTION cases.is_day_1(words text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF words COLLATE "C" !~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$' OR starts_with(words, '0000') THEN
        RETURN false;
    END IF;
    RETURN substr(words, 9, 2)::integer <= extract(day FROM
        make_date(left(words, 4)::integer, substr(words, 6, 2)::integer, 1) + interval '1 month -1 day');
END
$$;

CREATE FUNCTION cases.is_moment_1(words text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF substr(words, 11) COLLATE "C"
       !~ '^[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$' THEN
        RETURN false;
    END IF;
    RETURN cases.is_day_1(left(words, 10));
END
$$;

-- In strict mode a key that is missing matches nothing, and an array is not taken for its items.
-- https://www.postgresql.org/docs/current/functions-json.html#STRICT-AND-LAX-MODES
CREATE FUNCTION cases.is_confidence_1(document jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT NOT coalesce(document @? 'strict $ ? (
        exists (@.overall ? (@.type() != "number" || @ < 0 || @ > 1))
        || exists (@.fields ? (@.type() != "object"))
        || exists (@.fields.* ? (@.type() != "number" || @ < 0 || @ > 1)))', false)
$$;

CREATE FUNCTION cases.is_extracted_data_1(document jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_typeof(document -> 'source') = 'string', true)
       AND coalesce(jsonb_typeof(document -> 'extracted_at') = 'string', true)
$$;

CREATE FUNCTION cases.is_source_metadata_1(document jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT NOT coalesce(document @? 'strict $ ? (
        exists (@.email ? (@.type() != "object")) || exists (@.pdf ? (@.type() != "object"))
        || exists (@.email.from ? (@.type() != "string")) || exists (@.email.subject ? (@.type() != "string"))
        || exists (@.email.received_at ? (@.type() != "string")) || exists (@.pdf.filename ? (@.type() != "string"))
        || exists (@.pdf.pages ? (@.type() != "number")) || exists (@.pdf.size_bytes ? (@.type() != "number")))', false)
       AND coalesce(cases.is_moment_1(document #>> '{email,received_at}'), true)
       -- Of numbers: a whole one has no point in it, not even before zeros.
       AND coalesce(document #>> '{pdf,pages}' ~ '^[0-9]+$', true)
       AND coalesce(document #>> '{pdf,size_bytes}' ~ '^[0-9]+$', true)
$$;

-- Where a clock is wrong, with dots and below it; '' for the clock itself, NULL when it is right.
CREATE FUNCTION cases.fault_of_clock_1(clock jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    term text;
    unit text;
    place bigint;
BEGIN
    IF jsonb_typeof(clock) <> 'object' THEN
        RETURN '';
    ELSIF clock - ARRAY['standard', 'urgent', 'holidays', 'pause_for_information'] <> '{}' THEN
        RETURN '';
    ELSIF jsonb_typeof(clock -> 'pause_for_information') <> 'boolean' THEN
        RETURN '.pause_for_information';
    END IF;
    FOREACH term IN ARRAY ARRAY['standard', 'urgent'] LOOP
        CONTINUE WHEN NOT clock ? term;
        unit := CASE WHEN jsonb_typeof(clock -> term) = 'object' THEN
            (SELECT min(key) FROM jsonb_object_keys(clock -> term) AS key HAVING count(*) = 1) END;
        IF unit IS NULL OR unit NOT IN ('hours', 'business_days') THEN
            RETURN '.' || term;
        ELSIF jsonb_typeof(clock -> term -> unit) <> 'number' OR clock -> term ->> unit !~ '^[0-9]{1,4}$' THEN
            RETURN format('.%s.%s', term, unit);
        ELSIF (clock -> term ->> unit)::integer NOT BETWEEN 1 AND (CASE unit WHEN 'hours' THEN 8784 ELSE 366 END) THEN
            RETURN format('.%s.%s', term, unit);
        END IF;
    END LOOP;
    IF clock ? 'holidays' THEN
        IF jsonb_typeof(clock -> 'holidays') <> 'array' THEN
            RETURN '.holidays';
        ELSIF jsonb_array_length(clock -> 'holidays') > 500 THEN
            RETURN '.holidays';
        END IF;
        SELECT min(o.number) - 1 INTO place FROM jsonb_array_elements(clock -> 'holidays') WITH ORDINALITY AS o (item, number)
         WHERE jsonb_typeof(o.item) <> 'string' OR NOT cases.is_day_1(o.item #>> '{}');
    END IF;
    RETURN '.holidays.' || place;
END
$$;

-- Where rules are wrong, with dots; NULL when they are right.
CREATE FUNCTION cases.fault_of_rules_1(rules jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    field text;
    place bigint;
BEGIN
    FOREACH field IN ARRAY ARRAY['typical_turnaround', 'notes'] LOOP
        IF jsonb_typeof(rules -> field) <> 'string' THEN
            RETURN field;
        END IF;
    END LOOP;
    FOREACH field IN ARRAY ARRAY['requirements', 'documentation'] LOOP
        CONTINUE WHEN NOT rules ? field;
        IF jsonb_typeof(rules -> field) <> 'array' THEN
            RETURN field;
        ELSIF jsonb_array_length(rules -> field) > 200 THEN
            RETURN field;
        END IF;
        SELECT min(o.number) - 1 INTO place FROM jsonb_array_elements(rules -> field) WITH ORDINALITY AS o (item, number)
         WHERE jsonb_typeof(o.item) <> 'string' OR length(btrim(o.item #>> '{}', E' \t\r\n')) NOT BETWEEN 1 AND 2000;
        IF place IS NOT NULL THEN
            RETURN format('%s.%s', field, place);
        END IF;
    END LOOP;
    RETURN 'clock' || cases.fault_of_clock_1(rules -> 'clock');
END
$$;

-- Triggers ----------------------------------------------------------------------------------------------------------

-- A platform operator redacts by ordinary updates, and what is left need not fit.
CREATE FUNCTION cases.is_redacted_1(words text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT current_user = 'fastlane_platform' AND strpos(words, '[redacted]') > 0
$$;

CREATE FUNCTION cases.values_of_case_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    codes varchar[] := NEW.diagnosis_codes;
    item text;
    code text;
    place integer := 0;
BEGIN
    IF current_user = 'fastlane_restorer' THEN
        RETURN NEW;
    END IF;
    -- OLD is all NULL where a row is created.
    IF NEW.confidence_json IS DISTINCT FROM OLD.confidence_json AND NOT cases.is_confidence_1(NEW.confidence_json)
       AND NOT cases.is_redacted_1(NEW.confidence_json::text) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'confidence_json',
            MESSAGE = 'overall and every value of fields must be a number from 0 to 1';
    END IF;
    IF NEW.extracted_data IS DISTINCT FROM OLD.extracted_data AND NOT cases.is_extracted_data_1(NEW.extracted_data)
       AND NOT cases.is_redacted_1(NEW.extracted_data::text) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'extracted_data',
            MESSAGE = 'source and extracted_at must be texts';
    END IF;
    IF NEW.diagnosis_codes IS DISTINCT FROM OLD.diagnosis_codes THEN
        IF array_ndims(NEW.diagnosis_codes) > 1 THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'diagnosis_codes', MESSAGE = 'must be one list of codes';
        END IF;
        FOREACH item IN ARRAY coalesce(codes, '{}') LOOP
            place := place + 1;
            CONTINUE WHEN item IS NULL OR item COLLATE "C" ~ '^[A-Z][0-9][0-9AB](\.[0-9A-Z]{1,4})?$';
            code := cases.code_1(item, 'ICD-10-CM');
            IF code IS NOT NULL THEN
                codes[array_lower(codes, 1) + place - 1] := code;
            ELSIF NOT cases.is_redacted_1(array_to_string(codes, ' ')) THEN
                RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'diagnosis_codes',
                    MESSAGE = format('item %s must be an ICD-10-CM code, such as M79.3', place);
            END IF;
        END LOOP;
        NEW.diagnosis_codes := codes;
    END IF;
    -- The owner, who restores backups, sees no list.
    IF current_user IN ('fastlane_tenant', 'fastlane_platform') THEN
        NEW.unknown_codes := cases.unknown_codes_1(NEW.tenant_id, NEW.diagnosis_codes);
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION cases.values_of_code_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    code text;
    known_as text;
BEGIN
    IF current_user = 'fastlane_restorer' THEN
        RETURN NEW;
    END IF;
    IF (NEW.code, NEW.code_type) IS DISTINCT FROM (OLD.code, OLD.code_type) THEN
        code := cases.code_1(NEW.code, NEW.code_type);
        IF code IS NOT NULL THEN
            NEW.code := code;
        ELSIF NEW.code_type IN ('CPT', 'HCPCS') AND NEW.code IS NOT NULL AND NOT cases.is_redacted_1(NEW.code) THEN
            RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'code', MESSAGE = CASE NEW.code_type
                WHEN 'CPT' THEN 'must be a CPT code: five digits, or four digits and F or T'
                ELSE 'must be a HCPCS Level II code: a letter from A to V and four digits' END;
        END IF;
    END IF;
    IF current_user NOT IN ('fastlane_tenant', 'fastlane_platform') THEN
        RETURN NEW;
    END IF;
    NEW.is_known := cases.is_known_1(NEW.tenant_id, NEW.code_type, NEW.code);
    IF NEW.is_known IS NULL THEN
        RETURN NEW;
    END IF;
    -- What the list said of another code is no description of this one.
    IF NEW.code <> OLD.code AND NEW.description = OLD.description AND EXISTS (
           SELECT FROM public.known_codes k WHERE k.tenant_id = OLD.tenant_id AND k.system = OLD.code_type
              AND k.code = OLD.code AND k.description = OLD.description) THEN
        NEW.description := NULL;
    END IF;
    IF NEW.is_known AND coalesce(NEW.description, '') = '' THEN
        SELECT k.description INTO known_as FROM public.known_codes k
         WHERE k.tenant_id = NEW.tenant_id AND k.system = NEW.code_type AND k.code = NEW.code;
        NEW.description := coalesce(known_as, NEW.description);
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION cases.values_of_ingestion_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'fastlane_restorer'
       OR (NEW.source_type, NEW.source_metadata) IS NOT DISTINCT FROM (OLD.source_type, OLD.source_metadata)
       OR cases.is_redacted_1(NEW.source_metadata::text) THEN
        RETURN NEW;
    END IF;
    IF NEW.source_metadata IS DISTINCT FROM OLD.source_metadata AND NOT cases.is_source_metadata_1(NEW.source_metadata) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'source_metadata',
            MESSAGE = 'email needs texts and a time with its zone as in RFC 3339, pdf a filename and whole numbers from 0';
    END IF;
    IF NEW.source_metadata ? (CASE NEW.source_type WHEN 'email' THEN 'pdf' WHEN 'pdf' THEN 'email' END) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422',
            COLUMN = CASE WHEN NEW.source_metadata IS DISTINCT FROM OLD.source_metadata THEN 'source_metadata' ELSE 'source_type' END,
            MESSAGE = 'an email has no pdf, and a pdf no email';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION cases.values_of_ruleset_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fault text;
BEGIN
    IF current_user = 'fastlane_restorer' OR NEW.rules_json IS NOT DISTINCT FROM OLD.rules_json THEN
        RETURN NEW;
    END IF;
    fault := cases.fault_of_rules_1(NEW.rules_json);
    IF fault IS NOT NULL AND NOT cases.is_redacted_1(NEW.rules_json::text) THEN
        RAISE EXCEPTION USING ERRCODE = 'FL422', COLUMN = 'rules_json', MESSAGE = format('%s is not as rules have it', fault);
    END IF;
    RETURN NEW;
END
$$;

-- After a_follow_case and a_assign_tenant, since a list is a tenant's; before c_search and d_stamp_updated, which look
-- at what is stored.
CREATE TRIGGER b_values BEFORE INSERT OR UPDATE OF diagnosis_codes, confidence_json, extracted_data, unknown_codes ON cases
    FOR EACH ROW EXECUTE FUNCTION cases.values_of_case_1();
CREATE TRIGGER b_values BEFORE INSERT OR UPDATE OF code, code_type, is_known ON case_codes
    FOR EACH ROW EXECUTE FUNCTION cases.values_of_code_1();
CREATE TRIGGER b_values BEFORE INSERT OR UPDATE OF source_type, source_metadata ON ingestions
    FOR EACH ROW EXECUTE FUNCTION cases.values_of_ingestion_1();
CREATE TRIGGER b_values BEFORE INSERT OR UPDATE OF rules_json ON rulesets
    FOR EACH ROW EXECUTE FUNCTION cases.values_of_ruleset_1();
REVOKE EXECUTE ON FUNCTION cases.values_of_case_1(), cases.values_of_code_1(), cases.values_of_ingestion_1(),
    cases.values_of_ruleset_1() FROM PUBLIC;

-- What stands in a list is a code as it is stored.
ALTER TABLE known_codes ADD CONSTRAINT known_codes_code_check CHECK ((code = cases.code_1(code, system)) IS TRUE);
