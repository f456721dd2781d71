"""MySQL's own driver for Python, in its pure form (its wheels for many a Python have no other)."""

import mysql.connector
import script


class Connector(script.Driver):
    version = mysql.connector.__version__
    error = mysql.connector.Error
    cannot_fetch = ("a_year",)

    def connect(self, autocommit=True, port=script.PORT, password=script.PASSWORD, database=script.SCHEMA):
        tls = {"ssl_ca": script.CA, "ssl_verify_cert": True, "ssl_verify_identity": True} if script.CA else {"ssl_disabled": True}
        return mysql.connector.connect(
            host=script.HOST, port=port, user=script.USER, password=password, database=database,
            autocommit=autocommit, use_pure=True, **tls,
        )  # fmt: skip

    def prepared(self, connection):
        return connection.cursor(prepared=True)

    def error_of(self, error):
        return error.errno, error.sqlstate, error.msg

    def ping(self, connection):
        connection.ping(reconnect=False)

    def reset(self, connection):
        connection.reset_session()
        connection.autocommit = True

    def change_user(self, connection):
        connection.cmd_change_user(script.USER, script.PASSWORD, script.SCHEMA)
        connection.autocommit = True


script.run(Connector())
