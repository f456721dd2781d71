#!/usr/bin/env bash
# The mysql client, and mysqldump.
client=mysql dump=mysqldump
if [ "$DB_FAMILY" = mariadb ]; then
    # It cannot log in to a MariaDB itself, only through Weir (tests/login.rs), so that there is nothing to compare with.
    printf '%s\n' "version $("$client" --no-defaults --version | sed -E 's/.*Ver ([0-9.]+).*/\1/')" 'reads 0' '== end'
    exit
fi
tls=(--ssl-mode=VERIFY_IDENTITY "--ssl-ca=${DB_CA:-}")
plain=(--ssl-mode=DISABLED --get-server-public-key)
compress=--compression-algorithms=zstd
info=(--column-type-info)
dumping=(--no-tablespaces --column-statistics=0 --set-gtid-purged=OFF)
. "${0%/*}/script.sh"
