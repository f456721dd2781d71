// The script of checks for drivers of Node.js. It prints what the driver shows; through Weir it must print what it prints
// on a server.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');

const env = process.env;
const LOGIN = { host: env.DB_HOST, port: Number(env.DB_PORT), user: env.DB_USER, password: env.DB_PASSWORD, database: env.DB_NAME };
const TLS = env.DB_CA ? { ssl: { ca: fs.readFileSync(env.DB_CA) } } : {};
const READS_PORT = Number(env.DB_READS_PORT);
const UNICODE = 'naïve ☃ 𝄞 \'"\\\0';
const BIG = Buffer.alloc(3 << 20, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));

function show(...values) {
  console.log(values.map(shown).join(' '));
}

function shown(value) {
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Date) return isNaN(value) ? 'no date' : value.toISOString();
  if (Buffer.isBuffer(value)) return value.length > 40 ? digest('Buffer', value) : `x'${value.toString('hex')}'`;
  if (typeof value === 'string' && value.length > 80) return digest('string', value);
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (value && typeof value === 'object') return `{${Object.entries(value).map(([key, part]) => `${key}: ${shown(part)}`).join(', ')}}`;
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

function digest(type, value) {
  return `${type} of ${value.length}, ${crypto.createHash('sha1').update(value).digest('hex')}`;
}

// A driver has: version; connect(options) and, of what that resolves to: query(sql, values), execute(sql, values), both
// resolving to rows, to what a write reports, or to a list of them; columns(sql, prepared), ping(), reset(),
// changeUser(), close().
async function run(driver) {
  console.log('version', driver.version);
  const checks = [login, text, prepared, types, big, compressed, transactions, autocommit, errors, multi, session, pool, ownWrites, reads];
  for (const check of checks) {
    console.log('==', check.name);
    await check(driver);
  }
  console.log('== end');
}

async function connect(driver, options = {}) {
  return driver.connect({ ...LOGIN, ...TLS, multipleStatements: true, ...options });
}

async function attempt(action) {
  try {
    show('no error', await action());
  } catch (error) {
    // Servers number statements as they like.
    const text = String(error.sqlMessage).replace(/handler \(\d+\)/, 'handler');
    show('error', error.errno, error.sqlState, error.code, text);
  }
}

async function login(driver) {
  const connection = await connect(driver);
  show(await connection.query('SELECT DATABASE(), CURRENT_USER(), VERSION(), @@character_set_client, @@collation_connection, @@sql_mode'));
  await connection.close();
  await attempt(() => connect(driver, { password: 'wrong' }));
  await attempt(() => connect(driver, { database: 'nowhere' }));
}

async function statements(run) {
  const { insertId, affectedRows } = await run('INSERT INTO notes (body) VALUES (?)', [UNICODE]);
  show(insertId, affectedRows);
  show(await run('SELECT id, body, ? AS given FROM notes WHERE id = ?', ['x', insertId]));
  show(await run('UPDATE notes SET body = ? WHERE body = ?', ['changed', UNICODE]));
  show(await run('DELETE FROM notes WHERE body = ?', ['changed']));
  show(await run('SELECT name FROM items WHERE id BETWEEN ? AND ? ORDER BY id', [5, 7]));
}

async function text(driver) {
  const connection = await connect(driver);
  await statements((...parts) => connection.query(...parts));
  show(await connection.query("INSERT IGNORE INTO items VALUES (1, 'there')"));
  show(await connection.query('SHOW WARNINGS'));
  show(await connection.query('SELECT SLEEP(0), doubled(21), LAST_INSERT_ID() FROM items WHERE id < 3'));
  // Nobody waits for the reply before the next.
  const names = ['SET @a = 1', 'SELECT @a + 1 AS b', 'SELECT name FROM items WHERE id = 9', 'DO SLEEP(0)', 'SELECT 4 AS d'];
  show(await Promise.all(names.map((sql) => connection.query(sql))));
  await connection.close();
}

