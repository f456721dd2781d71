# The script of checks for drivers of Perl's DBI. It prints what the driver shows; through Weir it must print what it
# prints on a server.
use strict;
use warnings;
use utf8;
use DBI;
use Digest::SHA qw(sha1_hex);
use Encode qw(encode_utf8);

binmode STDOUT, ':encoding(UTF-8)';
my $unicode = "naïve ☃ 𝄞 '\"\\\0";
my $big = join('', map { chr } 0 .. 127) x (24 * 1024);

sub shown {
    my ($value) = @_;
    return 'NULL' unless defined $value;
    return '[' . join(', ', map { shown($_) } @$value) . ']' if ref $value eq 'ARRAY';
    my $bytes = utf8::is_utf8($value) ? encode_utf8($value) : $value;
    return length($bytes) . ' bytes ' . sha1_hex($bytes) if length $bytes > 80 || $bytes =~ /[^\n -~]/ && !utf8::is_utf8($value);
    return "'$value'";
}

sub show { print join(' ', map { shown($_) } @_), "\n" }

# run('MariaDB', {options}): the name of the driver, and the options of its data source.
sub run {
    my ($driver, $tls, $prepare, %attributes) = @_;
    my $connect = sub {
        my (%other) = (port => $ENV{DB_PORT}, password => $ENV{DB_PASSWORD}, AutoCommit => 1, @_);
        my $source = "DBI:$driver:host=$ENV{DB_HOST};port=$other{port};database=$ENV{DB_NAME}";
        $source .= ";$tls" if $ENV{DB_CA};
        return DBI->connect($source, $ENV{DB_USER}, $other{password},
            { RaiseError => 1, PrintError => 0, AutoCommit => $other{AutoCommit}, %attributes });
    };
    require "DBD/$driver.pm";
    print "version ", "DBD::$driver"->VERSION, "\n";
    my @checks = (
        login => \&login, statements => \&statements, types => \&types, big => \&big, transactions => \&transactions,
        errors => \&errors, multi => \&multi, session => \&session, pool => \&pool, reads => \&reads,
    );
    while (my ($name, $check) = splice @checks, 0, 2) {
        print "== $name\n";
        $check->($connect, $prepare);
    }
    print "== end\n";
}

sub attempt {
    my ($action) = @_;
    eval { show('no error', $action->()); 1 } or show('error', $DBI::err, $DBI::state, $DBI::errstr);
}

sub login {
    my ($connect) = @_;
    my $dbh = $connect->();
    show(@{ $dbh->selectrow_arrayref('SELECT DATABASE(), CURRENT_USER(), VERSION(), @@character_set_client, @@collation_connection, @@sql_mode') });
    $dbh->disconnect;
    attempt(sub { $connect->(password => 'wrong') });
}

# Text and prepared, over and over.
sub statements {
    my ($connect, $prepare) = @_;
    for my $mode (0, 1, 1) {
        my $dbh = $connect->();
        my @how = { $prepare => $mode };
        my $insert = $dbh->prepare('INSERT INTO notes (body) VALUES (?)', @how);
        show($insert->execute($_), $dbh->last_insert_id) for $unicode, undef, 'x';
        my $select = $dbh->prepare('SELECT id, body, ? AS given FROM notes WHERE body = ? ORDER BY id', @how);
        for my $body ($unicode, 'x') {
            $select->execute('g', $body);
            show($select->{NAME}, $select->{TYPE});
            show($select->fetchall_arrayref);
        }
        # What the driver knows of the statement's columns changes under it.
        my $any = $dbh->prepare('SELECT * FROM notes', @how);
        for my $change ('ADD more INT DEFAULT 5', 'DROP more') {
            $dbh->do("ALTER TABLE notes $change");
            for (1 .. 2) {
                attempt(sub { $any->execute; show($any->{NAME}, $any->fetchall_arrayref) });
            }
        }
        show($dbh->do('UPDATE notes SET body = ? WHERE body = ?', undef, 'changed', $unicode));
        show($dbh->do('DELETE FROM notes'));
        attempt(sub { $dbh->do(q{INSERT IGNORE INTO items VALUES (1, 'there')}) });
        show($dbh->selectall_arrayref('SHOW WARNINGS'));
        $dbh->disconnect;
    }
}

sub types {
    my ($connect, $prepare) = @_;
    for my $mode (0, 1) {
        my $dbh = $connect->();
        my $select = $dbh->prepare('SELECT * FROM types ORDER BY id', { $prepare => $mode });
        $select->execute;
        show($select->{$_}) for qw(NAME TYPE PRECISION SCALE NULLABLE);
        my $rows = $select->fetchall_arrayref;
        my $insert = $dbh->prepare('INSERT INTO copies VALUES (' . join(', ', ('?') x @{ $rows->[0] }) . ')', { $prepare => $mode });
        for my $row (@$rows) {
            show($row);
            attempt(sub { $insert->execute(@$row) });
        }
        show($dbh->selectall_arrayref('SELECT * FROM copies ORDER BY id'));
        $dbh->do('DELETE FROM copies');
        show($dbh->selectall_arrayref('SELECT * FROM shapes ORDER BY id'));
        $dbh->disconnect;
    }
}

