'use strict';

const fs = require('node:fs');

const mariadb = require('mariadb');
const { run, show } = require('./script.js');

const options = { timezone: 'Z', checkDuplicate: false, allowPublicKeyRetrieval: true };

run({
  version: JSON.parse(fs.readFileSync(`${process.env.NODE_PATH}/mariadb/package.json`)).version,

  async connect(login) {
    const connection = await mariadb.createConnection({ ...options, ...login });
    return {
      query: (...parts) => connection.query(...parts),
      execute: (...parts) => connection.execute(...parts),
      async columns(sql, way) {
        const rows = await connection[way](sql);
        return rows.meta.map((column) => [column.name(), column.orgTable(), column.schema(), column.type, column.flags, column.columnLength, column.scale, column.collation.name, column.dataTypeName]);
      },
      beginTransaction: () => connection.beginTransaction(),
      commit: () => connection.commit(),
      rollback: () => connection.rollback(),
      ping: () => connection.ping(),
      reset: () => connection.reset(),
      // The driver refuses it on MySQL, and on MariaDB keeps prepared statements that the server has forgotten.
      changeUser: () => (connection.info.isMariaDB() ? connection.changeUser(login) : connection.reset()),
      close: () => connection.end(),
    };
  },

  async pool(login) {
    const pool = mariadb.createPool({ ...options, ...login, connectionLimit: 2, minDelayValidation: 0, resetAfterUse: true });
    const sums = Array.from({ length: 20 }, (_, id) => pool.execute('SELECT ? + id AS sum FROM items WHERE id = ?', [id, id + 1]));
    show((await Promise.all(sums)).map(([{ sum }]) => sum));
    await pool.batch('INSERT INTO notes (body) VALUES (?)', [['a'], [null], ['☃']]);
    show(await pool.query('SELECT * FROM notes ORDER BY id'));
    const connection = await pool.getConnection();
    await connection.query('SET @mine = 1, autocommit = 0');
    await connection.query('SELECT * FROM accounts FOR UPDATE');
    await connection.release();
    show(await pool.query('SELECT @mine, @@autocommit'));
    await pool.end();
  },
});
