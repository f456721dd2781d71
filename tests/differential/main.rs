//! A client cannot tell Weir from one server: random sessions are played against a single server and through Weir over
//! a writer and two replicas, many at a time over few connections, and every packet is compared.
//!
//! What is compared is everything that a client sees: columns with their metadata, rows, affected rows, insert ids,
//! warnings, status flags, changes of session state, error numbers, SQLSTATEs and texts. What may differ stands in one
//! list, `tolerated::TOLERATED`. A session that differs is made as short as it gets and printed.
//!
//! For long runs:
//! - `WEIR_DIFF_SESSIONS`: how many sessions per family; 120 by default.
//! - `WEIR_DIFF_SEED`: which sessions; always the same by default.
//! - `WEIR_DIFF_FIRST`: the number of the first session of the seed; 0 by default.
//! - `WEIR_DIFF_FAMILY`: `mariadb` or `mysql9`; both by default.
//! - `WEIR_DIFF_MOST`: after how many different sessions to stop; 1 by default.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking, and says why")]

#[path = "../bed/mod.rs"]
mod bed;

mod compare;
mod fixtures;
mod generate;
mod numbers;
mod play;
mod rig;
mod script;
mod shrink;
mod texts;
mod tolerated;

use std::str::FromStr;

use tokio::task::LocalSet;

use rig::{Plan, Rig};

fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn a_client_cannot_tell_weir_from_one_server() {
    let family = setting("WEIR_DIFF_FAMILY", String::new());
    let plan = Plan {
        seed: setting("WEIR_DIFF_SEED", 1),
        first: setting("WEIR_DIFF_FIRST", 0),
        sessions: setting("WEIR_DIFF_SESSIONS", 120),
        most: setting("WEIR_DIFF_MOST", 1),
    };
    for flavor in bed::flavors().into_iter().filter(|flavor| family.is_empty() || flavor.name() == family) {
        let rig = Rig::start(flavor).await;
        let report = LocalSet::new().run_until(rig.run(&plan)).await;
        println!("{flavor}: {report}");
        rig.stop().await;
        assert!(report.differences.is_empty(), "{flavor}: {}", report.differences.join("\n"));
    }
}
