// Go's go-sql-driver/mysql. It prints what the driver shows; through Weir it must print what it prints on a server.
package main

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

const unicode = "naïve ☃ 𝄞 '\"\\\x00"

var (
	schema = os.Getenv("DB_NAME")
	ctx    = context.Background()
)

func main() {
	fmt.Println("version", os.Args[1])
	if ca := os.Getenv("DB_CA"); ca != "" {
		roots := x509.NewCertPool()
		pem, err := os.ReadFile(ca)
		check(err)
		roots.AppendCertsFromPEM(pem)
		check(mysql.RegisterTLSConfig("own", &tls.Config{RootCAs: roots}))
	}
	for _, each := range []struct {
		name string
		run  func()
	}{
		{"login", login}, {"statements", statements}, {"types", types}, {"big", big}, {"transactions", transactions},
		{"errors", errors}, {"multi", multi}, {"session", session}, {"pool", pool}, {"reads", reads},
	} {
		fmt.Println("==", each.name)
		each.run()
	}
	fmt.Println("== end")
}

// open makes a pool. Without change it prepares on the server; its pings are those of database/sql.
func open(change func(*mysql.Config)) *sql.DB {
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", os.Getenv("DB_HOST")+":"+os.Getenv("DB_PORT")
	config.User, config.Passwd, config.DBName = os.Getenv("DB_USER"), os.Getenv("DB_PASSWORD"), schema
	config.ParseTime = true
	if os.Getenv("DB_CA") != "" {
		config.TLSConfig = "own"
	}
	if change != nil {
		change(config)
	}
	db, err := sql.Open("mysql", config.FormatDSN())
	check(err)
	db.SetMaxOpenConns(3)
	return db
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func attempt(err error) {
	if failed, ok := err.(*mysql.MySQLError); ok {
		fmt.Println("error", failed.Number, failed.Message)
		return
	}
	fmt.Println("error", err)
}

type runner interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

// all reads every row of every result.
func all(db runner, query string, args ...any) [][]any {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		attempt(err)
		return nil
	}
	defer rows.Close()
	var found [][]any
	for {
		columns, err := rows.Columns()
		check(err)
		for rows.Next() {
			row, places := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				places[i] = &row[i]
			}
			check(rows.Scan(places...))
			found = append(found, row)
		}
		if !rows.NextResultSet() {
			break
		}
	}
	if rows.Err() != nil {
		attempt(rows.Err())
	}
	return found
}

func show(rows [][]any) {
	for _, row := range rows {
		for _, value := range row {
			switch value := value.(type) {
			case []byte:
				fmt.Print(long(string(value)), " ")
			case string:
				fmt.Print(long(value), " ")
			case time.Time:
				fmt.Print(value.UTC().Format(time.RFC3339Nano), " ")
			default:
				fmt.Printf("%v ", value)
			}
		}
		fmt.Println()
	}
}

func long(value string) string {
	if len(value) > 80 {
		return fmt.Sprintf("%d bytes %x", len(value), sha1.Sum([]byte(value)))
	}
	return fmt.Sprintf("%q", value)
}

func exec(db runner, query string, args ...any) {
	result, err := db.ExecContext(ctx, query, args...)
	if err != nil {
		attempt(err)
		return
	}
	id, _ := result.LastInsertId()
	affected, _ := result.RowsAffected()
	fmt.Println(id, affected)
}

func login() {
	db := open(nil)
	defer db.Close()
	show(all(db, "SELECT DATABASE(), CURRENT_USER(), VERSION(), @@character_set_client, @@collation_connection, @@sql_mode"))
	attempt(open(func(config *mysql.Config) { config.Passwd = "wrong" }).Ping())
	attempt(open(func(config *mysql.Config) { config.DBName = "nowhere" }).Ping())
}

func statements() {
	for _, interpolate := range []bool{false, true} {
		db := open(func(config *mysql.Config) { config.InterpolateParams = interpolate })
		for round := 0; round < 3; round++ {
			exec(db, "INSERT INTO notes (body) VALUES (?), (?)", unicode, nil)
			show(all(db, "SELECT id, body, ? AS given FROM notes WHERE body = ? ORDER BY id", "x", unicode))
			show(all(db, "SELECT name FROM items WHERE id BETWEEN ? AND ? ORDER BY id", 5, 7))
			exec(db, "UPDATE notes SET body = 'changed'")
			show(all(db, "SELECT * FROM notes ORDER BY id"))
			exec(db, "DELETE FROM notes")
		}
		db.Close()
	}
}

func types() {
	db := open(nil)
	defer db.Close()
	rows, err := db.Query("SELECT * FROM types")
	check(err)
	columns, err := rows.ColumnTypes()
	check(err)
	for _, column := range columns {
		nullable, _ := column.Nullable()
		precision, scale, _ := column.DecimalSize()
		fmt.Println(column.Name(), column.DatabaseTypeName(), column.ScanType(), nullable, precision, scale)
	}
	rows.Close()
	marks := strings.Repeat(", ?", len(columns))[2:]
	for _, where := range []struct {
		text string
		args []any
	}{{"id > 0", nil}, {"id > ?", []any{0}}} {
		found := all(db, "SELECT * FROM types WHERE "+where.text+" ORDER BY id", where.args...)
		show(found)
		for _, row := range found {
			exec(db, "INSERT INTO copies VALUES ("+marks+")", row...)
		}
		show(all(db, "SELECT * FROM copies ORDER BY id"))
		exec(db, "DELETE FROM copies")
	}
	show(all(db, "SELECT * FROM shapes ORDER BY id"))
}

