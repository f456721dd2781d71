#!/usr/bin/env bash
# The mariadb client, and mariadb-dump.
client=mariadb dump=mariadb-dump
tls=(--ssl "--ssl-ca=${DB_CA:-}" --ssl-verify-server-cert)
plain=(--skip-ssl)
compress=--compress
# Weir does not offer what tells it the format of a column.
info=()
dumping=()
. "${0%/*}/script.sh"
