<?php
// The script of checks for drivers of PHP. It prints what the driver shows; through Weir it must print what it prints on
// a server.
const UNICODE = "naïve ☃ 𝄞 '\"\\\0";
foreach (['HOST', 'USER', 'PASSWORD', 'CA'] as $name) define($name, getenv("DB_$name") ?: '');
define('SCHEMA', getenv('DB_NAME'));
define('PORT', (int)getenv('DB_PORT'));

function show(...$values): void
{
    echo implode(' ', array_map('shown', $values)), "\n";
}

function shown(mixed $value): string
{
    if (is_array($value)) return '[' . implode(', ', array_map(fn($key, $part) => (is_int($key) ? '' : "$key: ") . shown($part), array_keys($value), $value)) . ']';
    if (is_string($value) && (strlen($value) > 80 || !preg_match("//u", $value))) return strlen($value) . ' bytes ' . sha1($value);
    return var_export($value, true);
}

function attempt(callable $action): void
{
    try {
        show('no error', $action());
    } catch (Exception $error) {
        show('error', get_class($error), is_a($error, Driver::ERROR) ? Driver::code($error) : $error->getMessage());
    }
}

function run(): void
{
    echo 'version ', Driver::VERSION, "\n";
    foreach (['login', 'statements', 'types', 'big', 'transactions', 'errors', 'multi', 'session', 'pool', 'own_writes', 'reads'] as $check) {
        echo "== $check\n";
        $check(new Driver($check === 'reads' ? (int)getenv('DB_READS_PORT') : PORT, PASSWORD));
    }
    echo "== end\n";
}

function login(Driver $driver): void
{
    show($driver->query('SELECT DATABASE(), CURRENT_USER(), VERSION(), @@character_set_client, @@collation_connection, @@sql_mode'));
    attempt(fn() => new Driver(PORT, 'wrong'));
}

function statements(Driver $driver): void
{
    foreach ([1, 2, 3] as $round) {
        show($driver->prepared('INSERT INTO notes (body) VALUES (?), (?)', [UNICODE, null]));
        show($driver->prepared('SELECT id, body, ? AS given FROM notes WHERE body = ? ORDER BY id', ['x', UNICODE]));
        show($driver->prepared('SELECT name FROM items WHERE id BETWEEN ? AND ? ORDER BY id', [5, 7]));
        show($driver->query("UPDATE notes SET body = 'changed'"));
        show($driver->query('SELECT * FROM notes ORDER BY id'));
        show($driver->query('DELETE FROM notes'));
        show($driver->query("INSERT IGNORE INTO items VALUES (1, 'there')"));
        show($driver->query('SHOW WARNINGS'));
    }
}

function types(Driver $driver): void
{
    foreach ($driver->columns('SELECT * FROM types') as $column) show($column);
    $sql = 'SELECT * FROM types ORDER BY id';
    foreach ([$driver->query($sql), $driver->prepared($sql, [])] as $rows) {
        foreach ($rows as $row) {
            show($row);
            $marks = implode(', ', array_fill(0, count($row), '?'));
            attempt(fn() => $driver->prepared("INSERT INTO copies VALUES ($marks)", array_values($row)));
        }
        show($driver->query('SELECT * FROM copies ORDER BY id'));
        $driver->query('DELETE FROM copies');
    }
    show($driver->query('SELECT * FROM shapes ORDER BY id'));
}

function big(Driver $driver): void
{
    $data = str_repeat(implode('', array_map('chr', range(0, 255))), 12 * 1024);
    $body = str_repeat('☃ß', 300000);
    show($driver->prepared('INSERT INTO blobs VALUES (1, ?, ?)', [$data, $body]));
    foreach ([$driver->query('SELECT * FROM blobs'), $driver->prepared('SELECT * FROM blobs', [])] as [$row]) {
        show($row['data'] === $data, $row['body'] === $body);
    }
    $rows = $driver->query('SELECT a.id * 100 + b.id AS n, a.name, REPEAT(b.name, 20) FROM items a JOIN items b ORDER BY n');
    show(count($rows), end($rows));
}

