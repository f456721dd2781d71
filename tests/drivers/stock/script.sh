# shellcheck shell=bash
# The script of checks for the stock clients and their dump programs; a program beside this file chooses them. It prints
# what the client shows; through Weir it must print what it prints on a server.
#   client, dump                the programs
#   compress                    an option
#   tls, plain, info, dumping   their options, as arrays
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

login() {
    options=(--no-defaults "-h$DB_HOST" "-u$DB_USER" "-p$DB_PASSWORD")
    if [ -n "${DB_CA:-}" ]; then options+=("${tls[@]}"); else options+=("${plain[@]}"); fi
    printf '%s\n' "${options[@]}"
}
mapfile -t options < <(login)

# What a client says, without times and without what it warns about in every run.
clean() { sed -E 's/ ?\([0-9.]+ sec\)//; /Using a password/d'; }
ask() { "$client" "${options[@]}" "-P$DB_PORT" --force "$@" "$DB_NAME" 2>&1 | clean; }

echo "version $("$client" --no-defaults --version | sed -E 's/.*(Distrib|Ver) ([0-9]+\.[0-9]+\.[0-9]+).*/\2/')"

echo "== statements"
ask -vvv --table "${info[@]}" --show-warnings --default-character-set=utf8mb4 <<'END' || true
SELECT DATABASE(), CURRENT_USER(), @@character_set_client, @@collation_connection, @@sql_mode;
INSERT INTO notes (body) VALUES ('naïve ☃ 𝄞'), (NULL);
SELECT * FROM notes;
SELECT * FROM types WHERE id < 4;
SELECT * FROM shapes;
INSERT IGNORE INTO items VALUES (1, 'there');
SELECT * FROM missing;
SELECT FROM WHERE;
delimiter //
CREATE PROCEDURE again () BEGIN SELECT 1; SELECT 'zwei'; END//
CALL again()//
delimiter ;
CALL deposit(1, 5, @now);
SELECT @now;
BEGIN;
DELETE FROM accounts;
ROLLBACK;
SELECT * FROM accounts;
SET autocommit = 0;
UPDATE accounts SET balance = balance + 1;
COMMIT;
CREATE TEMPORARY TABLE scratch SELECT * FROM items WHERE id < 3;
SELECT * FROM scratch;
PREPARE stmt FROM 'SELECT ? + 1';
SET @two = 2;
EXECUTE stmt USING @two;
USE information_schema;
SELECT DATABASE(), @two, @@autocommit;
END

echo "== batch"
ask --batch --raw -e 'SELECT * FROM types' | sha1sum
ask --xml -e 'SELECT id, a_json, a_varchar FROM types'
ask --vertical --quick -e 'SELECT * FROM types WHERE id = 1'

echo "== big"
seq 100000 520000 | od -An -v -tx1 | tr -d ' \n' >"$work/hex"
{ echo -n "INSERT INTO blobs VALUES (1, X'"; cat "$work/hex"; echo "', NULL);"; } >"$work/big.sql"
ask <"$work/big.sql"
ask --batch --skip-column-names --max-allowed-packet=64M -e 'SELECT LOWER(HEX(data)) FROM blobs' | tr -d '\n' | cmp - "$work/hex" && echo same

echo "== compressed"
ask "$compress" --batch --skip-column-names --max-allowed-packet=64M -e 'SELECT LOWER(HEX(data)) FROM blobs' | tr -d '\n' | cmp - "$work/hex" && echo same

echo "== local file"
printf 'one\nzwei\ntrês ☃\n' >"$work/notes.txt"
ask --local-infile=1 -vvv -e "LOAD DATA LOCAL INFILE '$work/notes.txt' INTO TABLE notes CHARACTER SET utf8mb4 (body); SELECT * FROM notes" | sed "s|$work||"

echo "== dump"
for way in --single-transaction --lock-tables; do
    "$dump" "${options[@]}" "-P$DB_PORT" "${dumping[@]}" --routines --events --hex-blob --skip-dump-date $way "$DB_NAME" 2>&1 | clean >"$work/dump.sql"
    grep -v '^--' "$work/dump.sql" | sha1sum
    "$client" "${options[@]}" "-P$DB_PORT" -e "DROP DATABASE IF EXISTS ${DB_NAME}_back; CREATE DATABASE ${DB_NAME}_back CHARACTER SET utf8mb4" 2>&1 | clean
    "$client" "${options[@]}" "-P$DB_PORT" "${DB_NAME}_back" <"$work/dump.sql" 2>&1 | clean
    for table in accounts blobs items notes shapes types; do
        [ "$(ask --skip-column-names -e "CHECKSUM TABLE $table" | cut -f2)" = "$(ask --skip-column-names -e "CHECKSUM TABLE ${DB_NAME}_back.$table" | cut -f2)" ] && echo "$table restored"
    done
    ask -e "CALL ${DB_NAME}_back.two_results(7); DROP DATABASE ${DB_NAME}_back"
done

echo "== reads"
for id in $(seq 20); do echo "SELECT name FROM items WHERE id = $id;"; done |
    "$client" "${options[@]}" "-P$DB_READS_PORT" --batch "$DB_NAME" 2>&1 | clean
echo "reads 20"
echo "== end"
