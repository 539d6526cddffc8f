-- No raw identifier passes for a hash, whoever writes it; what a redaction leaves of one is none. Not valid: a row of
-- before stays, and is refused as it is once it is changed. Who has none says so:
-- ALTER TABLE cases VALIDATE CONSTRAINT cases_member_id_hash_check.
ALTER TABLE cases ADD CONSTRAINT cases_member_id_hash_check CHECK (
    member_id_hash ~ '^([0-9a-f]{64}|hash_[A-Za-z0-9_-]{1,200})$' OR strpos(member_id_hash, '[redacted]') > 0
) NOT VALID;
