"""The script of checks for drivers with Python's DB-API. It prints what the driver shows; through Weir it must print
what it prints on a server."""

import datetime
import hashlib
import os

HOST, PORT, USER, PASSWORD, SCHEMA = (os.environ["DB_" + name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME"))
PORT, READS_PORT = int(PORT), int(os.environ["DB_READS_PORT"])
CA = os.environ.get("DB_CA")
UNICODE = "naïve ☃ 𝄞 '\"\\\0"
BIG = bytes(range(256)) * 12 * 1024  # 3 MiB


def show(*values):
    print(*(shown(value) for value in values))


def shown(value):
    if isinstance(value, (bytes, bytearray, str)) and len(value) > 80:
        data = value.encode() if isinstance(value, str) else bytes(value)
        return f"{type(value).__name__} of {len(value)}, {hashlib.sha1(data).hexdigest()}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(shown, value)) + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    if isinstance(value, datetime.timedelta):
        return f"{value.days}d {value.seconds}s {value.microseconds}us"
    return repr(value)


class Driver:
    """What the script needs of a driver. The defaults suit most."""

    version = None
    error = Exception
    # Columns of `types` that the driver fails to read from a prepared statement, on any server.
    cannot_fetch = ()

    def connect(self, autocommit=True, port=PORT, **other):
        raise NotImplementedError

    def prepared(self, connection):
        """A cursor that runs its statements as prepared ones."""
        return None

    def places(self, sql):
        """A statement with a mark `?` for each value, in the driver's own way."""
        return sql.replace("?", "%s")

    def error_of(self, error):
        """Number, SQLSTATE and text."""
        return error.args

    def ping(self, connection):
        connection.ping()

    def reset(self, connection):
        """What gives a connection back to the driver's pool."""

    def change_user(self, connection):
        pass

    def multi(self, connection, sql):
        """Runs several statements."""
        cursor = connection.cursor()
        cursor.execute(sql)
        results(cursor)


def results(cursor):
    more = True
    while more:
        show("result", cursor.rowcount, cursor.description and [column[0] for column in cursor.description])
        if cursor.description:
            show(cursor.fetchall())
        more = cursor.nextset()


def run(driver):
    print("version", driver.version)
    for check in (login, text, prepared, types, big, transactions, autocommit, errors, multi, session, pool, own_writes, reads):
        print("==", check.__name__)
        check(driver)
    print("== end")


def login(driver):
    connection = driver.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT DATABASE(), CURRENT_USER(), VERSION(), @@character_set_client, @@collation_connection, @@sql_mode")
    show(cursor.fetchall())
    connection.close()
    attempt(driver, lambda: driver.connect(password="wrong"))
    attempt(driver, lambda: driver.connect(database="nowhere"))


def attempt(driver, action):
    try:
        show("no error", action())
    except driver.error as error:
        show("error", type(error).__name__, driver.error_of(error))


def text(driver):
    connection = driver.connect()
    cursor = connection.cursor()
    statements(cursor, driver)
    cursor.executemany(driver.places("INSERT INTO notes (body) VALUES (?)"), [("many",), (None,), (UNICODE,)])
    show(cursor.rowcount)
    cursor.execute("SELECT body FROM notes WHERE body LIKE '%ï%☃%'")
    show(cursor.fetchall())
    cursor.execute("INSERT IGNORE INTO items VALUES (1, 'there')")
    show(cursor.rowcount)
    cursor.execute("SHOW WARNINGS")
    show(cursor.fetchall())
    cursor.execute("SELECT SLEEP(0), doubled(21), LAST_INSERT_ID() FROM items WHERE id < 3")
    show(cursor.fetchall())
    connection.close()


def statements(cursor, driver):
    cursor.execute(driver.places("INSERT INTO notes (body) VALUES (?)"), (UNICODE,))
    show(cursor.rowcount, cursor.lastrowid)
    cursor.execute(driver.places("SELECT id, body, ? AS given FROM notes WHERE id = ?"), ("x", cursor.lastrowid))
    show([column[:2] for column in cursor.description], cursor.fetchall())
    cursor.execute(driver.places("UPDATE notes SET body = ? WHERE body = ?"), ("changed", UNICODE))
    show(cursor.rowcount)
    cursor.execute(driver.places("DELETE FROM notes WHERE body = ?"), ("changed",))
    show(cursor.rowcount)
    cursor.execute(driver.places("SELECT name FROM items WHERE id BETWEEN ? AND ? ORDER BY id"), (5, 7))
    show(cursor.fetchone())
    show(cursor.fetchall())


def prepared(driver):
    connection = driver.connect()
    cursor = driver.prepared(connection)
    if cursor is None:
        return
    for _ in range(3):
        statements(cursor, driver)
    others = [driver.prepared(connection) for _ in range(5)]
    for number, other in enumerate(others):
        other.execute(driver.places("SELECT ? + id FROM items WHERE id = ?"), (number, number + 1))
        show(other.fetchall())
    for other in others:
        other.close()
    attempt(driver, lambda: cursor.execute(driver.places("SELECT missing FROM items WHERE id = ?"), (1,)))
    connection.close()


def types(driver):
    connection = driver.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT * FROM types WHERE FALSE")
    cursor.fetchall()
    columns = [column[0] for column in cursor.description]
    values_of(driver, cursor, columns)
    cursor = driver.prepared(connection)
    if cursor is not None:
        values_of(driver, cursor, [column for column in columns if column not in driver.cannot_fetch])
    connection.close()


def values_of(driver, cursor, columns):
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    cursor.execute(f"SELECT {names} FROM types ORDER BY id")
    for column in cursor.description:
        show(column)
    for row in cursor.fetchall():
        show(row)
        row = [",".join(sorted(value)) if isinstance(value, set) else value for value in row]
        attempt(driver, lambda: cursor.execute(driver.places(f"INSERT INTO copies ({names}) VALUES ({marks})"), row))
    cursor.execute(f"SELECT {names} FROM copies ORDER BY id")
    show(cursor.fetchall())
    cursor.execute("DELETE FROM copies")
    cursor.execute("SELECT * FROM shapes ORDER BY id")
    show(cursor.fetchall())


def big(driver):
    connection = driver.connect()
    for number, cursor in enumerate((connection.cursor(), driver.prepared(connection))):
        if cursor is None:
            continue
        letters = "☃ß" * 300_000
        cursor.execute(driver.places("INSERT INTO blobs VALUES (?, ?, ?)"), (number, BIG, letters))
        show(cursor.rowcount)
        cursor.execute(driver.places("SELECT data, body FROM blobs WHERE id = ?"), (number,))
        ((data, body),) = cursor.fetchall()
        show(bytes(data) == BIG, body == letters)
        cursor.execute("SELECT a.id * 100 + b.id AS n, a.name, REPEAT(b.name, 20) FROM items a JOIN items b ORDER BY n")
        rows = cursor.fetchall()
        show(len(rows), rows[-1])
    connection.close()


def balances(cursor):
    cursor.execute("SELECT * FROM accounts ORDER BY id")
    show(cursor.fetchall())


def transactions(driver):
    connection = driver.connect()
    cursor = connection.cursor()
    cursor.execute("START TRANSACTION")
    cursor.execute("UPDATE accounts SET balance = balance - 10 WHERE id = 1")
    balances(cursor)
    cursor.execute("SAVEPOINT here")
    cursor.execute("UPDATE accounts SET balance = balance + 10 WHERE id = 2")
    cursor.execute("ROLLBACK TO here")
    balances(cursor)
    connection.commit()
    balances(cursor)
    cursor.execute("BEGIN")
    cursor.execute("SELECT balance FROM accounts WHERE id = 1 FOR UPDATE")
    show(cursor.fetchall())
    cursor.execute("DELETE FROM accounts")
    connection.rollback()
    balances(cursor)
    connection.close()


def autocommit(driver):
    connection = driver.connect(autocommit=False)
    cursor = connection.cursor()
    for end in (connection.rollback, connection.commit):
        balances(cursor)
        cursor.execute("UPDATE accounts SET balance = balance + 1 WHERE id = 2")
        show(cursor.rowcount)
        end()
        balances(cursor)
    cursor.execute("UPDATE accounts SET balance = 0")
    connection.close()  # without a commit
    connection = driver.connect()
    balances(connection.cursor())
    connection.close()


def errors(driver):
    connection = driver.connect()
    for sql in (
        "SELECT * FROM missing",
        "SELECT FROM WHERE",
        "INSERT INTO items VALUES (1, 'again')",
        "INSERT INTO items VALUES (1000, NULL)",
        "SELECT nothing FROM items",
        "UPDATE items SET name = REPEAT('x', 100) WHERE id = 1",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'böse', MYSQL_ERRNO = 5000",
        "CALL missing()",
        "USE nowhere",
        "SELECT (SELECT id FROM items)",
        "",
    ):
        cursor = connection.cursor()
        attempt(driver, lambda: (cursor.execute(sql), cursor.fetchall()))
        cursor.close()
    cursor = connection.cursor()
    cursor.execute("SELECT 'alive'")
    show(cursor.fetchall())
    connection.close()


def multi(driver):
    connection = driver.connect()
    driver.multi(connection, "SELECT 1; INSERT INTO notes (body) VALUES ('multi'); SELECT 'zwei', NULL; DELETE FROM notes WHERE body = 'multi'")
    attempt(driver, lambda: driver.multi(connection, "SELECT 1; SELECT * FROM missing; SELECT 2"))
    driver.multi(connection, "CALL two_results(7)")
    cursor = connection.cursor()
    show(cursor.callproc("two_results", (3,)))
    cursor.close()
    cursor = connection.cursor()
    show(cursor.callproc("deposit", (1, 5, 0)))
    cursor.close()
    connection.commit()
    balances(connection.cursor())
    connection.close()


STATE = "SELECT @@time_zone, @@sql_mode, @@character_set_client, @@session.sort_buffer_size, @mine, DATABASE(), @@autocommit"


def session(driver):
    connection = driver.connect()
    cursor = connection.cursor()
    for sql in (
        "SET time_zone = '+05:00', sort_buffer_size = 100000",
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
        "SET @mine = 'val☃e', @other = 2",
        "CREATE TEMPORARY TABLE scratch SELECT id FROM items WHERE id < 3",
        "PREPARE stmt FROM 'SELECT ? + 1'",
        "USE information_schema",
    ):
        cursor.execute(sql)
        show(cursor.rowcount)
    cursor.execute(STATE)
    show(cursor.fetchall())
    cursor.execute("EXECUTE stmt USING @other")
    show(cursor.fetchall())
    cursor.execute(f"SELECT COUNT(*) FROM {SCHEMA}.scratch")
    show(cursor.fetchall())
    cursor.execute(f"SELECT name FROM {SCHEMA}.items WHERE id = 3")
    show(cursor.fetchall())
    connection.close()


def pool(driver):
    connection = driver.connect()
    for end in (driver.reset, driver.change_user):
        cursor = connection.cursor()
        cursor.execute("SET time_zone = '+03:00', @mine = 'left behind', autocommit = 0")
        cursor.execute("CREATE TEMPORARY TABLE items (id INT)")
        cursor.execute("UPDATE accounts SET balance = 0")
        end(connection)
        driver.ping(connection)
        cursor = connection.cursor()
        cursor.execute(STATE)
        show(cursor.fetchall())
        cursor.execute("SELECT COUNT(*) FROM items")
        show(cursor.fetchall())
        connection.rollback()
        balances(cursor)
        driver.ping(connection)
    connection.close()


def own_writes(driver):
    connection = driver.connect()
    cursor = connection.cursor()
    stale = 0
    for number in range(30):
        cursor.execute(driver.places("UPDATE accounts SET balance = ? WHERE id = 1"), (number,))
        if number % 10 == 0:
            driver.ping(connection)
        cursor.execute("SELECT balance FROM accounts WHERE id = 1")
        stale += list(cursor.fetchall()) != [(number,)]
    show("stale", stale)
    connection.close()


def reads(driver):
    """Forty reads, or twenty, of which none needs the writer."""
    connection = driver.connect(port=READS_PORT)
    for cursor in (connection.cursor(), driver.prepared(connection)):
        if cursor is not None:
            total = 0
            for number in range(1, 21):
                cursor.execute(driver.places("SELECT id, name FROM items WHERE id = ?"), (number,))
                total += sum(row[0] for row in cursor.fetchall())
            show(total)
            print("reads", 20)
    connection.close()
