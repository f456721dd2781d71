//! Scripts of probe results, one step an entry.

use super::*;
use crate::sql::Dialect;

const POLICY: Policy =
    Policy { rise: 2, fall: 3, max_lag: Duration::from_secs(10), slow_start: Duration::from_secs(10) };

fn observation(replication: Replication, lag: Option<u64>, position: &str) -> Observation {
    Observation {
        version: "10.11.14-MariaDB".into(),
        dialect: Dialect::MariaDb,
        collation: None,
        identity: "2".into(),
        repeatable_reads: true,
        read_only: true,
        replication,
        lag: lag.map(Duration::from_secs),
        sources: vec!["1".into()],
        position: (!position.is_empty()).then(|| Position::parse_mariadb(position.as_bytes()).unwrap()),
        missing_grant: None,
        tls: false,
    }
}

fn replica(lag: u64) -> Observation {
    observation(Replication::Running, Some(lag), "")
}

fn stopped() -> Replication {
    Replication::Stopped { why: "stopped".into() }
}

/// `+` a good probe, `-` a failure; after each step `u`p, `d`own or `?`, one second apart.
#[test]
fn rise_and_fall() {
    let cases = [
        ("+", "u"),
        ("-", "d"),
        ("-+", "dd"),
        ("-++", "ddu"),
        ("+--+--", "uuuuuu"),
        ("+---", "uuud"),
        ("+---+++", "uuudduu"),
        ("+---+-++", "uuuddddu"),
    ];
    for (script, expected) in cases {
        let start = Instant::now();
        let mut monitor = Monitor::new(POLICY);
        assert_eq!(monitor.health(), &Health::Unknown);
        let mut states = String::new();
        for (second, step) in (0..).zip(script.chars()) {
            let now = start + Duration::from_secs(second);
            match step {
                '+' => monitor.observed(now, &replica(0), Writer::Up(None)),
                _ => monitor.failed(now, "refused"),
            }
            states.push(match monitor.health() {
                Health::Unknown => '?',
                Health::Up => 'u',
                Health::Down { .. } => 'd',
            });
        }
        assert_eq!(states, expected, "{script}");
    }
}

/// `+` a good probe, `-` one without an answer, `r` a refusal; whether the server is dead behind it.
#[test]
fn who_answers_is_not_dead() {
    let cases = [
        ("+--", false),
        ("+---", true),
        ("+rrrr", false),
        ("+rrr-", false),
        ("+--r", false),
        ("+---r", false),
        ("+---+", false),
        ("+rr---", true),
        ("---", true),
    ];
    for (script, expected) in cases {
        let start = Instant::now();
        let mut monitor = Monitor::new(POLICY);
        for (second, step) in (0..).zip(script.chars()) {
            let now = start + Duration::from_secs(second);
            match step {
                '+' => monitor.observed(now, &replica(0), Writer::Up(None)),
                'r' => monitor.refused(now, "too many connections"),
                _ => monitor.failed(now, "timed out"),
            }
        }
        assert_eq!(monitor.is_dead(), expected, "{script}");
    }
}

#[test]
fn a_burst_of_failures_counts_once() {
    let start = Instant::now();
    let mut monitor = Monitor::new(POLICY);
    monitor.observed(start, &replica(0), Writer::Up(None));
    for millis in 0..99 {
        monitor.failed(start + Duration::from_millis(millis), "refused");
    }
    assert_eq!(monitor.health(), &Health::Up);
    monitor.failed(start + Duration::from_millis(100), "refused");
    assert_eq!(monitor.health(), &Health::Up);
    monitor.failed(start + Duration::from_millis(200), "timed out");
    assert_eq!(monitor.health(), &Health::Down { cause: "timed out".into() });
}