async function prepared(driver) {
  const connection = await connect(driver);
  for (let round = 0; round < 3; round++) await statements((...parts) => connection.execute(...parts));
  const ids = Array.from({ length: 10 }, (_, id) => id);
  show(await Promise.all(ids.map((id) => connection.execute(`SELECT ? + id AS sum${id} FROM items WHERE id = ?`, [id, id + 1]))));
  await attempt(() => connection.execute('SELECT missing FROM items WHERE id = ?', [1]));
  await attempt(() => connection.execute('INSERT INTO items VALUES (?, ?)', [1, 'again']));
  // What the driver knows of a statement's columns changes under it.
  await connection.query('CREATE TABLE changing (id INT)');
  await connection.query('INSERT INTO changing VALUES (1)');
  for (const change of ["ADD name VARCHAR(20) DEFAULT 'x'", 'MODIFY id VARCHAR(9)', 'DROP name']) {
    await connection.query(`ALTER TABLE changing ${change}`);
    for (let round = 0; round < 3; round++) show(await connection.execute('SELECT * FROM changing'));
  }
  await connection.query('DROP TABLE changing');
  await connection.close();
}

async function types(driver) {
  const connection = await connect(driver);
  for (const way of ['query', 'execute']) {
    const run = (...parts) => connection[way](...parts);
    for (const column of await connection.columns('SELECT * FROM types', way)) show(column);
    const rows = await run('SELECT * FROM types ORDER BY id');
    for (const row of rows) {
      const names = Object.keys(row);
      show(row);
      const marks = names.map(() => '?').join(', ');
      const values = Object.values(row).map((value) => (isPlain(value) ? value : Array.isArray(value) ? value.join() : JSON.stringify(value)));
      await attempt(() => run(`INSERT INTO copies (${names.join(', ')}) VALUES (${marks})`, values));
    }
    show(await run('SELECT * FROM copies ORDER BY id'));
    await run('DELETE FROM copies');
    show(await run('SELECT * FROM shapes ORDER BY id'));
  }
  await connection.close();
}

function isPlain(value) {
  return value === null || typeof value !== 'object' || value instanceof Date || Buffer.isBuffer(value);
}

async function big(driver) {
  const connection = await connect(driver);
  for (const [id, way] of [[1, 'query'], [2, 'execute']]) {
    const letters = '☃ß'.repeat(300000);
    show(await connection[way]('INSERT INTO blobs VALUES (?, ?, ?)', [id, BIG, letters]));
    const [{ data, body }] = await connection[way]('SELECT data, body FROM blobs WHERE id = ?', [id]);
    show(data.equals(BIG), body === letters);
    const rows = await connection[way]('SELECT a.id * 100 + b.id AS n, a.name, REPEAT(b.name, 20) AS text FROM items a JOIN items b ORDER BY n');
    show(rows.length, rows.at(-1));
  }
  await connection.close();
}

async function compressed(driver) {
  const connection = await connect(driver, { compress: true });
  show(await connection.execute('INSERT INTO blobs VALUES (3, ?, NULL)', [BIG]));
  const [{ data }] = await connection.query('SELECT data FROM blobs WHERE id = 3');
  show(data.equals(BIG), await connection.query("SHOW SESSION STATUS LIKE 'Compression'").then((rows) => rows.length));
  await connection.close();
}

async function balances(connection) {
  show(await connection.query('SELECT * FROM accounts ORDER BY id'));
}

async function transactions(driver) {
  const connection = await connect(driver);
  await connection.beginTransaction();
  await connection.execute('UPDATE accounts SET balance = balance - ? WHERE id = 1', [10]);
  await balances(connection);
  await connection.query('SAVEPOINT here');
  await connection.query('UPDATE accounts SET balance = balance + 10 WHERE id = 2');
  await connection.query('ROLLBACK TO here');
  await balances(connection);
  await connection.commit();
  await connection.beginTransaction();
  show(await connection.execute('SELECT balance FROM accounts WHERE id = 1 FOR UPDATE'));
  await connection.query('DELETE FROM accounts');
  await connection.rollback();
  await balances(connection);
  await connection.close();
}

async function autocommit(driver) {
  const connection = await connect(driver);
  await connection.query('SET autocommit = 0');
  for (const end of ['rollback', 'commit']) {
    await balances(connection);
    show(await connection.query('UPDATE accounts SET balance = balance + 1 WHERE id = 2'));
    await connection[end]();
    await balances(connection);
  }
  await connection.query('UPDATE accounts SET balance = 0');
  await connection.close();
  const other = await connect(driver);
  await balances(other);
  await other.close();
}

