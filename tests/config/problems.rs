//! Messages: what is told, once each, and where.

use weir::config::parse;

use super::{SERVERS, USERS, World, good, read, read_added, unplaced};

#[test]
fn five_mistakes_are_five_messages() {
    let text = r#"[[servers]]
name = "db1"
address = "db1"
role = "writer"
wieght = 10

[[users]]
name = "app"
password_env = "UNSET"

[reads]
  max_lag = 10
[[rules]]
name = "reports"
to = "group:none"
"#;
    let expected = "\
line 3, column 1: servers[0].address: `db1` is not an address: the port is missing, as in `db1.example:3306`
line 5, column 1: servers[0].wieght: unknown key `wieght` — did you mean `weight`?
line 9, column 1: users[0].password_env: the environment variable UNSET is not set
line 12, column 3: reads.max_lag: expected a duration as \"500ms\" or \"10s\", found a number
line 15, column 1: rules[0].to: no server is in the group `none`";
    assert_eq!(read(text), Err(expected.into()));
}

#[test]
fn all_syntax_errors_are_told() {
    let text = "[reads]\nmax_lag = \n[pool]\nmax_age = \"1h\"\nmax_age = \"2h\"\n[log\nx = 1";
    let problems = parse(text, &World).expect_err("broken");
    let lines: Vec<_> = problems.0.iter().filter_map(|problem| problem.place.map(|place| place.line)).collect();
    assert_eq!(lines, [2, 5, 6], "{problems}");
}

#[test]
fn deep_nesting_is_a_problem_like_others() {
    for open in ["[", "{ a = "] {
        let problems = read(&format!("x = {}", open.repeat(100_000))).expect_err(open);
        assert!(problems.contains("recurs"), "{open}: {}", problems.lines().next().unwrap_or_default());
    }
}

#[test]
fn places_count_characters() {
    for (text, place) in [
        ("x = 1", "line 1, column 1"),
        ("\r\n\tx = 1", "line 2, column 2"),
        ("reads = { balance = \"round-robin\", x = 1 }", "line 1, column 36"),
        ("log = { level = \"ä\" }", "line 1, column 9"),
        ("admin = { user = \"äöü\", x = 1 }", "line 1, column 25"),
    ] {
        let problems = read(&format!("{text}{SERVERS}{USERS}")).expect_err(text);
        assert!(problems.starts_with(&format!("{place}: ")), "{text}: {problems}");
    }
}

#[test]
fn a_place_is_where_the_mistake_is() {
    for (text, place) in [
        // What is missing is missed where its table begins.
        ("[[rules]]\nto = 'writer'", "line 1, column 1: rules[0].name: is missing"),
        ("[tls.client]\ncert = 'c'", "line 1, column 6: tls.client.key: is missing"),
        ("[[rules]]\nname = 'r'\nto = 'reject'\ntables = [\n'a',\n1]", "line 6, column 1: rules[0].tables[1]: "),
    ] {
        let problems = read(&format!("{text}{SERVERS}{USERS}")).expect_err(text);
        assert!(problems.starts_with(place), "{text}: {problems}");
    }
}

