// MariaDB's Connector/J. It prints what the driver shows; through Weir it must print what it prints on a server.
import java.io.ByteArrayInputStream;
import java.math.BigInteger;
import java.security.MessageDigest;
import java.sql.*;
import java.util.*;
import org.mariadb.jdbc.MariaDbPoolDataSource;

public class WithConnectorJ {
    static final String SCHEMA = System.getenv("DB_NAME"), UNICODE = "naïve ☃ 𝄞 '\"\\\0";

    interface Check {
        void run(boolean prepared) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        System.setOut(new java.io.PrintStream(System.out, true, "UTF-8"));
        try (Connection connection = connect(false)) {
            System.out.println("version " + connection.getMetaData().getDriverVersion());
        }
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("login", WithConnectorJ::login);
        checks.put("statements", WithConnectorJ::statements);
        checks.put("types", WithConnectorJ::types);
        checks.put("big", WithConnectorJ::big);
        checks.put("transactions", WithConnectorJ::transactions);
        checks.put("errors", WithConnectorJ::errors);
        checks.put("multi", WithConnectorJ::multi);
        checks.put("session", WithConnectorJ::session);
        checks.put("pool", WithConnectorJ::pool);
        checks.put("reads", WithConnectorJ::reads);
        for (boolean prepared : new boolean[] {false, true}) {
            for (var check : checks.entrySet()) {
                System.out.println("== " + check.getKey());
                check.getValue().run(prepared);
            }
        }
        System.out.println("== end");
    }

    static String url(String port, boolean prepared, String more) {
        String tls = System.getenv("DB_CA") == null ? "" : "&useSSL=true&serverSslCert=" + System.getenv("DB_CA");
        return "jdbc:mariadb://" + System.getenv("DB_HOST") + ":" + System.getenv(port) + "/" + SCHEMA + "?user=" + System.getenv("DB_USER")
            + "&password=" + System.getenv("DB_PASSWORD") + "&useServerPrepStmts=" + prepared + "&allowMultiQueries=true&allowPublicKeyRetrieval=true" + tls + more;
    }

    static Connection connect(boolean prepared) throws SQLException {
        return DriverManager.getConnection(url("DB_PORT", prepared, ""));
    }

    static void show(Object... values) throws Exception {
        List<String> shown = new ArrayList<>();
        for (Object value : values) shown.add(shown(value));
        System.out.println(String.join(" ", shown));
    }

    static String shown(Object value) throws Exception {
        if (value instanceof byte[]) {
            byte[] bytes = (byte[]) value;
            return bytes.length + " bytes " + new BigInteger(1, MessageDigest.getInstance("SHA-1").digest(bytes)).toString(16);
        }
        if (value instanceof Blob) return shown(((Blob) value).getBytes(1, (int) ((Blob) value).length()));
        if (value instanceof String && ((String) value).length() > 80) return "text " + shown(((String) value).getBytes("UTF-8"));
        if (value instanceof int[]) return Arrays.toString((int[]) value);
        return String.valueOf(value);
    }

