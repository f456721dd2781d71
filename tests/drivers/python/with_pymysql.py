"""PyMySQL, which prepares nothing on the server."""

from importlib.metadata import version as version_of

import pymysql
import script
from pymysql.constants import CLIENT


class PyMySQL(script.Driver):
    version = version_of("PyMySQL")
    error = pymysql.Error

    def connect(self, autocommit=True, port=script.PORT, password=script.PASSWORD, database=script.SCHEMA):
        tls = {"ssl_ca": script.CA, "ssl_verify_cert": True, "ssl_verify_identity": True} if script.CA else {}
        return pymysql.connect(
            host=script.HOST, port=port, user=script.USER, password=password, database=database,
            autocommit=autocommit, client_flag=CLIENT.MULTI_STATEMENTS, **tls,
        )  # fmt: skip

    def reset(self, connection):
        """Pools of PyMySQL (SQLAlchemy's, DBUtils') roll back, and know nothing of a reset."""
        connection.rollback()
        connection.autocommit(True)
        connection.cursor().execute("DROP TEMPORARY TABLE IF EXISTS items")

    def change_user(self, connection):
        connection.close()
        connection.connect()


script.run(PyMySQL())
