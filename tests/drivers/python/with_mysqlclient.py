"""mysqlclient (MySQLdb), which prepares nothing on the server."""

from importlib.metadata import version as version_of

import MySQLdb
import script


class MySQLClient(script.Driver):
    version = version_of("mysqlclient")
    error = MySQLdb.Error

    def connect(self, autocommit=True, port=script.PORT, password=script.PASSWORD, database=script.SCHEMA):
        tls = {"ssl": {"ca": script.CA}, "ssl_mode": "VERIFY_CA"} if script.CA else {}
        return MySQLdb.connect(
            host=script.HOST, port=port, user=script.USER, password=password, database=database,
            autocommit=autocommit, charset="utf8mb4", **tls,
        )  # fmt: skip

    def reset(self, connection):
        connection.rollback()
        connection.autocommit(True)
        connection.query("DROP TEMPORARY TABLE IF EXISTS items")

    def change_user(self, connection):
        connection.change_user(script.USER, script.PASSWORD, script.SCHEMA)
        connection.autocommit(True)


script.run(MySQLClient())