sub big {
    my ($connect, $prepare) = @_;
    my $dbh = $connect->();
    for my $mode (0, 1) {
        my $insert = $dbh->prepare('INSERT INTO blobs VALUES (?, ?, ?)', { $prepare => $mode });
        show($insert->execute($mode, $big, '☃ß' x 300_000));
        # A buffer must be told how long the values are.
        my $select = $dbh->prepare('SELECT data, body FROM blobs WHERE id = ?', { $prepare => $mode });
        $select->{LongReadLen} = 8 << 20;
        $select->execute($mode);
        show(@{ $select->fetchrow_arrayref });
        $select->finish;
    }
    my $rows = $dbh->selectall_arrayref('SELECT a.id * 100 + b.id AS n, a.name, REPEAT(b.name, 20) FROM items a JOIN items b ORDER BY n');
    show(scalar @$rows, $rows->[-1]);
    $dbh->disconnect;
}

sub balances { show($_[0]->selectall_arrayref('SELECT * FROM accounts ORDER BY id')) }

sub transactions {
    my ($connect) = @_;
    my $dbh = $connect->();
    for my $end ('rollback', 'commit') {
        $dbh->begin_work;
        $dbh->do('UPDATE accounts SET balance = balance - 10 WHERE id = 1');
        $dbh->do('SAVEPOINT here');
        $dbh->do('DELETE FROM accounts');
        $dbh->do('ROLLBACK TO here');
        balances($dbh);
        $dbh->$end;
        balances($dbh);
    }
    $dbh->disconnect;
    $dbh = $connect->(AutoCommit => 0);
    balances($dbh);
    $dbh->do('UPDATE accounts SET balance = balance + 1');
    $dbh->commit;
    $dbh->do('DELETE FROM accounts');
    $dbh->{AutoCommit} = 1;    # commits
    balances($dbh);
    $dbh->do('INSERT INTO accounts VALUES (1, 100), (2, 200)');
    $dbh->disconnect;
}

sub errors {
    my ($connect, $prepare) = @_;
    my $dbh = $connect->();
    for my $sql (
        'SELECT * FROM missing', 'SELECT FROM WHERE', q{INSERT INTO items VALUES (1, 'again')},
        'INSERT INTO items VALUES (1000, NULL)', 'CALL missing()', 'USE nowhere', 'SELECT (SELECT id FROM items)',
        q{SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'böse', MYSQL_ERRNO = 5000}, '',
    ) {
        attempt(sub { $dbh->do($sql) });
        attempt(sub { $dbh->prepare($sql, { $prepare => 1 })->execute });
    }
    show($dbh->selectrow_array('SELECT 7'));
    $dbh->disconnect;
}

sub multi {
    my ($connect) = @_;
    my $dbh = $connect->();
    my $call = $dbh->prepare('CALL two_results(7)');
    $call->execute;
    do {
        show($call->{NUM_OF_FIELDS}, $call->{NUM_OF_FIELDS} ? $call->fetchall_arrayref : ());
    } while ($call->more_results);
    $dbh->do('CALL deposit(1, 5, @now)');
    show($dbh->selectrow_array('SELECT @now'));
    balances($dbh);
    $dbh->disconnect;
}

my $state = 'SELECT @@time_zone, @@sql_mode, @@character_set_client, @@session.sort_buffer_size, @mine, DATABASE(), @@autocommit';

sub session {
    my ($connect) = @_;
    my $dbh = $connect->();
    $dbh->do($_) for (
        q{SET time_zone = '+05:00', sort_buffer_size = 100000},
        q{SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')},
        q{SET @mine = 'mine', @other = 2},
        'CREATE TEMPORARY TABLE scratch SELECT id FROM items WHERE id < 3',
        q{PREPARE stmt FROM 'SELECT ? + 1'},
        'USE information_schema',
    );
    show($dbh->selectrow_array($_)) for $state, 'EXECUTE stmt USING @other', "SELECT COUNT(*) FROM $ENV{DB_NAME}.scratch",
        "SELECT name FROM $ENV{DB_NAME}.items WHERE id = 3";
    $dbh->disconnect;
}

# Apache::DBI and DBIx::Connector keep connections, ping them and roll back; connect_cached is DBI's own pool.
sub pool {
    my ($connect) = @_;
    my $dbh = $connect->();
    for my $number (1 .. 30) {
        $dbh->do('UPDATE accounts SET balance = ? WHERE id = 1', undef, $number);
        show($dbh->ping, $dbh->selectrow_array('SELECT balance FROM accounts WHERE id = 1')) if $number % 10 == 0;
    }
    $dbh->begin_work;
    $dbh->do('UPDATE accounts SET balance = 0');
    $dbh->rollback;
    balances($dbh);
    show($dbh->ping);
    $dbh->disconnect;
    show($dbh->ping ? 'there' : 'gone');
}

# Forty reads, of which none needs the writer.
sub reads {
    my ($connect, $prepare) = @_;
    my $dbh = $connect->(port => $ENV{DB_READS_PORT});
    for my $mode (0, 1) {
        my $select = $dbh->prepare('SELECT name FROM items WHERE id = ?', { $prepare => $mode });
        show([map { $dbh->selectrow_array($select, undef, $_) } 1 .. 20]);
        print "reads 20\n";
    }
    $dbh->disconnect;
}

1;
