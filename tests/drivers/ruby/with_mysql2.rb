# Ruby's mysql2. It prints what the driver shows; through Weir it must print what it prints on a server.
require 'digest'
require 'mysql2'

UNICODE = "naïve ☃ 𝄞 '\"\\\0"
SCHEMA = ENV.fetch('DB_NAME')

def shown(value)
  case value
  when Array then "[#{value.map { |part| shown(part) }.join(', ')}]"
  when Hash then "{#{value.map { |key, part| "#{key}: #{shown(part)}" }.join(', ')}}"
  when String then value.bytesize > 80 ? "#{value.encoding} of #{value.length}, #{Digest::SHA1.hexdigest(value)}" : value.inspect
  when BigDecimal then value.to_s('F')
  when Time then value.utc.strftime('%F %T.%6N')
  else value.inspect
  end
end

def show(*values)
  puts values.map { |value| shown(value) }.join(' ')
end

def attempt
  show('no error', yield)
rescue Mysql2::Error => error
  show('error', error.class, error.errno, error.sql_state, error.message)
end

def connect(**other)
  tls = ENV['DB_CA'] ? { sslca: ENV['DB_CA'], ssl_mode: :verify_ca, sslverify: true } : {}
  Mysql2::Client.new(host: ENV['DB_HOST'], port: ENV['DB_PORT'].to_i, username: ENV['DB_USER'], password: ENV['DB_PASSWORD'],
                     database: SCHEMA, encoding: 'utf8mb4', database_timezone: :utc, application_timezone: :utc, **tls, **other)
end

def all(result)
  result&.to_a
end

def login
  client = connect
  show(all(client.query('SELECT DATABASE(), CURRENT_USER(), VERSION(), @@character_set_client, @@collation_connection, @@sql_mode')))
  show(client.server_info, client.ping)
  attempt { connect(password: 'wrong') }
  attempt { connect(database: 'nowhere') }
end

def statements
  client = connect
  insert = client.prepare('INSERT INTO notes (body) VALUES (?), (?)')
  select = client.prepare('SELECT id, body, ? AS given FROM notes WHERE body = ? ORDER BY id')
  3.times do
    insert.execute(UNICODE, nil)
    show(insert.affected_rows, insert.last_id)
    show(all(select.execute('x', UNICODE)))
    client.query("UPDATE notes SET body = '#{client.escape(UNICODE)}changed'")
    show(client.affected_rows, client.last_id, client.warning_count)
    show(all(client.query('SELECT * FROM notes ORDER BY id')), client.query_info)
    client.query('DELETE FROM notes')
    client.query("INSERT IGNORE INTO items VALUES (1, 'there')")
    show(client.warning_count, all(client.query('SHOW WARNINGS')))
  end
end

def types
  client = connect
  sql = 'SELECT * FROM types WHERE id < ? ORDER BY id'
  # The driver cannot make a time of day of a longer or negative time that comes from a prepared statement.
  [client.query(sql.sub('?', '5')), client.prepare(sql.sub('*', '*, NULL AS a_time, NULL AS a_time6')).execute(3)].each do |result|
    show(result.fields)
    rows = all(result)
    insert = client.prepare("INSERT INTO copies VALUES (#{(['?'] * result.fields.uniq.size).join(', ')})")
    rows.each do |row|
      show(row)
      attempt { insert.execute(*row.values) }
    end
    show(all(client.query('SELECT * FROM copies ORDER BY id')))
    client.query('DELETE FROM copies')
  end
  show(all(client.query('SELECT id, ST_AsText(at), ST_AsText(around) FROM shapes ORDER BY id')))
end

def big
  client = connect
  data, body = (0..255).to_a.pack('C*') * (12 * 1024), '☃ß' * 300_000
  client.prepare('INSERT INTO blobs VALUES (1, ?, ?)').execute(data, body)
  [client.query('SELECT * FROM blobs'), client.prepare('SELECT * FROM blobs').execute].each do |result|
    show(result.first['data'] == data, result.first['body'] == body)
  end
  rows = all(client.query('SELECT a.id * 100 + b.id AS n, a.name, REPEAT(b.name, 20) FROM items a JOIN items b ORDER BY n'))
  show(rows.size, rows.last)