#[test]
fn lag_leaves_at_the_limit_and_returns_below_it() {
    let cases: [(&[u64], &str); 4] =
        [(&[10, 11, 10, 9, 8, 10], "FLLLFF"), (&[11, 9, 8], "LLF"), (&[9, 10, 9], "FFF"), (&[60, 0, 60], "LFL")];
    for (lags, expected) in cases {
        let mut monitor = Monitor::new(POLICY);
        let verdicts: String = lags
            .iter()
            .map(|&lag| {
                monitor.observed(Instant::now(), &replica(lag), Writer::Up(None));
                letter(monitor.freshness())
            })
            .collect();
        assert_eq!(verdicts, expected, "{lags:?}");
    }
}

/// Each case: observations with the writer's position (`-` gone, empty: GTIDs off), and the verdicts.
#[test]
fn freshness_without_a_delay() {
    let disconnected = || Replication::Disconnected { why: "connecting".into() };
    let cases = [
        ("stopped, no GTIDs", vec![(observation(stopped(), None, ""), "")], "?"),
        ("not a replica", vec![(observation(Replication::NotAReplica, None, ""), "")], "F"),
        (
            "stopped, but has what the writer had at the probe before",
            vec![(observation(stopped(), None, "0-1-5"), "0-1-5"), (observation(stopped(), None, "0-1-5"), "0-1-6")],
            "?F",
        ),
        (
            "stopped, and falls behind",
            vec![
                (observation(Replication::Running, Some(0), "0-1-5"), "0-1-5"),
                (observation(stopped(), None, "0-1-5"), "0-1-6"),
                (observation(stopped(), None, "0-1-5"), "0-1-7"),
            ],
            "FF?",
        ),
        (
            "not allowed to ask, but keeps up",
            vec![
                (observation(Replication::Unknown, None, "0-1-5"), "0-1-5"),
                (observation(Replication::Unknown, None, "0-1-6"), "0-1-7"),
                (observation(Replication::Unknown, None, "0-1-7"), "0-1-8"),
            ],
            "?FF",
        ),
        (
            "the writer dies",
            vec![
                (observation(Replication::Running, Some(0), ""), ""),
                (observation(disconnected(), None, ""), "-"),
                (observation(disconnected(), None, ""), "-"),
                (observation(disconnected(), None, ""), ""),
            ],
            "FFFF",
        ),
        (
            "the writer dies with news, and is not found dead yet",
            vec![
                (observation(Replication::Running, Some(0), "0-1-5"), "0-1-5"),
                (observation(disconnected(), None, "0-1-5"), "0-1-7"),
                (observation(disconnected(), None, "0-1-5"), "0-1-7"),
                (observation(disconnected(), None, "0-1-5"), "-"),
            ],
            "FFFF",
        ),
        (
            "the writer dies while the replica lags",
            vec![(observation(Replication::Running, Some(60), ""), ""), (observation(disconnected(), None, ""), "-")],
            "LL",
        ),
    ];
    for (case, steps, expected) in cases {
        let mut monitor = Monitor::new(POLICY);
        let mut verdicts = String::new();
        for (observation, writer) in steps {
            let position = Position::parse_mariadb(writer.as_bytes()).ok().filter(|position| !position.is_empty());
            let writer = if writer == "-" { Writer::Gone } else { Writer::Up(position.as_ref()) };
            monitor.observed(Instant::now(), &observation, writer);
            verdicts.push(letter(monitor.freshness()));
        }
        assert_eq!(verdicts, expected, "{case}");
    }
}

#[test]
fn a_replica_that_is_cut_off_cannot_be_later_than_time_has_passed() {
    let disconnected = observation(Replication::Disconnected { why: "connecting".into() }, None, "");
    let mut monitor = Monitor::new(POLICY);
    let start = Instant::now();
    monitor.observed(start, &replica(2), Writer::Up(None));
    for (passed, expected) in [(1, 'F'), (POLICY.max_lag.as_secs() - 2, 'F'), (POLICY.max_lag.as_secs() - 1, '?')] {
        monitor.observed(start + Duration::from_secs(passed), &disconnected, Writer::Up(None));
        assert_eq!(letter(monitor.freshness()), expected, "after {passed} s");
    }
}