/// What goes wrong in one key of a table.
#[test]
fn bad_values() {
    for (line, problem) in [
        ("reads.max_lag = '10'", "is not a duration"),
        ("reads.max_lag = 1979-05-27", "found a date or time"),
        ("reads.balance = 'random'", "it is one of: round-robin, least-outstanding"),
        ("reads.balance = 'round_robin'", "did you mean `round-robin`?"),
        ("reads.writer_fallback = 'yes'", "expected true or false, found text"),
        ("reads.consistency = true", "expected text in quotes, found true or false"),
        ("reads.max_lag = '0s'", "must be longer than 0s"),
        ("probe.interval = '0s'", "must be longer than 0s"),
        ("probe.timeout = '0ms'", "must be longer than 0s"),
        ("probe.rise = 0", "must be from 1 to 1000, found 0"),
        ("probe.fall = -1", "must be from 1 to 1000, found -1"),
        ("probe.fall = 1.5", "expected a whole number, found a decimal number"),
        ("probe.user = 'x'", "probe.password: is missing: the probe's user is none of [[users]]"),
        ("probe.password = 'x'", "probe.user: is missing: a password without it has no use"),
        ("probe.user = ''", "probe.user: must not be empty"),
        ("auth = 'password'", "auth: unknown value `password`; it is one of: users, passthrough"),
        ("passthrough.ttl = '0s'", "must be longer than 0s"),
        ("passthrough.ttl = '25h'", "passthrough.ttl: must be at most 1d"),
        ("passthrough.max_users = 0", "must be from 1 to 100000, found 0"),
        ("pool.max_age = '0s'", "must be longer than 0s"),
        ("pool.multiplex = 1", "pool.multiplex: expected true or false"),
        ("pool.acquire_timeout = '0s'", "must be longer than 0s"),
        ("timeouts.connect = '0s'", "must be longer than 0s"),
        ("timeouts.handshake = '400d'", "the longest duration is 365d"),
        ("limits.max_clients = 0", "must be from 1 to 1000000, found 0"),
        ("limits.max_clients = 99999999999999999999999", "must be from 1 to 1000000"),
        ("limits.max_packet = '1GB'", "is not a size"),
        ("limits.max_packet = '2GiB'", "must be from 1KiB to 1GiB"),
        ("limits.max_packet = 0", "must be from 1KiB to 1GiB"),
        ("limits.max_packet = true", "expected a size"),
        ("tls.client.mode = 'verify-ca'", "it is one of: disabled, preferred, required"),
        ("tls.client.cert = 'c'", "tls.client.key: is missing"),
        ("tls.client.key = 'k'", "tls.client.cert: is missing"),
        ("tls.client.cert = ''", "must not be empty"),
        ("tls.server.key = 'k'", "tls.server.cert: is missing"),
        ("tls.server.mode = 'verify-ca'", "tls.server.ca: is missing"),
        ("tls.server.mode = 'verify-identity'", "tls.server.ca: is missing"),
        ("tls = 1", "expected a table, found a number"),
        ("dns.server = 'localhost:53'", "`localhost:53` is not an IP address and a port"),
        ("admin.console = 'srv:x'", "cannot listen on a DNS SRV name"),
        ("admin.http = '127.0.0.1:6032'", "admin.http: `127.0.0.1:6032` is used twice, first by admin.console"),
        ("admin.http = '127.0.0.1:6033'", "admin.http: `127.0.0.1:6033` is used twice, first by listeners[0].address"),
        ("admin = { password = 'a', password_env = 'APP_DB_PASSWORD' }", "admin.password_env: give only one of"),
        ("admin.password_env = 'UNSET'", "the environment variable UNSET is not set"),
        ("admin.password_env = 'BINARY'", "the environment variable BINARY is not UTF-8 text"),
        ("admin.password_file = '/none'", "cannot read /none: "),
        ("runtime.workers = 'many'", "expected \"auto\" or a whole number"),
        ("runtime.workers = 0", "must be from 1 to 1024, found 0"),
        ("runtime.spin = '11ms'", "must be at most 10ms"),
        ("runtime.pace = '1ms'", "unknown key `pace`; known here: workers, spin, congestion_control"),
        ("runtime.congestion_control = ''", "must not be empty"),
        ("log.level = 'chatty'", "unknown level `chatty`"),
        ("log.level = 'info,weir=loud'", "unknown level `loud`"),
        ("log.level = 'info,=debug'", "`` is not the path of a module"),
        ("log.level = 'a b=debug'", "`a b` is not the path of a module"),
        ("log.format = 'xml'", "it is one of: text, json"),
        ("prob.interval = '1s'", "unknown key `prob` — did you mean `probe`?"),
        ("\"a\\nb\" = 1", "unknown key `a\\nb`; known here: "),
        ("listeners = []", "listeners: needs at least one"),
        ("listeners = [1]", "listeners[0]: expected a table, found a number"),
        ("rules = 'none'", "rules: expected a list, found text"),
    ] {
        let problems = unplaced(&read(&format!("{line}{SERVERS}{USERS}")).expect_err(line));
        assert!(problems.contains(problem), "{line}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{line}: {problems}");
    }
}

