//! Two sessions, each with a cursor on the last connection to a server, which want each other's: nobody waits for ever, and
//! nobody loses what he has.

use tokio::time::timeout;

use super::{
    bed::{
        Bed, PATIENCE, flavors,
        raw::{code, error},
        until,
    },
    client::Client,
    places::start,
};

/// What one of the two does first, of which the last is opened with a cursor, and then wants.
struct Side {
    does: &'static [&'static str],
    opens: &'static str,
    wants: &'static str,
    /// The error that it gets; None: it goes on.
    gets: Option<u16>,
}

const ROWS: &str = "SELECT id FROM t ORDER BY id";
const LOCKED: &str = "SELECT id FROM t ORDER BY id FOR UPDATE";
const WRITE: &str = "INSERT INTO other VALUES (1)";
const EXHAUSTED: Option<u16> = Some(2003);

/// One on the replica, and one on the writer.
const PAIRS: &[[Side; 2]] = &[
    [
        Side { does: &[], opens: ROWS, wants: WRITE, gets: EXHAUSTED },
        Side { does: &[], opens: LOCKED, wants: "SELECT COUNT(*) FROM t", gets: None },
    ],
    [
        Side { does: &[], opens: ROWS, wants: "BEGIN", gets: EXHAUSTED },
        Side { does: &[], opens: LOCKED, wants: "/* weir:server=db1 */ SELECT COUNT(*) FROM t", gets: EXHAUSTED },
    ],
    [
        Side { does: &["START TRANSACTION READ ONLY"], opens: ROWS, wants: "SELECT GET_LOCK('l', 0)", gets: EXHAUSTED },
        Side { does: &["BEGIN"], opens: LOCKED, wants: "SELECT COUNT(*) FROM t", gets: None },
    ],
    [
        Side {
            does: &["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET autocommit = 0"],
            opens: ROWS,
            wants: WRITE,
            gets: EXHAUSTED,
        },
        Side {
            does: &["CREATE TEMPORARY TABLE mine (id INT)"],
            opens: LOCKED,
            wants: "SELECT COUNT(*) FROM t",
            gets: None,
        },
    ],
];

#[tokio::test]
async fn sessions_that_want_each_others_last_connection_go_on_or_fail() {
    for flavor in flavors() {
        let extra = "[pool]\nacquire_timeout = \"300ms\"\n[reads]\ntransactions = \"reads-before-write\"\n";
        let bed = start(flavor, 1, extra).await;
        bed.cluster.writer.exec("CREATE TABLE app.other (id INT)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        for [one, other] in PAIRS {
            let case = format!("{flavor}: {} against {}", one.wants, other.wants);
            timeout(PATIENCE, plays(&bed, one, other, &case)).await.unwrap_or_else(|_| panic!("{case}: it hangs"));
            let members = bed.weir.context.cluster.load().members.clone();
            let used = || members.iter().map(|member| member.server.pool.counts().1).sum::<u32>();
            until("all connections are given back", async || used() == 0).await;
        }
        bed.stop().await;
    }
}

async fn plays(bed: &Bed, one: &Side, other: &Side, case: &str) {
    let (mut first, mut second) = (Client::modern(bed.port()).await, Client::modern(bed.port()).await);
    let slots = [begin(&mut first, one, case).await, begin(&mut second, other, case).await];
    let (told, heard) = tokio::join!(first.raw.query(one.wants), second.raw.query(other.wants));
    for (side, reply) in [(one, told), (other, heard)] {
        let found = error(&reply).map(|error| error.code);
        assert_eq!(found, side.gets, "{case}: {}: {:?}", side.wants, error(&reply).map(|_| code(&reply)));
    }
    // Neither has lost its cursor.
    assert_eq!(first.numbers(slots[0], 2).await, [2, 3], "{case}");
    assert_eq!(second.numbers(slots[1], 2).await, [2, 3], "{case}");
    // With one out of the way, the other gets what it wanted.
    second.raw.run("ROLLBACK").await;
    second.close(slots[1]).await;
    drop(second);
    first.raw.run(one.wants).await;
    assert_eq!(first.numbers(slots[0], 2).await, [4, 5], "{case}");
    first.raw.run("ROLLBACK").await;
}

/// Returns the number of the statement whose cursor is open.
async fn begin(client: &mut Client, side: &Side, case: &str) -> usize {
    for sql in side.does {
        client.raw.run(sql).await;
    }
    let slot = client.prepare(side.opens).await;
    assert_eq!(error(&client.open(slot).await), None, "{case}: {}", side.opens);
    assert_eq!(client.numbers(slot, 1).await, [1], "{case}: {}", side.opens);
    client.ping().await;
    slot
}
