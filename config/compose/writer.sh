# Read by the image's entry point, once, on an empty data folder. What is written here replicates.

# The image's own users stay this server's own: the binary log begins after them.
docker_process_sql --database=mysql <<SQL
RESET BINARY LOGS AND GTIDS;

CREATE USER replication@'%' IDENTIFIED BY '$REPLICATION_DB_PASSWORD' REQUIRE SSL;
GRANT REPLICATION SLAVE ON *.* TO replication@'%';

-- What Weir asks servers about their health and position with.
CREATE USER probe@'%' IDENTIFIED BY '$PROBE_DB_PASSWORD';
GRANT REPLICATION CLIENT ON *.* TO probe@'%';
GRANT SELECT ON performance_schema.* TO probe@'%';

CREATE DATABASE app CHARACTER SET utf8mb4;
CREATE USER app@'%' IDENTIFIED BY '$APP_DB_PASSWORD';
GRANT ALL ON app.* TO app@'%';
SQL