/// Probes every 5 seconds; the server says each time that it has no delay. Each step: its position, the writer's.
#[test]
fn news_that_do_not_arrive() {
    let cases = [
        (
            "keeps up, one probe late",
            vec![("0-1-1", "0-1-2"), ("0-1-2", "0-1-3"), ("0-1-3", "0-1-4"), ("0-1-4", "0-1-5")],
            "FFFF",
        ),
        (
            "is cut off",
            vec![("0-1-2", "0-1-2"), ("0-1-2", "0-1-3"), ("0-1-2", "0-1-4"), ("0-1-2", "0-1-4"), ("0-1-2", "0-1-4")],
            "FFFFL",
        ),
        (
            "is cut off and comes back",
            vec![
                ("0-1-2", "0-1-2"),
                ("0-1-2", "0-1-3"),
                ("0-1-2", "0-1-3"),
                ("0-1-2", "0-1-3"),
                ("0-1-2", "0-1-3"),
                ("0-1-3", "0-1-3"),
            ],
            "FFFFLF",
        ),
        (
            "lacks an old domain",
            vec![
                ("0-1-2", "0-1-2,9-9-9"),
                ("0-1-3", "0-1-3,9-9-9"),
                ("0-1-3", "0-1-3,9-9-9"),
                ("0-1-3", "0-1-3,9-9-9"),
            ],
            "FFFF",
        ),
        (
            "lacks what a failover lost",
            vec![
                ("0-1-2", "0-1-2"),
                ("0-1-2", "0-1-3"),
                ("0-1-2", "0-1-2"),
                ("0-1-2", "0-1-2"),
                ("0-1-2", "0-1-2"),
                ("0-1-2", "0-1-2"),
            ],
            "FFFFFF",
        ),
        (
            "the writer is gone",
            vec![("0-1-2", "0-1-2"), ("0-1-2", "0-1-3"), ("0-1-2", "-"), ("0-1-2", "-"), ("0-1-2", "-")],
            "FFFFF",
        ),
    ];
    for (case, steps, expected) in cases {
        let mut now = Instant::now();
        let mut monitor = Monitor::new(POLICY);
        let mut verdicts = String::new();
        for (has, writer) in steps {
            now += Duration::from_secs(5);
            let position = Position::parse_mariadb(writer.as_bytes()).ok();
            let writer = if writer == "-" { Writer::Gone } else { Writer::Up(position.as_ref()) };
            monitor.observed(now, &observation(Replication::Running, Some(0), has), writer);
            verdicts.push(letter(monitor.freshness()));
        }
        assert_eq!(verdicts, expected, "{case}");
    }
}

#[test]
fn a_server_that_returns_starts_slowly() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut monitor = Monitor::new(POLICY);
    monitor.observed(at(0), &replica(0), Writer::Up(None));
    assert_eq!(monitor.effective_weight(100, at(0)), 100, "new");

    monitor.observed(at(1000), &replica(60), Writer::Up(None));
    assert!(!monitor.serves_reads());
    monitor.observed(at(2000), &replica(0), Writer::Up(None));
    assert!(monitor.serves_reads());
    let cases = [(100, 2000, 10), (100, 3000, 10), (100, 7000, 50), (100, 11_900, 99), (100, 12_000, 100)];
    for (configured, millis, expected) in cases {
        assert_eq!(monitor.effective_weight(configured, at(millis)), expected, "{configured} after {millis} ms");
    }
    assert_eq!(monitor.effective_weight(1, at(2000)), 1, "the least weight still serves");
    assert_eq!(monitor.effective_weight(0, at(7000)), 0, "no weight stays none");

    monitor.observed(at(7000), &replica(0), Writer::Up(None));
    assert_eq!(monitor.effective_weight(100, at(7000)), 50, "another good probe does not start again");
}

fn letter(freshness: Freshness) -> char {
    match freshness {
        Freshness::Unknown => '?',
        Freshness::Fresh => 'F',
        Freshness::Lagging => 'L',
    }
}
