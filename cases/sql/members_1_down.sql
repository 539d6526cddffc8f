ALTER TABLE cases DROP CONSTRAINT cases_member_id_hash_check;
