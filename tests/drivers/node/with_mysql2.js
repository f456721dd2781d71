'use strict';

const mysql = require('mysql2/promise');
const { run, show } = require('./script.js');

const options = { supportBigNumbers: true, timezone: 'Z' };

run({
  version: require('mysql2/package.json').version,

  async connect(login) {
    const connection = await mysql.createConnection({ ...options, ...login });
    const first = (work) => work.then(([found]) => found);
    return {
      query: (...parts) => first(connection.query(...parts)),
      execute: (...parts) => first(connection.execute(...parts)),
      async columns(sql, way) {
        const [, columns] = await connection[way](sql);
        return columns.map((column) => [column.name, column.orgTable, column.schema, column.columnType, column.flags, column.columnLength, column.decimals, column.characterSet]);
      },
      beginTransaction: () => connection.beginTransaction(),
      commit: () => connection.commit(),
      rollback: () => connection.rollback(),
      ping: () => connection.ping(),
      reset: () => connection.reset(),
      changeUser: () => connection.changeUser(login),
      close: () => connection.end(),
    };
  },

  async pool(login) {
    const pool = mysql.createPool({ ...options, ...login, connectionLimit: 2, idleTimeout: 1000 });
    const sums = Array.from({ length: 20 }, (_, id) => pool.execute('SELECT ? + id AS sum FROM items WHERE id = ?', [id, id + 1]));
    show((await Promise.all(sums)).map(([[{ sum }]]) => sum));
    const connection = await pool.getConnection();
    await connection.beginTransaction();
    await connection.query('SELECT * FROM accounts FOR UPDATE');
    await connection.rollback();
    connection.release();
    await pool.end();
  },
});