async function errors(driver) {
  const connection = await connect(driver);
  for (const sql of [
    'SELECT * FROM missing',
    'SELECT FROM WHERE',
    "INSERT INTO items VALUES (1, 'again')",
    'INSERT INTO items VALUES (1000, NULL)',
    "UPDATE items SET name = REPEAT('x', 100) WHERE id = 1",
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'böse', MYSQL_ERRNO = 5000",
    'CALL missing()',
    'USE nowhere',
    'SELECT (SELECT id FROM items)',
    '',
  ]) {
    await attempt(() => connection.query(sql));
    await attempt(() => connection.execute(sql));
  }
  show(await connection.query("SELECT 'alive'"));
  await connection.close();
}

async function multi(driver) {
  const connection = await connect(driver);
  show(await connection.query("SELECT 1; INSERT INTO notes (body) VALUES ('multi'); SELECT 'zwei', NULL; DELETE FROM notes WHERE body = 'multi'"));
  await attempt(() => connection.query('SELECT 1; SELECT * FROM missing; SELECT 2'));
  show(await connection.query('CALL two_results(7)'));
  show(await connection.execute('CALL two_results(?)', [8]));
  show(await connection.query('CALL deposit(1, 5, @now); SELECT @now'));
  await balances(connection);
  await connection.close();
}

const STATE = 'SELECT @@time_zone, @@sql_mode, @@character_set_client, @@session.sort_buffer_size, @mine, DATABASE(), @@autocommit';

async function session(driver) {
  const connection = await connect(driver);
  for (const sql of [
    "SET time_zone = '+05:00', sort_buffer_size = 100000",
    "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
    "SET @mine = 'val☃e', @other = 2",
    'CREATE TEMPORARY TABLE scratch SELECT id FROM items WHERE id < 3',
    "PREPARE stmt FROM 'SELECT ? + 1'",
    'USE information_schema',
    STATE,
    'EXECUTE stmt USING @other',
    `SELECT COUNT(*) FROM ${LOGIN.database}.scratch`,
    `SELECT name FROM ${LOGIN.database}.items WHERE id = 3`,
  ]) {
    show(await connection.query(sql));
  }
  await connection.close();
}

async function pool(driver) {
  const connection = await connect(driver);
  for (const end of ['reset', 'changeUser']) {
    await connection.query("SET time_zone = '+03:00', @mine = 'left behind', autocommit = 0");
    await connection.query('CREATE TEMPORARY TABLE items (id INT)');
    await connection.query('UPDATE accounts SET balance = 0');
    const found = 'SELECT COUNT(*) AS found FROM items WHERE id > ?';
    show(await connection.execute(found, [10]));
    await connection[end]();
    await connection.ping();
    show(await connection.query(STATE));
    await attempt(() => connection.execute(found, [10]));
    await balances(connection);
  }
  await connection.close();
  await driver.pool({ ...LOGIN, ...TLS });
}

async function ownWrites(driver) {
  const connection = await connect(driver);
  let stale = 0;
  for (let number = 0; number < 30; number++) {
    await connection.execute('UPDATE accounts SET balance = ? WHERE id = 1', [number]);
    if (number % 10 === 0) await connection.ping();
    const [{ balance }] = await connection.query('SELECT balance FROM accounts WHERE id = 1');
    stale += balance !== number;
  }
  show('stale', stale);
  await connection.close();
}

// Forty reads, of which none needs the writer.
async function reads(driver) {
  const connection = await connect(driver, { port: READS_PORT });
  for (const way of ['query', 'execute']) {
    let total = 0;
    for (let id = 1; id <= 20; id++) {
      const [row] = await connection[way]('SELECT id, name FROM items WHERE id = ?', [id]);
      total += row.id;
    }
    show(total);
    console.log('reads', 20);
  }
  await connection.close();
}

// The stack of a minified driver is of no use.
process.on('unhandledRejection', (error) => {
  console.error(String(error), error.stack.split('\n').filter((line) => line.includes(__dirname)).join('\n'));
  process.exit(1);
});

module.exports = { run, show };
