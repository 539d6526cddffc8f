"""A value in every place of a database that can hold it, for a redaction to find."""

import asyncpg

from tenancy.catalog import tenant_tables

VALUE = "XANTHIPPE-47"
COLUMNS = """
SELECT attrelid::regclass::text AS table, attname::text AS name, atttypid::regtype::text AS type
  FROM pg_attribute WHERE attrelid = ANY ($1::text[]::regclass[]) AND attnum > 0 AND NOT attisdropped
   AND atttypid = ANY (ARRAY['text', 'varchar', 'varchar[]', 'text[]', 'jsonb']::regtype[]) ORDER BY 1, attnum
"""
FILLINGS = {
    "text": f"left(id::text, 4) || ' {VALUE}'",
    "character varying": f"left(id::text, 4) || ' {VALUE}'",
    "character varying[]": f"ARRAY['{VALUE}', 'M79.3']",
    "jsonb": f"""jsonb_build_object('a', jsonb_build_array(jsonb_build_object('id', 'n° {VALUE}', '{VALUE}', 1)),
                                    'b', 'or XANTHIPPE47', 'c', id)""",
}
# Of a column that takes no other text.
HASHES = f"'hash_' || left(id::text, 4) || '_{VALUE}'"


async def decide(superuser: asyncpg.Connection) -> set[str]:
    """Extends the time of the cases that are there, denies them, and loads an approved one beside each. Returns what
    holds the value of them."""
    extended = f"extended_until = now() + interval '9 days', extension_reason = {FILLINGS['text']}"
    await superuser.execute(f"UPDATE cases SET {extended}")
    await superuser.execute(f"UPDATE cases SET status = 'denied', denial_reason = {FILLINGS['text']}")
    copied = "tenant_id, created_by, member_id_hash, payer, priority, diagnosis_codes, confidence_json, extracted_data"
    await superuser.execute(
        f"INSERT INTO cases ({copied}, status, authorization_number) "
        f"SELECT {copied}, 'approved', {FILLINGS['text']} FROM cases"
    )
    return {"extension_reason", "denial_reason", "authorization_number"}


async def fill(superuser: asyncpg.Connection) -> set[str]:
    """Writes the value into each column that can hold it, of all tenants: codes and documents are odd, as those of
    older rows are. Returns the tables."""
    closed = {column._meta.name for table in tenant_tables() for column in table._meta.columns if column._meta.choices}
    kept = closed | {"slug", "auth_id", "event_type", "entity_type", "time_zone"}
    tables = [table._meta.tablename for table in tenant_tables() if "trail" not in table._meta.tags]
    filled = set()
    kept |= await decide(superuser)
    for table in ("cases", "case_codes", "ingestions", "rulesets"):
        await superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER b_values")
    for column in await superuser.fetch(COLUMNS, tables):
        is_code = (column["table"], column["name"]) == ("known_codes", "code")  # Of a list, which has a form.
        if column["name"] not in kept and not is_code:
            filling = HASHES if column["name"] == "member_id_hash" else FILLINGS[column["type"]]
            assignment = f"{column['name']} = {filling}"
            await superuser.execute(f"UPDATE {column['table']} SET {assignment}")
            filled.add(column["table"])
    for table in ("cases", "case_codes", "ingestions", "rulesets"):
        await superuser.execute(f"ALTER TABLE {table} ENABLE TRIGGER b_values")
    assert filled == set(tables) - {"invitations"}  # Which has digests and times only.
    return filled
