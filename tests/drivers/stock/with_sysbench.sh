#!/usr/bin/env bash
# sysbench: a load of its own, with prepared statements, from several threads.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
options=("--mysql-host=$DB_HOST" "--mysql-user=$DB_USER" "--mysql-password=$DB_PASSWORD" "--mysql-db=$DB_NAME" --tables=2 --table-size=500 --threads=4 --time=0)
if [ -n "${DB_CA:-}" ]; then
    # It wants these files in the folder where it is started.
    ln -s "$DB_CA" cacert.pem && ln -s "$DB_CA" client-cert.pem && ln -s "${DB_CA%/*}/key.pem" client-key.pem
    options+=(--mysql-ssl=on)
fi

# load PORT TEST EVENTS COMMAND
load() { sysbench "/usr/share/sysbench/$2.lua" "${options[@]}" "--mysql-port=$1" "--events=$3" "$4"; }
counts() { grep -E '^ +(read|write|other|total|transactions|reconnects|total number of events):' | sed -E 's/ +\(.*//'; }

echo "version $(sysbench --version | grep -oE '[0-9.]+' | head -n 1)"
echo "== prepare"
load "$DB_PORT" oltp_read_write 0 prepare >/dev/null
# One thread: what several lock, they may lock in vain.
echo "== read and write"
options+=(--threads=1)
load "$DB_PORT" oltp_read_write 100 run | counts
options+=(--threads=4)
echo "== insert"
load "$DB_PORT" oltp_insert 400 run | counts
echo "== reads"
# The tables reach the replicas in their time.
until load "$DB_READS_PORT" oltp_point_select 4 run >/dev/null 2>&1; do sleep 0.1; done
load "$DB_READS_PORT" oltp_point_select 400 run | counts
echo "reads 400"
echo "== end"
