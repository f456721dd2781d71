#!/usr/bin/env bash
# The mysql client, and mysqldump. They cannot log in to a MariaDB itself, only through Weir (tests/login.rs), so that
# there would be nothing to compare with.
client=mysql dump=mysqldump
tls=(--ssl-mode=VERIFY_IDENTITY "--ssl-ca=${DB_CA:-}")
plain=(--ssl-mode=DISABLED --get-server-public-key)
compress=--compression-algorithms=zstd
info=(--column-type-info)
dumping=(--no-tablespaces --column-statistics=0 --set-gtid-purged=OFF)
. "${0%/*}/script.sh"
