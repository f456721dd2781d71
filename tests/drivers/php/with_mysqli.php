<?php
// PHP's mysqli, with mysqlnd.
require __DIR__ . '/script.php';

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);

class Driver
{
    const VERSION = PHP_VERSION;
    const ERROR = mysqli_sql_exception::class;
    public mysqli $link;

    function __construct(int $port, string $password, string $host = HOST)
    {
        $this->link = mysqli_init();
        if (CA) $this->link->ssl_set(null, null, CA, null, null);
        $this->link->real_connect($host, USER, $password, SCHEMA, $port, null, CA ? MYSQLI_CLIENT_SSL : 0);
        $this->link->set_charset('utf8mb4');
    }

    function query(string $sql): mixed
    {
        $result = $this->link->query($sql);
        return $result === true ? [$this->link->affected_rows, $this->link->insert_id, $this->link->info, $this->link->warning_count] : $result->fetch_all(MYSQLI_ASSOC);
    }

    function prepared(string $sql, array $values): mixed
    {
        $statement = $this->link->prepare($sql);
        $statement->execute($values);
        $result = $statement->get_result();
        return $result ? $result->fetch_all(MYSQLI_ASSOC) : [$statement->affected_rows, $statement->insert_id];
    }

    function columns(string $sql): array
    {
        return array_map(fn($column) => (array)$column, $this->link->query($sql)->fetch_fields());
    }

    function multi(string $sql): void
    {
        $this->link->multi_query($sql);
        do {
            $result = $this->link->store_result();
            show($this->link->affected_rows, $result ? $result->fetch_all() : null);
        } while ($this->link->next_result());
    }

    function begin(): void { $this->link->begin_transaction(); }
    function commit(): void { $this->link->commit(); }
    function rollback(): void { $this->link->rollback(); }
    function autocommit(bool $on): void { $this->link->autocommit($on); }

    // A persistent connection ("p:") is cleaned with a change of user when it is used again.
    function reused(): Driver
    {
        $one = new Driver(PORT, PASSWORD, 'p:' . HOST);
        litter($one);
        $thread = $one->link->thread_id;
        $one->link->close();
        $two = new Driver(PORT, PASSWORD, 'p:' . HOST);
        show('the same connection', $two->link->thread_id === $thread);
        litter($two);
        $two->link->change_user(USER, PASSWORD, SCHEMA);
        return $two;
    }

    static function code(mysqli_sql_exception $error): array { return [$error->getCode(), $error->getSqlState(), $error->getMessage()]; }
}

run();