end

def balances(client)
  show(all(client.query('SELECT * FROM accounts ORDER BY id')))
end

def transactions
  client = connect
  %w[ROLLBACK COMMIT].each do |ending|
    client.query('BEGIN')
    client.query('UPDATE accounts SET balance = balance - 10 WHERE id = 1')
    client.query('SAVEPOINT here')
    client.query('DELETE FROM accounts')
    client.query('ROLLBACK TO here')
    balances(client)
    client.query(ending)
    balances(client)
  end
  client.query('SET autocommit = 0')
  client.query('UPDATE accounts SET balance = 0')
  client.close
  balances(connect)
end

def errors
  client = connect
  [
    'SELECT * FROM missing', 'SELECT FROM WHERE', "INSERT INTO items VALUES (1, 'again')", 'INSERT INTO items VALUES (1000, NULL)',
    'CALL missing()', 'USE nowhere', 'SELECT (SELECT id FROM items)',
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'böse', MYSQL_ERRNO = 5000", ''
  ].each do |sql|
    attempt { all(client.query(sql)) }
    attempt { all(client.prepare(sql).execute) }
  end
  show(all(client.query("SELECT 'alive'")))
end

def multi
  client = connect(flags: Mysql2::Client::MULTI_STATEMENTS)
  ["SELECT 1; INSERT INTO notes (body) VALUES ('multi'); SELECT 'zwei', NULL; DELETE FROM notes", 'CALL two_results(7)',
   'CALL deposit(1, 5, @now); SELECT @now'].each do |sql|
    result = client.query(sql)
    show(client.affected_rows, all(result))
    show(all(client.store_result), client.affected_rows) while client.next_result
  end
  client.set_server_option(Mysql2::Client::OPTION_MULTI_STATEMENTS_OFF)
  attempt { client.query('SELECT 1; SELECT 2') }
  balances(client)
end

STATE = 'SELECT @@time_zone, @@sql_mode, @@character_set_client, @@session.sort_buffer_size, @mine, DATABASE(), @@autocommit'

def session
  client = connect
  [
    "SET time_zone = '+05:00', sort_buffer_size = 100000", "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
    "SET @mine = 'val☃e', @other = 2", 'CREATE TEMPORARY TABLE scratch SELECT id FROM items WHERE id < 3',
    "PREPARE stmt FROM 'SELECT ? + 1'", 'USE information_schema', STATE, 'EXECUTE stmt USING @other',
    "SELECT COUNT(*) FROM #{SCHEMA}.scratch", "SELECT name FROM #{SCHEMA}.items WHERE id = 3"
  ].each { |sql| show(all(client.query(sql))) }
end

# What ActiveRecord does with a connection that comes back: it rolls back, pings, and chooses the schema.
def pool
  client = connect
  client.query('BEGIN')
  client.query('UPDATE accounts SET balance = 0')
  client.query('ROLLBACK')
  client.select_db(SCHEMA)
  show(client.ping, all(client.query(STATE)))
  stale = (0...30).count do |number|
    client.query("UPDATE accounts SET balance = #{number} WHERE id = 1")
    client.query('SELECT balance FROM accounts WHERE id = 1').first['balance'] != number
  end
  show('stale', stale)
  # Several clients wait at once.
  clients = Array.new(3) { connect }
  clients.each_with_index { |each, id| each.query("SELECT #{id} + id AS sum FROM items WHERE id = 50", async: true) }
  show(clients.map { |each| all(each.async_result) })
end

# Forty reads, of which none needs the writer.
def reads
  client = connect(port: ENV['DB_READS_PORT'].to_i)
  select = client.prepare('SELECT name FROM items WHERE id = ?')
  (1..20).each { |id| show(all(client.query("SELECT name FROM items WHERE id = #{id}")), all(select.execute(id))) }
  puts 'reads 40'
end

puts "version #{Mysql2::VERSION}"
%i[login statements types big transactions errors multi session pool reads].each do |check|
  puts "== #{check}"
  send(check)
end
puts '== end'
