//! `MARIADB_CLIENT_CACHE_METADATA`: definitions of columns are left out of the reply to an execute where the client has
//! them, from whatever connection the rows come.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::collections::HashMap;

use bed::{
    Bed, basics, is_tested,
    raw::{Answer, Card, MODERN, Raw},
};
use weir::{
    protocol::{Capabilities, ResultHead},
    sandbox::{Cluster, Flavor},
};

const CACHING: Capabilities = MODERN.with(Capabilities::CACHE_METADATA).with(Capabilities::STMT_BULK_OPERATIONS);

/// A step of a client. Statements are numbered as they were prepared, from 0.
#[derive(Debug, Clone)]
enum Step {
    Text(&'static str),
    Prepare(String),
    Execute(usize, &'static [u8]),
    /// The statement that was prepared last.
    ExecuteLast(&'static [u8]),
    OpenCursor(usize),
    Fetch(usize),
    ResetStatement(usize),
    Bulk(usize, &'static [u8]),
}
use Step::{Bulk, Execute, ExecuteLast, Fetch, OpenCursor, ResetStatement, Text};

type Reply = Vec<Vec<u8>>;

/// No parameters.
const NONE: &[u8] = b"";
const INT: &[u8] = b"\0\x01\x03\0\x05\0\0\0";
const TEXT: &[u8] = b"\0\x01\xFE\0\x03abc";
const ROWS: &[u8] = b"\xFE\0\0\x01a\0\x01b";

const TABLES: [&str; 7] = [
    "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))",
    "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (5, 'e')",
    "CREATE TABLE made (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20))",
    "CREATE VIEW v AS SELECT id FROM t",
    "CREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT 1 AS a; END",
    "CREATE PROCEDURE tells(OUT o INT) SET o = 7",
    "CREATE PROCEDURE both_of(OUT o INT) BEGIN SET o = 7; SELECT 'x'; END",
];

fn prepare(sql: &str) -> Step {
    Step::Prepare(sql.to_owned())
}

/// A statement that is prepared and executed three times.
fn thrice(sql: &str) -> Vec<Step> {
    vec![prepare(sql), Execute(0, NONE), Execute(0, NONE), Execute(0, NONE)]
}

/// So many columns, with names of so many characters.
fn wide(columns: usize, name: usize) -> String {
    let column = |number| format!("{number} AS c{number:0name$}");
    format!("SELECT {}", (0..columns).map(column).collect::<Vec<_>>().join(", "))
}

/// What servers answer the same each time.
fn scenarios() -> Vec<Vec<Step>> {
    let more: [&[Step]; 18] = [
        &[Text("SELECT id, name FROM t"), Text("SELECT 1; SELECT 2, 3"), Text("CALL two()"), Text("SHOW WARNINGS")],
        &[
            Text("PREPARE x FROM 'SELECT 1'"),
            Text("EXECUTE x"),
            Text("EXECUTE x"),
            Text("EXECUTE IMMEDIATE 'SELECT 1'"),
        ],
        &[prepare("SELECT ?"), Execute(0, INT), Execute(0, INT), Execute(0, TEXT), Execute(0, TEXT), Execute(0, INT)],
        &[prepare("SELECT id FROM t WHERE id = ?"), Execute(0, INT), Execute(0, TEXT), Execute(0, INT)],
        &[
            prepare("SELECT id FROM t UNION SELECT ?"),
            Execute(0, INT),
            Execute(0, INT),
            Execute(0, TEXT),
            Execute(0, INT),
        ],
        &[
            prepare("SELECT * FROM t"),
            Execute(0, NONE),
            Text("ALTER TABLE t ADD c INT"),
            Execute(0, NONE),
            Execute(0, NONE),
            Text("ALTER TABLE t DROP c"),
            Execute(0, NONE),
            Execute(0, NONE),
        ],
        &[
            prepare("SELECT * FROM t"),
            Text("ALTER TABLE t MODIFY name VARCHAR(77)"),
            Execute(0, NONE),
            Execute(0, NONE),
            Text("ALTER TABLE t MODIFY name VARCHAR(20)"),
        ],
        &[
            prepare("SELECT * FROM v"),
            Text("CREATE OR REPLACE VIEW v AS SELECT name FROM t"),
            Execute(0, NONE),
            Execute(0, NONE),
            Text("CREATE OR REPLACE VIEW v AS SELECT id FROM t"),
        ],
        &[
            Text("CREATE TEMPORARY TABLE tt (a INT)"),
            prepare("SELECT * FROM tt"),
            Execute(0, NONE),
            Text("DROP TEMPORARY TABLE tt"),
            Text("CREATE TEMPORARY TABLE tt (a VARCHAR(9), b INT)"),
            Execute(0, NONE),
            Execute(0, NONE),
            Text("DROP TEMPORARY TABLE tt"),
        ],
        &[
            Text("SET @a = 1"),
            prepare("SELECT @a"),
            Execute(0, NONE),
            Text("SET @a = 'abc'"),
            Execute(0, NONE),
            Execute(0, NONE),
        ],
        &[prepare("CALL tells(?)"), Execute(0, INT), Execute(0, INT)],
        &[prepare("CALL both_of(?)"), Execute(0, INT), Execute(0, INT)],
        &[
            prepare("SELECT id, name FROM t"),
            OpenCursor(0),
            Fetch(0),
            OpenCursor(0),
            Execute(0, NONE),
            OpenCursor(0),
            ResetStatement(0),
            OpenCursor(0),
            Fetch(0),
        ],
        &[
            prepare("SELECT id FROM t"),
            prepare("SELECT id FROM t"),
            Execute(0, NONE),
            Execute(1, NONE),
            Execute(0, NONE),
        ],
        &[prepare("SELECT id FROM t WHERE id = ?"), ExecuteLast(INT), ExecuteLast(INT), Execute(0, INT)],
        &[
            prepare("SELECT id, name FROM t"),
            Execute(0, NONE),
            Text("SET NAMES latin1"),
            Execute(0, NONE),
            Execute(0, NONE),
            Text("SET NAMES utf8mb4"),
            Execute(0, NONE),
        ],
        &[
            prepare("INSERT INTO made (name) VALUES (?) RETURNING name"),
            Bulk(0, ROWS),
            Bulk(0, ROWS),
            Execute(0, TEXT),
            Bulk(0, ROWS),
            prepare("DELETE FROM made RETURNING name"),
            Execute(1, NONE),
            Execute(1, NONE),
        ],
        &[prepare("SET @a = ?"), Execute(0, INT), ResetStatement(0), Execute(0, INT)],
    ];
    let thrice = [
        "SELECT id, name FROM t",
        "SELECT id + 1, CONCAT(name, 'x'), VERSION() FROM t",
        "SELECT id, (SELECT u.id FROM t u WHERE u.id >= t.id) FROM t",
        "SELECT id FROM t WHERE id > 100",
        "SELECT f()",
        "CALL two()",
        "BEGIN NOT ATOMIC SELECT 1; SELECT 1; END",
        "SHOW TABLES",
        "SHOW WARNINGS",
        "DESCRIBE t",
        "EXPLAIN SELECT * FROM t",
        "ANALYZE TABLE t",
        "DO 1",
        &wide(300, 4),
    ]
    .map(thrice);
    thrice.into_iter().chain(more.map(<[Step]>::to_vec)).collect()
}

/// A client, and what it knows about the columns of its statements.
struct Client {
    raw: Raw,
    capabilities: Capabilities,
    statements: Vec<u32>,
    columns: HashMap<u32, Vec<Vec<u8>>>,
}

impl Client {
    async fn connect(port: u16, capabilities: Capabilities) -> Self {
        let raw = Raw::connect(port, &Card::app(capabilities)).await.unwrap();
        Self { raw, capabilities, statements: Vec::new(), columns: HashMap::new() }
    }

    /// Takes a step. Returns the reply without what differs from one server to the next: ids, and whether the server has
    /// prepared the statement anew.
    async fn take(&mut self, step: &Step) -> Reply {
        let id = |number: &usize| self.statements[*number].to_le_bytes();
        let execute = |id: [u8; 4], flags: u8, parameters: &[u8]| {
            [&[0x17][..], &id, &[flags], b"\x01\0\0\0", parameters].concat()
        };
        let command = |code: u8, number: &usize, rest: &[u8]| [&[code][..], &id(number), rest].concat();
        let (payload, answer) = match step {
            Text(sql) => ([b"\x03", sql.as_bytes()].concat(), Answer::Results),
            Step::Prepare(sql) => ([b"\x16", sql.as_bytes()].concat(), Answer::Prepare),
            Execute(number, parameters) => (execute(id(number), 0, parameters), Answer::Results),
            ExecuteLast(parameters) => (execute([0xFF; 4], 0, parameters), Answer::Results),
            OpenCursor(number) => (execute(id(number), 1, NONE), Answer::Results),
            Fetch(number) => (command(0x1C, number, b"\x64\0\0\0"), Answer::Rows),
            ResetStatement(number) => (command(0x1A, number, b""), Answer::One),
            Bulk(number, rows) => (command(0xFA, number, &[b"\x80\0", *rows].concat()), Answer::Results),
        };
        let mut reply = self.raw.ask(&payload, answer).await;
        for packet in reply.iter_mut().filter(|packet| packet[0] == 0xFE && packet.len() >= 5) {
            packet[4] &= !4;
        }
        if matches!(step, Step::Prepare(_)) && reply[0][0] == 0 {
            self.statements.push(*self.raw.statements.last().unwrap());
            reply[0][1..5].fill(0);
        }
        reply
    }

    async fn play(&mut self, steps: &[Step]) -> Vec<Reply> {
        let mut replies = Vec::new();
        for step in steps {
            replies.push(self.take(step).await);
        }
        for id in self.statements.drain(..) {
            self.raw.ask(&[&[0x19][..], &id.to_le_bytes()].concat(), Answer::Nothing).await;
        }
        replies
    }

    /// The reply to an execute as this client understands it, with the columns, and whether it got their definitions.
    fn understand(&mut self, number: usize, mut reply: Reply) -> (bool, Reply) {
        let head = ResultHead::parse(&reply[0], self.capabilities).unwrap();
        let columns = self.columns.entry(self.statements[number]).or_default();
        match head.defined {
            true => *columns = reply[1..=usize::from(head.columns)].to_vec(),
            false => _ = reply.splice(1..1, columns.iter().cloned()),
        }
        reply[0].truncate(1);
        (head.defined, reply)
    }
}

/// A writer and a replica that share the reads, with so few connections that clients must share them.
async fn start(extra: &str) -> Option<Bed> {
    if !is_tested(Flavor::MariaDb) {
        return None;
    }
    let cluster = Cluster::start(Flavor::MariaDb, 1).await.unwrap();
    let mut raw = Raw::connect(cluster.writer.port(), &Card::app(CACHING)).await.unwrap();
    for sql in TABLES {
        raw.run(sql).await;
    }
    cluster.writer.exec("CREATE FUNCTION app.f() RETURNS INT DETERMINISTIC RETURN 4").await.unwrap();
    cluster.wait_caught_up().await.unwrap();
    let config = basics(&cluster)
        .replace("role = \"writer\"", "role = \"writer\"\nweight = 100")
        .replace("role =", "max_connections = 2\nrole =")
        + extra;
    let bed = Bed::with_config(cluster, &config).await;
    bed.until_serves("db1", true).await;
    Some(bed)
}

#[tokio::test]
async fn definitions_come_when_a_server_sends_them() {
    let Some(bed) = start("").await else { return };
    compare(bed, &[CACHING, CACHING.without(Capabilities::DEPRECATE_EOF)]).await;
    // Compressed packets have numbers of their own.
    let Some(bed) = start("[compression]\nserver = \"zlib\"\n").await else { return };
    compare(bed, &[CACHING]).await;
}

async fn compare(bed: Bed, kinds: &[Capabilities]) {
    for capabilities in kinds.iter().copied() {
        let mut direct = Client::connect(bed.cluster.writer.port(), capabilities).await;
        let mut through = Client::connect(bed.port(), capabilities).await;
        for steps in scenarios() {
            let expected = direct.play(&steps).await;
            bed.cluster.wait_caught_up().await.unwrap();
            let found = through.play(&steps).await;
            for ((step, expected), found) in steps.iter().zip(expected).zip(found) {
                let [found, expected] = [found, expected].map(|reply| shown(&reply));
                assert_eq!(found, expected, "{step:?} of {steps:?}");
            }
        }
    }
    assert!(bed.served("db0").0 > 0 && bed.served("db1").0 > 0, "the reads were shared");
    bed.stop().await;
}

fn shown(reply: &Reply) -> Vec<String> {
    reply.iter().map(|packet| packet.escape_ascii().to_string()).collect()
}

#[tokio::test]
async fn definitions_are_told_once_where_only_a_server_has_reason_to_repeat_them() {
    let Some(bed) = start("").await else { return };
    // Servers repeat them after a preparation of their own, and with another character set of the client.
    let causes =
        ["ALTER TABLE t FORCE", "CREATE OR REPLACE VIEW v AS SELECT id FROM t", "SET character_set_client = latin1"];
    for cause in causes {
        let mut clients = Vec::new();
        for port in [bed.cluster.writer.port(), bed.port()] {
            let (mut client, mut told) = (Client::connect(port, CACHING).await, Vec::new());
            let definitions = client.take(&prepare("SELECT v.id, t.* FROM v, t")).await;
            client.columns.insert(client.statements[0], definitions[1..].to_vec());
            for step in [Execute(0, NONE), Text(cause), Execute(0, NONE), Execute(0, NONE)] {
                let reply = client.take(&step).await;
                if let Execute(number, _) = step {
                    told.push(client.understand(number, reply));
                }
            }
            clients.push(told.into_iter().unzip::<_, _, Vec<bool>, Vec<Reply>>());
        }
        assert_eq!(clients[0].0, [false, true, false], "{cause}: the server");
        assert_eq!(clients[1].0, [false, false, false], "{cause}: Weir");
        assert_eq!(clients[1].1, clients[0].1, "{cause}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn definitions_that_changed_are_told_even_if_a_server_would_not() {
    let Some(bed) = start("").await else { return };
    let mut client = Client::connect(bed.port(), CACHING).await;
    client.take(&prepare("SELECT name FROM t")).await;
    let mut told = Vec::new();
    for step in [Execute(0, NONE), Text("SET character_set_results = latin1"), Execute(0, NONE), Execute(0, NONE)] {
        let reply = client.take(&step).await;
        told.push(reply[0].clone());
    }
    assert_eq!(told.iter().map(|head| *head.last().unwrap()).collect::<Vec<_>>()[2..], [1, 0]);
    // More than Weir keeps back, and not too many for the next.
    for (name, expected) in [(200, 1), (20, 0)] {
        client.take(&prepare(&wide(400, name))).await;
        let number = client.statements.len() - 1;
        for _ in 0..2 {
            let reply = client.take(&Execute(number, NONE)).await;
            assert_eq!(reply[0], [0xFC, 0x90, 0x01, expected], "names of {name} characters");
            assert_eq!(reply.len(), 1 + usize::from(expected) * 400 + 2, "names of {name} characters");
        }
    }
    bed.stop().await;
}

#[tokio::test]
async fn who_shares_connections_has_the_definitions_of_its_own_rows() {
    let Some(bed) = start("").await else { return };
    // All share server connections, whether they keep definitions or not.
    let kinds = [CACHING, CACHING, CACHING.without(Capabilities::CACHE_METADATA)];
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for capabilities in kinds {
        for (port, clients) in [(bed.cluster.writer.port(), &mut direct), (bed.port(), &mut through)] {
            let mut client = Client::connect(port, capabilities).await;
            client.take(&prepare("SELECT id, ? FROM t WHERE id = 1")).await;
            clients.push(client);
        }
    }
    let turns =
        [(0, INT), (1, TEXT), (0, INT), (2, TEXT), (1, TEXT), (0, TEXT), (1, INT), (2, INT), (0, TEXT), (1, INT)];
    for (turn, (who, parameters)) in turns.into_iter().chain(turns).enumerate() {
        let step = Execute(0, parameters);
        let expected = direct[who].take(&step).await;
        assert_eq!(shown(&through[who].take(&step).await), shown(&expected), "turn {turn}: {who} {parameters:x?}");
    }
    bed.stop().await;
}