/// What goes wrong in and between the entries of lists.
#[test]
fn bad_entries() {
    for (entry, problem) in [
        ("[[listeners]]", "listeners[0].address: is missing"),
        ("[[listeners]]\naddress = '*:3306'", "letters, digits"),
        ("[[listeners]]\naddress = 'a:1'\nroute = 'writers'", "did you mean `writer`?"),
        ("[[listeners]]\naddress = 'a:1'\nroute = 'group:x'", "no server is in the group `x`"),
        ("[[listeners]]\naddress = 'a:1'\nroute = 'server:x'", "there is no server `x`"),
        ("[[listeners]]\naddress = 'a:1'\n[[listeners]]\naddress = 'a:1'", "listeners[1].address: `a:1` is used twice"),
        ("[[listeners]]\naddress = 'a:1'\nproxy_protocol = ['lb1']", "`lb1` is not a network"),
        (
            "[[listeners]]\naddress = 'unix:/a'\nproxy_protocol = ['::1']",
            "listeners[0].proxy_protocol: who connects to a Unix socket comes from no network",
        ),
        ("[[servers]]\nname = 'db3'", "servers[2].address: is missing"),
        ("[[servers]]\nname = 'x'\naddress = 'srv:a'", "servers[2].name: names none of the servers"),
        ("[[servers]]\naddress = 'srv:a'\n[[servers]]\naddress = 'srv:a'", "servers[3].address: `srv:a` is used twice"),
        ("[[servers]]\naddress = 'a:0'", "a server's port is from 1 to 65535"),
        ("[[servers]]\naddress = 'db2:3306'", "servers[2].address: `db2:3306` is used twice"),
        (
            "[[servers]]\nname = 'db2'\naddress = 'a:1'",
            "servers[2].name: `db2` is used twice, first by servers[1].name",
        ),
        (
            "[[servers]]\nname = 'x:1'\naddress = 'a:1'\n[[servers]]\naddress = 'x:1'",
            "`x:1` is used twice, first by servers[2].name",
        ),
        ("[[servers]]\nname = 'a b'\naddress = 'a:1'", "must not hold white space"),
        ("[[servers]]\naddress = 'a:1'\nrole = 'primary'", "it is one of: writer, replica, auto"),
        ("[[servers]]\naddress = 'a:1'\nrole = 'writer'", "servers[2].role: `db1` is the active writer already"),
        ("[[servers]]\naddress = 'a:1'\nweight = 1000001", "must be from 0 to 1000000"),
        ("[[servers]]\naddress = 'a:1'\nmax_connections = 0", "must be from 1 to 100000, found 0"),
        ("[[servers]]\naddress = 'a:1'\ngroups = 'g'", "expected a list, found text"),
        ("[[servers]]\naddress = 'a:1'\nstate = 'down'", "it is one of: active, drain, offline"),
        ("[[users]]\npassword = ''", "users[1].name: is missing"),
        ("[[users]]\nname = 'b'", "users[1].password: is missing: give one of"),
        ("[[users]]\nname = 'b'\npassword = 1", "users[1].password: expected text in quotes, found a number"),
        ("[[users]]\nname = 'app'\npassword = ''", "users[1].name: `app` is used twice, first by users[0].name"),
        (
            "[[users]]\nname = 'b'\npassword = ''\nplugin = 'client_ed25519'",
            "users[1].plugin: an empty password signs nothing",
        ),
        (
            "[[users]]\nname = 'b'\npassword = 'x'\nplugin = 'dialog'",
            "it is one of: mysql_native_password, caching_sha2",
        ),
        ("[[rules]]\nname = 'r'", "rules[0].to: is missing: the rule does nothing"),
        ("[[rules]]\nto = 'writer'", "rules[0].name: is missing"),
        ("[[rules]]\nname = 'r'\nto = 'server:db1'", "it is one of: writer, reader, group:NAME, reject"),
        ("[[rules]]\nname = 'r'\nto = 'reject'\ntables = ['']", "a pattern must not be empty"),
        ("[[rules]]\nname = 'r'\nto = 'reject'\nclient_addresses = ['10.0.0.0/33']", "from 0 to 32"),
        ("[[rules]]\nname = 'r'\nto = 'reject'\ndigests = ['xyz']", "`xyz` is not a digest"),
        ("[[rules]]\nname = 'r'\nto = 'reject'\ndigests = ['11111111111111111']", "is not a digest"),
        ("[[rules]]\nname = 'r'\nto = 'reject'\nregex = '('", "is not a regular expression: unclosed group"),
        ("[[rules]]\nname = 'r'\ntimeout = '0s'", "must be longer than 0s"),
        ("[[rules]]\nname = 'r'\nmax_concurrency = 0", "must be from 1 to 1000000"),
        (
            "[[rules]]\nname = 'r'\nto = 'reject'\n[[rules]]\nname = 'r'\nto = 'reject'",
            "rules[1].name: `r` is used twice",
        ),
    ] {
        let problems = unplaced(&read_added(entry).expect_err(entry));
        assert!(problems.contains(problem), "{entry}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{entry}: {problems}");
    }
}

