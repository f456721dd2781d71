//! The difference of two configurations as lines of a log.

use weir::config::{Change, diff};

use super::{SERVERS, USERS, good, read};

#[test]
fn each_change_is_one_line() {
    let rules = |names: [&str; 2]| names.map(|name| format!("[[rules]]\nname = '{name}'\nto = 'reject'\n")).concat();
    for (old, new, lines) in [
        ("".to_owned(), "".to_owned(), ""),
        ("".into(), "[log]\nlevel = 'info'".into(), ""),
        ("".into(), "[reads]\nmax_lag = '1m 30s'".into(), "reads.max_lag: 10s → 1m 30s (now)"),
        ("".into(), "[limits]\nmax_packet = 65536".into(), "limits.max_packet: 64MiB → 64KiB (next session)"),
        ("[timeouts]\nclient_idle = '8h'".into(), "".into(), "timeouts.client_idle: 8h → 0s (now)"),
        (
            "".into(),
            "[log]\nlevel = 'debug'\nslow_statement = '1s'".into(),
            "log.level: info → debug (restart)\nlog.slow_statement: 0s → 1s (now)",
        ),
        (
            "".into(),
            "[admin]\nhttp = ''\npassword = 'x'".into(),
            "admin.password: changed (restart)\nadmin.http: 127.0.0.1:6080 → none (restart)",
        ),
        ("".into(), "[runtime]\nworkers = 2".into(), "runtime.workers: auto → 2 (restart)"),
        ("".into(), "[tls.client]\nca = '/ca'".into(), "tls.client.ca: none → /ca (next session)"),
        ("".into(), "[[servers]]\nname = 'db3'\naddress = 'a:1'".into(), "servers.db3: added (now)"),
        ("[[users]]\nname = 'b'\npassword = ''".into(), "".into(), "users.b: removed (next session)"),
        (
            "[[users]]\nname = 'b'\npassword = ''".into(),
            "[[users]]\nname = 'b'\npassword = 's3cret'".into(),
            "users.b.password: changed (next session)",
        ),
        (
            "".into(),
            "[[listeners]]\naddress = 'a:1'".into(),
            "listeners.a:1: added (restart)\nlisteners.127.0.0.1:6033: removed (restart)",
        ),
        (rules(["a", "b"]), rules(["b", "a"]), "rules: reordered (now)"),
        (rules(["a", "b"]), rules(["b", "c"]), "rules.c: added (now)\nrules.a: removed (now)"),
        (
            "[[rules]]\nname = 'r'\nto = 'reject'".into(),
            "[[rules]]\nname = 'r'\nto = 'reject'\ntables = ['a', 'b, c']".into(),
            "rules.r.tables: [] → [\"a\", \"b, c\"] (now)",
        ),
    ] {
        let changes = diff(&good(&old), &good(&new));
        let found = changes.iter().map(Change::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(found, lines, "{old} → {new}");
    }
}

#[test]
fn a_weight_and_a_first_user_change() {
    let lighter = SERVERS.replace("role = \"replica\"", "role = \"replica\"\nweight = 50");
    let other = format!("[[users]]\nname = 'first'\npassword = ''\n{USERS}");
    let new = read(&format!("{lighter}{other}")).expect("valid");
    let changes: Vec<_> = diff(&good(""), &new).iter().map(Change::to_string).collect();
    let expected =
        ["servers.db2.weight: 100 → 50 (now)", "users.first: added (next session)", "probe.user: app → first (now)"];
    assert_eq!(changes, expected);
}
