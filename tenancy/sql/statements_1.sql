-- A statement that is bound and run in one message. Frozen: the migration that names this file has landed.

-- Sets `settings`, names and values in turn and the role last, for this transaction, and executes a prepared statement
-- of this session, whose plan is kept. A unit separator stands between settings: one text costs its sender less than a list. Sent outside of a transaction block it is a transaction of its own, which
-- is over when its answer has come: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
-- Of the invoker: it gives nobody a right that they lack. EXECUTE takes no parameters here, so that each
-- argument is quoted into it.
CREATE FUNCTION tenancy.run_1(settings text, statement text, arguments text[])
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    bound CONSTANT text[] := string_to_array(settings, E'\x1f');
    given text := '';
    argument text;
    state text;
    said text;
    detailed text;
    of_column text;
    of_constraint text;
    of_type text;
    of_table text;
    of_schema text;
BEGIN
    FOR i IN 1 .. cardinality(bound) BY 2 LOOP  -- Assigned: PERFORM would run a query for each.
        argument := set_config(bound[i], bound[i + 1], true);
    END LOOP;
    FOREACH argument IN ARRAY arguments LOOP
        given := given || ',' || quote_nullable(argument);
    END LOOP;
    BEGIN
        RETURN QUERY EXECUTE 'EXECUTE ' || quote_ident(statement) || coalesce('(' || nullif(substr(given, 2), '') || ')', '');
    EXCEPTION WHEN OTHERS OR query_canceled THEN  -- OTHERS leaves out what a time limit ends.
        -- Raised anew: the context of the error holds the arguments, and the server would log it.
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, detailed = PG_EXCEPTION_DETAIL,
            of_column = COLUMN_NAME, of_constraint = CONSTRAINT_NAME, of_type = PG_DATATYPE_NAME, of_table = TABLE_NAME,
            of_schema = SCHEMA_NAME;
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said, DETAIL = detailed, COLUMN = of_column,
            CONSTRAINT = of_constraint, DATATYPE = of_type, TABLE = of_table, SCHEMA = of_schema;
    END;
END
$$;
-- Who logs in is named by a URL, not by a migration.
GRANT USAGE ON SCHEMA tenancy TO PUBLIC;