#[test]
fn something_must_be_served() {
    let replica = "[[servers]]\naddress = 'a:1'\nrole = 'replica'\n";
    let needs = "needs a server with role = \"writer\" or \"auto\", and there is none";
    for (text, problem) in [
        (
            String::new(),
            "servers: needs at least one: [[servers]] with an address\n\
          users: needs at least one: [[users]] with a name and a password"
                .to_owned(),
        ),
        (format!("{replica}{USERS}"), format!("listeners[0].route: `split` {needs}")),
        (
            format!("{replica}{USERS}[[listeners]]\naddress = 'a:1'\nroute = 'writer'"),
            format!("listeners[0].route: `writer` {needs}"),
        ),
        (
            format!(
                "{replica}{USERS}[[listeners]]\naddress = 'a:1'\nroute = 'reader'\n[[rules]]\nname = 'r'\nto = 'writer'"
            ),
            format!("rules[0].to: `writer` {needs}"),
        ),
    ] {
        assert_eq!(read(&text).map_err(|problems| unplaced(&problems)), Err(problem), "{text}");
    }
}

#[test]
fn what_is_allowed_is_not_a_problem() {
    let server = |port: u16, rest: &str| format!("[[servers]]\naddress = 'a:{port}'\n{rest}\n");
    for text in [
        // One writer hands over to another.
        server(1, "role = 'writer'\nstate = 'drain'"),
        server(1, "role = 'writer'\nstate = 'offline'"),
        server(1, "role = 'auto'") + &server(2, "role = 'auto'"),
        "[[listeners]]\naddress = 'a:0'\n[[listeners]]\naddress = 'a:0'".into(),
        "[admin]\nconsole = ''\nhttp = ''".into(),
        "[limits]\nmax_packet = 0x10_00".into(),
        "[log]\nlevel = 'warn,weir::backend=trace'".into(),
    ] {
        good(&text);
    }
    let readers = "[[servers]]\naddress = 'a:1'\nrole = 'replica'\n[[listeners]]\naddress = 'b:1'\nroute = 'reader'";
    assert!(read(&format!("{readers}{USERS}")).is_ok(), "replicas alone serve reads");
}

#[test]
fn passthrough_needs_no_user_but_one_to_look_as() {
    let auth = "auth = 'passthrough'\n";
    let probe = "[probe]\nuser = 'p'\npassword = 'x'\n";
    let none = "probe.user: is missing: there is no user with a password to look at the servers as";
    for (text, expected) in [
        (format!("{auth}{SERVERS}{probe}"), Ok(())),
        (format!("{auth}{SERVERS}{USERS}"), Ok(())),
        (format!("{auth}{SERVERS}{probe}[[users]]\nname = 'b'\nmax_clients = 3\n"), Ok(())),
        (format!("{auth}{SERVERS}"), Err(none)),
        (format!("{auth}{SERVERS}[[users]]\nname = 'b'\n"), Err(none)),
        (
            format!("{auth}{SERVERS}{probe}[[users]]\nname = 'b'\nold_password = 'x'\n"),
            Err("users[0].old_password: has no use without a password"),
        ),
        (
            format!("{auth}{SERVERS}{probe}[[users]]\nname = 'b'\nplugin = 'client_ed25519'\n"),
            Err("users[0].plugin: has no use without a password"),
        ),
        (
            format!("{auth}{SERVERS}[probe]\nuser = 'b'\n[[users]]\nname = 'b'\n"),
            Err("probe.password: is missing: the probe's user is none of [[users]], or has none there"),
        ),
    ] {
        let found = read(&text).map(drop).map_err(|problems| unplaced(&problems));
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn secrets_are_in_no_message() {
    for line in [
        "password = 's3cret'\npassword_env = 'APP_DB_PASSWORD'",
        "password_env = 'BINARY'",
        "password = ['s3cret']",
        "password = 's3cret",
        "password = s3cret",
        "password = 's3cret' 's3cret'",
    ] {
        let problems = read(&format!("{SERVERS}[[users]]\nname = 'app'\n{line}")).expect_err(line);
        assert!(!problems.contains("s3cret"), "{line}: {problems}");
    }
    assert!(!format!("{:?}", good("")).contains("s3cret"));
}