    static void all(ResultSet rows) throws Exception {
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            Object[] row = new Object[columns];
            for (int place = 0; place < columns; place++) row[place] = rows.getObject(place + 1);
            show(row);
        }
        rows.close();
    }

    static void query(Connection connection, String sql, Object... values) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
            for (int place = 0; place < values.length; place++) statement.setObject(place + 1, values[place]);
            boolean rows = statement.execute();
            while (rows || statement.getUpdateCount() != -1) {
                if (rows) {
                    all(statement.getResultSet());
                } else {
                    show("updated", statement.getUpdateCount());
                    all(statement.getGeneratedKeys());
                }
                rows = statement.getMoreResults();
            }
        }
    }

    static void attempt(Check action) throws Exception {
        try {
            action.run(true);
            show("no error");
        } catch (SQLException error) {
            // Their texts name the connection and the port.
            String text = error.getMessage().replaceAll("\\(conn=\\d+\\)|port=\\d+", "");
            show("error", error.getClass().getSimpleName(), error.getErrorCode(), error.getSQLState());
            System.out.println(text);
        }
    }

    static void login(boolean prepared) throws Exception {
        try (Connection connection = connect(prepared)) {
            DatabaseMetaData meta = connection.getMetaData();
            show(meta.getDatabaseProductName(), meta.getDatabaseProductVersion(), connection.getCatalog(), connection.isValid(1));
            query(connection, "SELECT DATABASE(), CURRENT_USER(), @@character_set_client, @@collation_connection, @@sql_mode");
            try (ResultSet tables = meta.getTables(SCHEMA, null, "%", null)) {
                while (tables.next()) show(tables.getString("TABLE_NAME"));
            }
        }
        attempt(x -> DriverManager.getConnection(url("DB_PORT", prepared, "").replace("password=", "password=not-")));
    }

    static void statements(boolean prepared) throws Exception {
        try (Connection connection = connect(prepared)) {
            for (int round = 0; round < 3; round++) {
                query(connection, "INSERT INTO notes (body) VALUES (?), (?)", UNICODE, null);
                query(connection, "SELECT body, ? AS given FROM notes WHERE body = ? ORDER BY id", "x", UNICODE);
                query(connection, "UPDATE notes SET body = 'changed'");
                query(connection, "SELECT name FROM items WHERE id BETWEEN ? AND ? ORDER BY id", 5, 7);
                query(connection, "DELETE FROM notes");
                try (PreparedStatement batch = connection.prepareStatement("INSERT INTO notes (body) VALUES (?)")) {
                    for (String body : new String[] {"a", null, UNICODE}) {
                        batch.setString(1, body);
                        batch.addBatch();
                    }
                    show(batch.executeBatch());
                }
                query(connection, "SELECT body FROM notes ORDER BY id");
                query(connection, "INSERT IGNORE INTO items VALUES (1, 'there')");
                for (SQLWarning warning = connection.getWarnings(); warning != null; warning = warning.getNextWarning()) {
                    show(warning.getErrorCode(), warning.getMessage());
                }
            }
        }
    }

    static void types(boolean prepared) throws Exception {
        try (Connection connection = connect(prepared); Statement statement = connection.createStatement()) {
            ResultSetMetaData meta;
            try (ResultSet rows = statement.executeQuery("SELECT * FROM types LIMIT 0")) {
                meta = rows.getMetaData();
            }
            StringBuilder marks = new StringBuilder("?");
            for (int place = 1; place <= meta.getColumnCount(); place++) {
                show(meta.getColumnName(place), meta.getColumnTypeName(place), meta.getColumnClassName(place), meta.getScale(place), meta.isNullable(place));
                if (place > 1) marks.append(", ?");
            }
            for (int id = 1; id <= 4; id++) {
                query(connection, "SELECT * FROM types WHERE id = ?", id);
                try (PreparedStatement select = connection.prepareStatement("SELECT * FROM types WHERE id = " + id); ResultSet row = select.executeQuery()) {
                    row.next();
                    Object[] values = new Object[meta.getColumnCount()];
                    for (int place = 0; place < values.length; place++) values[place] = row.getObject(place + 1);
                    attempt(x -> query(connection, "INSERT INTO copies VALUES (" + marks + ")", values));
                }
            }
            query(connection, "SELECT * FROM copies ORDER BY id");
            query(connection, "DELETE FROM copies");
            query(connection, "SELECT * FROM shapes ORDER BY id");
        }
    }

    static void big(boolean prepared) throws Exception {
        byte[] data = new byte[3 << 20];
        for (int place = 0; place < data.length; place++) data[place] = (byte) place;
        try (Connection connection = connect(prepared)) {
            query(connection, "DELETE FROM blobs");
            // A stream goes out in pieces.
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO blobs VALUES (1, ?, ?)")) {
                insert.setBinaryStream(1, new ByteArrayInputStream(data));
                insert.setString(2, "☃ß".repeat(300000));
                show(insert.executeUpdate());
            }
            query(connection, "SELECT * FROM blobs WHERE id = ?", 1);
            try (PreparedStatement select = connection.prepareStatement("SELECT a.id * 100 + b.id AS n, a.name, REPEAT(b.name, 20) FROM items a JOIN items b ORDER BY n")) {
                select.setFetchSize(100);
                int count = 0;
                try (ResultSet rows = select.executeQuery()) {
                    while (rows.next()) count++;
                }
                show(count);
            }
        }
    }

    static void balances(Connection connection) throws Exception {
        query(connection, "SELECT * FROM accounts ORDER BY id");
    }

    static void transactions(boolean prepared) throws Exception {
        try (Connection connection = connect(prepared)) {
            connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
            show(connection.getTransactionIsolation());
            connection.setAutoCommit(false);
            for (boolean commit : new boolean[] {false, true}) {
                query(connection, "UPDATE accounts SET balance = balance - ? WHERE id = 1", 10);
                Savepoint here = connection.setSavepoint();
                query(connection, "DELETE FROM accounts");
                connection.rollback(here);
                balances(connection);
                if (commit) connection.commit();
                else connection.rollback();
                balances(connection);
            }
            connection.setAutoCommit(true);
            connection.setReadOnly(true);
            connection.setAutoCommit(false);
            balances(connection);
            connection.rollback();
        }
    }

    static void errors(boolean prepared) throws Exception {
        try (Connection connection = connect(prepared)) {
            for (String sql : new String[] {
                "SELECT * FROM missing", "SELECT FROM WHERE", "INSERT INTO items VALUES (1, 'again')", "INSERT INTO items VALUES (1000, NULL)",
                "CALL missing()", "USE nowhere", "SELECT (SELECT id FROM items)",
                "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'böse', MYSQL_ERRNO = 5000",
            }) {
                attempt(x -> query(connection, sql));
            }
            // It sends a KILL QUERY from another connection.
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                attempt(x -> statement.execute("SELECT SLEEP(60) FROM items"));
            }
            query(connection, "SELECT 'alive'");
        }
    }

    static void multi(boolean prepared) throws Exception {
        try (Connection connection = connect(prepared)) {
            query(connection, "SELECT 1; INSERT INTO notes (body) VALUES ('multi'); SELECT 'zwei', NULL; DELETE FROM notes");
            attempt(x -> query(connection, "SELECT 1; SELECT * FROM missing; SELECT 2"));
            query(connection, "CALL two_results(?)", 7);
            try (CallableStatement call = connection.prepareCall("{CALL deposit(?, ?, ?)}")) {
                call.setInt(1, 1);
                call.setInt(2, 5);
                call.registerOutParameter(3, Types.INTEGER);
                call.execute();
                show(call.getInt(3));
            }
            balances(connection);
        }
    }

    static final String STATE = "SELECT @@time_zone, @@sql_mode, @@character_set_client, @@session.sort_buffer_size, @mine, DATABASE(), @@autocommit";

    static void session(boolean prepared) throws Exception {
        try (Connection connection = connect(prepared); Statement statement = connection.createStatement()) {
            for (String sql : new String[] {
                "SET time_zone = '+05:00', sort_buffer_size = 100000", "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
                "SET @mine = 'val☃e', @other = 2", "CREATE TEMPORARY TABLE scratch SELECT id FROM items WHERE id < 3",
                "PREPARE stmt FROM 'SELECT ? + 1'",
            }) {
                show(statement.execute(sql));
            }
            connection.setCatalog("information_schema");
            for (String sql : new String[] {
                STATE, "EXECUTE stmt USING @other", "SELECT COUNT(*) FROM " + SCHEMA + ".scratch", "SELECT name FROM " + SCHEMA + ".items WHERE id = 3",
            }) {
                all(statement.executeQuery(sql));
            }
        }
    }

    // What a connection of the pool leaves behind is gone when it comes out again.
    static void pool(boolean prepared) throws Exception {
        String options = "&maxPoolSize=2&minPoolSize=1&poolValidMinDelay=0&useResetConnection=true";
        try (MariaDbPoolDataSource source = new MariaDbPoolDataSource(url("DB_PORT", prepared, options))) {
            for (int round = 0; round < 3; round++) {
                try (Connection connection = source.getConnection(); Statement statement = connection.createStatement()) {
                    query(connection, STATE);
                    query(connection, "SELECT COUNT(*) FROM items WHERE id > ?", 10);
                    statement.execute("SET time_zone = '+03:00', @mine = 'left behind'");
                    statement.execute("CREATE TEMPORARY TABLE IF NOT EXISTS items (id INT)");
                    connection.setAutoCommit(false);
                    statement.execute("UPDATE accounts SET balance = 0");
                }
            }
            int stale = 0;
            for (int number = 0; number < 30; number++) {
                try (Connection connection = source.getConnection(); Statement statement = connection.createStatement()) {
                    statement.executeUpdate("UPDATE accounts SET balance = " + number + " WHERE id = 1");
                    ResultSet row = statement.executeQuery("SELECT balance FROM accounts WHERE id = 1");
                    row.next();
                    if (row.getInt(1) != number) stale++;
                }
            }
            show("stale", stale);
        }
    }

    // Twenty reads, of which none needs the writer.
    static void reads(boolean prepared) throws Exception {
        try (Connection connection = DriverManager.getConnection(url("DB_READS_PORT", prepared, ""))) {
            for (int id = 1; id <= 20; id++) query(connection, "SELECT name FROM items WHERE id = ?", id);
        }
        System.out.println("reads 20");
    }
}
