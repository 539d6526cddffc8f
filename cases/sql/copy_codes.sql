-- Gives the case $2 the codes of the case $1.
INSERT INTO case_codes (case_id, code_type, code, description, confidence)
SELECT $2, code_type, code, description, confidence FROM case_codes WHERE case_id = $1
