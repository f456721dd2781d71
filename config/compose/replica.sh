# Read by the image's entry point, once, on an empty data folder. Replication starts with the server proper, which
# comes up read-only and stays so.

# What the image's entry point made here is no transaction of the cluster.
docker_process_sql --database=mysql <<SQL
RESET BINARY LOGS AND GTIDS;

CHANGE REPLICATION SOURCE TO
    SOURCE_HOST = '${WRITER_HOST:-writer}',
    SOURCE_PORT = ${WRITER_PORT:-3306},
    SOURCE_USER = 'replication',
    SOURCE_PASSWORD = '$REPLICATION_DB_PASSWORD',
    SOURCE_SSL = 1,
    SOURCE_AUTO_POSITION = 1;

SET PERSIST super_read_only = ON;
SQL
