<?php
// PHP's PDO, with mysqlnd.
require __DIR__ . '/script.php';

class Driver
{
    const VERSION = PHP_VERSION;
    const ERROR = PDOException::class;
    public PDO $pdo;

    function __construct(int $port, string $password, bool $persistent = false)
    {
        $options = [PDO::ATTR_PERSISTENT => $persistent] + (CA ? [PDO::MYSQL_ATTR_SSL_CA => CA] : []);
        $this->pdo = new PDO('mysql:charset=utf8mb4;host=' . HOST . ";port=$port;dbname=" . SCHEMA, USER, $password, $options);
    }

    private function run(string $sql, array $values, bool $emulated): mixed
    {
        $this->pdo->setAttribute(PDO::ATTR_EMULATE_PREPARES, $emulated);
        $statement = $this->pdo->prepare($sql);
        $statement->execute($values);
        return $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_ASSOC) : [$statement->rowCount(), $this->pdo->lastInsertId()];
    }

    function query(string $sql): mixed { return $this->run($sql, [], true); }
    function prepared(string $sql, array $values): mixed { return $this->run($sql, $values, false); }

    function columns(string $sql): array
    {
        $statement = $this->pdo->query($sql);
        return array_map(fn($place) => $statement->getColumnMeta($place), range(0, $statement->columnCount() - 1));
    }

    function multi(string $sql): void
    {
        $this->pdo->setAttribute(PDO::ATTR_EMULATE_PREPARES, true);
        $statement = $this->pdo->query($sql);
        do {
            show($statement->rowCount(), $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : null);
        } while ($statement->nextRowset());
    }

    function begin(): void { $this->pdo->beginTransaction(); }
    function commit(): void { $this->pdo->commit(); }
    function rollback(): void { $this->pdo->rollBack(); }
    function autocommit(bool $on): void { $this->pdo->setAttribute(PDO::ATTR_AUTOCOMMIT, $on); }

    // A persistent connection keeps what the last request left, but for the transaction; it is pinged.
    function reused(): Driver
    {
        $one = new Driver(PORT, PASSWORD, true);
        $one->begin();
        $one->query('UPDATE accounts SET balance = 0');
        unset($one);
        return new Driver(PORT, PASSWORD, true);
    }

    static function code(PDOException $error): array { return [$error->errorInfo ?: $error->getMessage()]; }
}

run();