func big() {
	db := open(func(config *mysql.Config) { config.MaxAllowedPacket = 0 })
	defer db.Close()
	data := []byte(strings.Repeat("\x00\x01\xFE\xFF", 768<<10))
	exec(db, "INSERT INTO blobs VALUES (1, ?, ?)", data, strings.Repeat("☃ß", 300000))
	show(all(db, "SELECT * FROM blobs"))
	show(all(db, "SELECT * FROM blobs WHERE id = ?", 1))
	found := all(db, "SELECT a.id * 100 + b.id AS n, a.name, REPEAT(b.name, 20) FROM items a JOIN items b ORDER BY n")
	fmt.Println(len(found))
	show(found[len(found)-1:])
}

func balances(db runner) { show(all(db, "SELECT * FROM accounts ORDER BY id")) }

func transactions() {
	db := open(nil)
	defer db.Close()
	for _, commit := range []bool{false, true} {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		check(err)
		exec(tx, "UPDATE accounts SET balance = balance - ? WHERE id = 1", 10)
		exec(tx, "SAVEPOINT here")
		exec(tx, "DELETE FROM accounts")
		exec(tx, "ROLLBACK TO here")
		balances(tx)
		if commit {
			check(tx.Commit())
		} else {
			check(tx.Rollback())
		}
		balances(db)
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	check(err)
	balances(tx)
	exec(tx, "DELETE FROM accounts")
	check(tx.Rollback())
}

func errors() {
	db := open(nil)
	defer db.Close()
	for _, query := range []string{
		"SELECT * FROM missing", "SELECT FROM WHERE", "INSERT INTO items VALUES (1, 'again')", "INSERT INTO items VALUES (1000, NULL)",
		"CALL missing()", "SELECT (SELECT id FROM items)", "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'böse', MYSQL_ERRNO = 5000", "",
	} {
		exec(db, query)
		if statement, err := db.Prepare(query); err != nil {
			attempt(err)
		} else {
			_, err = statement.Exec()
			attempt(err)
			statement.Close()
		}
	}
	show(all(db, "SELECT 'alive'"))
}

func multi() {
	db := open(func(config *mysql.Config) { config.MultiStatements = true })
	defer db.Close()
	show(all(db, "SELECT 1; SELECT 'zwei', NULL; SELECT 3"))
	exec(db, "INSERT INTO notes (body) VALUES ('multi'); DELETE FROM notes")
	show(all(db, "CALL two_results(7)"))
	show(all(db, "CALL two_results(?)", 8))
	balances(db)
}

func session() {
	db := open(nil)
	defer db.Close()
	conn, err := db.Conn(ctx)
	check(err)
	defer conn.Close()
	for _, query := range []string{
		"SET time_zone = '+05:00', sort_buffer_size = 100000", "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
		"SET @mine = 'val☃e', @other = 2", "CREATE TEMPORARY TABLE scratch SELECT id FROM items WHERE id < 3",
		"PREPARE stmt FROM 'SELECT ? + 1'", "USE information_schema",
	} {
		exec(conn, query)
	}
	for _, query := range []string{
		"SELECT @@time_zone, @@sql_mode, @@character_set_client, @@session.sort_buffer_size, @mine, DATABASE(), @@autocommit",
		"EXECUTE stmt USING @other", "SELECT COUNT(*) FROM " + schema + ".scratch", "SELECT name FROM " + schema + ".items WHERE id = 3",
	} {
		show(all(conn, query))
	}
}

// pool runs statements of many goroutines over three connections; the driver looks at each before it uses it again.
func pool() {
	db := open(nil)
	defer db.Close()
	statement, err := db.Prepare("SELECT ? + id FROM items WHERE id = ?")
	check(err)
	sums, group := make([]int, 40), sync.WaitGroup{}
	for n := range sums {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			check(statement.QueryRow(n, n+1).Scan(&sums[n]))
		}(n)
	}
	group.Wait()
	fmt.Println(sums)
	stale := 0
	for n := 0; n < 30; n++ {
		var seen int
		_, err := db.Exec("UPDATE accounts SET balance = ? WHERE id = 1", n)
		check(err)
		check(db.QueryRow("SELECT balance FROM accounts WHERE id = 1").Scan(&seen))
		if seen != n {
			stale++
		}
	}
	fmt.Println("stale", stale)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = db.ExecContext(short, "DO SLEEP(60)")
	attempt(err)
	check(db.Ping())
}

// reads makes forty reads, of which none needs the writer.
func reads() {
	db := open(func(config *mysql.Config) { config.Addr = os.Getenv("DB_HOST") + ":" + os.Getenv("DB_READS_PORT") })
	defer db.Close()
	for id := 1; id <= 20; id++ {
		show(all(db, fmt.Sprintf("SELECT name FROM items WHERE id = %d", id)))
		show(all(db, "SELECT name FROM items WHERE id = ?", id))
	}
	fmt.Println("reads 40")
}