function balances(Driver $driver): void
{
    show($driver->query('SELECT * FROM accounts ORDER BY id'));
}

function transactions(Driver $driver): void
{
    foreach (['rollback', 'commit'] as $end) {
        $driver->begin();
        $driver->prepared('UPDATE accounts SET balance = balance - ? WHERE id = 1', [10]);
        $driver->query('SAVEPOINT here');
        $driver->query('DELETE FROM accounts');
        $driver->query('ROLLBACK TO here');
        balances($driver);
        $driver->$end();
        balances($driver);
    }
    $driver->autocommit(false);
    balances($driver);
    $driver->query('UPDATE accounts SET balance = balance + 1');
    $driver->query('COMMIT');
    $driver->autocommit(true);
    balances($driver);
}

function errors(Driver $driver): void
{
    foreach ([
        'SELECT * FROM missing', 'SELECT FROM WHERE', "INSERT INTO items VALUES (1, 'again')",
        'INSERT INTO items VALUES (1000, NULL)', 'CALL missing()', 'USE nowhere', 'SELECT (SELECT id FROM items)',
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'böse', MYSQL_ERRNO = 5000",
    ] as $sql) {
        attempt(fn() => $driver->query($sql));
        attempt(fn() => $driver->prepared($sql, []));
    }
    show($driver->query("SELECT 'alive'"));
}

function multi(Driver $driver): void
{
    $driver->multi("SELECT 1; INSERT INTO notes (body) VALUES ('multi'); SELECT 'zwei', NULL; DELETE FROM notes");
    attempt(fn() => $driver->multi('SELECT 1; SELECT * FROM missing; SELECT 2'));
    $driver = new Driver(PORT, PASSWORD);
    $driver->multi('CALL two_results(7)');
    $driver->multi('CALL deposit(1, 5, @now); SELECT @now');
    balances($driver);
}

const STATE = 'SELECT @@time_zone, @@sql_mode, @@character_set_client, @@session.sort_buffer_size, @mine, DATABASE(), @@autocommit';

function session(Driver $driver): void
{
    foreach ([
        "SET time_zone = '+05:00', sort_buffer_size = 100000",
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
        "SET @mine = 'val☃e', @other = 2",
        'CREATE TEMPORARY TABLE scratch SELECT id FROM items WHERE id < 3',
        "PREPARE stmt FROM 'SELECT ? + 1'",
        'USE information_schema',
        STATE,
        'EXECUTE stmt USING @other',
        'SELECT COUNT(*) FROM ' . SCHEMA . '.scratch',
        'SELECT name FROM ' . SCHEMA . '.items WHERE id = 3',
    ] as $sql) {
        show($driver->query($sql));
    }
}

// Leaves something behind.
function litter(Driver $driver): void
{
    $driver->query("SET time_zone = '+03:00', @mine = 'left behind', autocommit = 0");
    $driver->query('CREATE TEMPORARY TABLE items (id INT)');
    $driver->query('UPDATE accounts SET balance = 0');
}

function pool(Driver $driver): void
{
    $driver = $driver->reused();
    show($driver->query(STATE));
    show($driver->query('SELECT COUNT(*) FROM items'));
    balances($driver);
}

function own_writes(Driver $driver): void
{
    $stale = 0;
    for ($number = 0; $number < 30; $number++) {
        $driver->prepared('UPDATE accounts SET balance = ? WHERE id = 1', [$number]);
        [$row] = $driver->query('SELECT balance FROM accounts WHERE id = 1');
        $stale += $row['balance'] != $number;
    }
    show('stale', $stale);
}

// Forty reads, of which none needs the writer.
function reads(Driver $driver): void
{
    foreach (range(1, 20) as $id) {
        show($driver->query("SELECT name FROM items WHERE id = $id"), $driver->prepared('SELECT name FROM items WHERE id = ?', [$id]));
    }
    echo "reads 40\n";
}
