//! Every difference that is tolerated.

use weir::{
    protocol::{Change, OkPacket, ServerError, Status, changes},
    sandbox::Flavor,
};

use super::{
    bed::raw,
    numbers,
    play::Reply,
    script::{Slot, Step},
};

/// A difference that a client may see.
struct Tolerance {
    /// What differs, and why that is no fault.
    #[allow(dead_code, reason = "the list is to be read")]
    reason: &'static str,
    /// Makes what differs equal.
    mask: fn(&Moment<'_>, &mut Reply),
}

/// Where a reply stands.
pub struct Moment<'a> {
    pub step: &'a Step,
    /// The last step before it that was answered and asked nothing of the step before, and the single server's reply.
    pub before: Option<(&'a Step, &'a Reply)>,
    /// All steps before it.
    pub earlier: &'a [Step],
    pub flavor: Flavor,
}

/// The one list of them.
const TOLERATED: &[Tolerance] = &[
    Tolerance {
        reason: "the text of errors that Weir makes itself, which is English in UTF-8 whatever lc_messages and \
                 character_set_results say; of one in UTF-32, MySQL sends none",
        mask: |Moment { earlier, .. }, reply| {
            let foreign = |text: &str| text.contains("lc_messages") || text.contains("character_set_results");
            let foreign = earlier.iter().any(|step| foreign(step.text()));
            let own = |error: &ServerError| is_own(error) || error.code == WRONG_ARGUMENTS;
            if let Some(error) = raw::error(reply).filter(|error| foreign && own(error))
                && let Some(packet) = reply.last_mut()
            {
                *packet = error.code.to_string().into_bytes();
            }
        },
    },
    Tolerance {
        reason: "ids of prepared statements: a name that the server is free to choose, and counts differently as the \
                 text protocol's statements draw from the same numbers",
        mask: |Moment { step, .. }, reply| {
            if let (Step::Prepare { .. }, Some([0, id @ ..])) = (step, reply.first_mut().map(Vec::as_mut_slice)) {
                id[..4].fill(0);
            }
        },
    },
    Tolerance {
        reason: "the same ids in the text of errors 1243 and 1421",
        mask: |_, reply| {
            if let Some(error) = reply.last_mut()
                && error[0] == 0xFF
                && matches!(u16::from_le_bytes([error[1], error[2]]), 1243 | 1421)
            {
                error.drain(9..).filter(|byte| !byte.is_ascii_digit()).collect::<Vec<u8>>().clone_into(error);
            }
        },
    },
    Tolerance {
        reason: "the number of warnings of the statement before in the answer to a command that is no statement, which \
                 MySQL gives and Weir does not know of an error",
        mask: |Moment { step, .. }, reply| {
            let command = matches!(step, Step::Ping | Step::InitDb(_) | Step::ResetStatement(_) | Step::SetOption(_));
            let packet = reply.first_mut().filter(|_| command).map(Vec::as_mut_slice);
            if let Some([0xFE, low, high, _, _] | [0 | 0xFE, 0, 0, _, _, low, high, ..]) = packet {
                (*low, *high) = (0, 0);
            }
        },
    },
    Tolerance {
        reason: "the affected rows of a CALL that ends with a statement that affects none: MySQL gives those of \
                 whatever ran on the connection before",
        mask: |Moment { step, .. }, reply| {
            if let (true, Some([0, rows, ..])) = (step.calls(), reply.last_mut().map(Vec::as_mut_slice)) {
                *rows = 0;
            }
            // Among other statements.
            for packet in reply.iter_mut().filter(|_| step.text().contains("CALL") && step.text().contains(';')) {
                if let [0, rows, 0, _, _, _, _, ..] = packet.as_mut_slice() {
                    *rows = 0;
                }
            }
        },
    },
    Tolerance {
        reason: "the row number in an error about an argument of a prepared CALL, which MariaDB counts on from the \
                 execute before",
        mask: |Moment { step, before, .. }, reply| {
            if step.calls() || before.is_some_and(|(before, _)| before.calls()) {
                for packet in reply {
                    if let Some(at) = packet.windows(8).position(|part| part == b" at row ") {
                        packet.truncate(at);
                    }
                }
            }
        },
    },
    Tolerance {
        reason: "what is asked about an error that no server gave: Weir knows which sessions and prepared statements \
                 there are, interrupts whoever kills his own statement, and puts the read-only transaction in the \
                 place of the read-only replica",
        mask: |Moment { step, before, .. }, reply| {
            if step.asks_back()
                && before.is_some_and(|(_, before)| raw::error(before).is_some_and(|error| is_own(&error)))
            {
                reply.clear();
            }
        },
    },
    Tolerance {
        reason: "FOUND_ROWS() after what found none: it is that of the last SELECT, which may have run on another \
                 server",
        mask: |Moment { step, before, .. }, reply| {
            let failed = |reply: &Reply| raw::error(reply).is_some();
            let found =
                |(step, reply): (&Step, &Reply)| step.text().starts_with("SELECT") && reply.len() > 1 && !failed(reply);
            if step.text().contains("FOUND_ROWS()") && !before.is_some_and(found) {
                reply.clear();
            }
        },
    },
    Tolerance {
        reason: "ROW_COUNT() behind a command that is no statement, through which servers keep it or not, wherever it is; \
                 behind a SHOW or a DESCRIBE that failed, in which MariaDB leaves what ran before it, and a CALL, in \
                 which MySQL does",
        mask: |Moment { step, before, flavor, .. }, reply| {
            let tells = |(before, answer): (&Step, &Reply)| match flavor {
                Flavor::MySql9 if before.calls() => false,
                Flavor::MariaDb if ["SHOW", "DESC"].iter().any(|verb| before.text().starts_with(verb)) => {
                    !warned(answer)
                }
                _ => matches!(before, Step::Query(_) | Step::Execute { .. }),
            };
            if step.text().contains("ROW_COUNT()") && !before.is_some_and(tells) {
                reply.clear();
            }
        },
    },
    Tolerance {
        reason: "warnings of a statement before the last: MariaDB keeps them until one uses a table, wherever that \
                 runs",
        mask: |Moment { step, before, flavor, .. }, reply| {
            // What GET DIAGNOSTICS has found is in variables by then.
            let asks = step.asks_back() || step.text().contains("@gm");
            if *flavor == Flavor::MariaDb && asks && !before.is_some_and(|(_, before)| warned(before)) {
                reply.clear();
            }
        },
    },
    Tolerance {
        reason: "the type of a column that a parameter decides which is NULL, or was not NULL in an execute of the same \
                 statement before: MySQL keeps what that bound, and the connection that runs this one may have none of it. \
                 Behind NULL, which numeric type a number is of",
        mask: |Moment { step, earlier, flavor, .. }, reply| {
            if *flavor == Flavor::MySql9 && bound_other_nulls(step, earlier) {
                numbers::unify(reply);
                if matches!(step, Step::Execute { parameters, .. } if parameters.iter().any(|p| p.value.is_none())) {
                    reply.retain(|packet| !packet.starts_with(b"\x03def"));
                }
            }
        },
    },
    Tolerance {
        reason: "the type of a user variable that is NULL: servers give it one when a statement that sets it is prepared, \
                 whoever did that on the connection",
        mask: |Moment { step, earlier, flavor, .. }, reply| {
            let mysql = *flavor == Flavor::MySql9;
            let executes = step.text().contains("EXECUTE");
            let names = text(step, earlier).replace("@@", "").contains('@');
            let prepares = mysql && matches!(step, Step::Prepare { .. });
            let defines = |packet: &[u8]| packet.starts_with(b"\x03def");
            let is_null = reply.iter().any(|packet| !defines(packet) && packet.contains(&0xFB));
            if (names || executes) && is_null || names && prepares {
                reply.retain(|packet| !defines(packet));
            } else if mysql && (executes || names && matches!(step, Step::Execute { .. })) {
                // It was NULL when the text was prepared, and a number is a text ever after.
                numbers::unify(reply);
                reply.retain(|packet| !(defines(packet) && packet.contains(&b'@')));
            }
        },
    },
    Tolerance {
        reason: "whether the optimizer used an index, by statistics that each server makes for itself",
        mask: |_, reply| {
            for packet in reply.iter_mut() {
                match packet.as_mut_slice() {
                    [0xFE, _, _, status, _] | [0xFE, 0, 0, status, ..] => *status &= !0x30,
                    _ => {}
                }
            }
        },
    },
    Tolerance {
        reason: "schema and flags of the columns of a derived table and of the data dictionary's views in MySQL: those of \
                 the table behind it or, where it sorts in a temporary table, none, by the same statistics",
        mask: |Moment { flavor, .. }, reply| {
            const PLANNED: [&[u8]; 5] =
                [b"\x01d\x01a", b"\x06TABLES", b"\x07COLUMNS", b"\x08ROUTINES", b"\x0ASTATISTICS"];
            let names = |packet: &[u8], name: &[u8]| packet.windows(name.len()).any(|part| part == name);
            let planned = |packet: &[u8]| PLANNED.iter().any(|name| names(packet, name));
            if *flavor == Flavor::MySql9 {
                reply.retain(|packet| !packet.starts_with(b"\x03def") || !planned(packet));
            }
        },
    },
    Tolerance {
        reason: "that something has changed, in an EOF packet behind rows, which cannot tell what: MariaDB says so of \
                 a SET STATEMENT",
        mask: |_, reply| {
            for packet in reply.iter_mut() {
                if let [0xFE, _, _, _, high] = packet.as_mut_slice() {
                    *high &= !0x40;
                }
            }
        },
    },
    Tolerance {
        reason: "how MySQL tells of a bound value that does not fit: once or several times, as a text or as bytes, by \
                 whether the statement ran before on that connection, where it may have been prepared for somebody \
                 else",
        mask: |Moment { step, before, flavor, .. }, reply| {
            let executes = |step: &Step| matches!(step, Step::Execute { .. });
            if *flavor != Flavor::MySql9 {
                return;
            }
            if step.asks_back() && before.is_some_and(|(before, answer)| executes(before) && warned(answer)) {
                reply.clear();
            }
            if executes(step) && warned(reply) {
                let code = raw::error(reply).map(|error| error.code);
                match (code, reply.last_mut().map(Vec::as_mut_slice)) {
                    // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD, ER_TRUNCATED_WRONG_VALUE
                    (Some(code @ (1292 | 1366)), _) => *reply = vec![code.to_string().into_bytes()],
                    (None, Some([0xFE, low, high, _, _] | [0 | 0xFE, 0, 0, _, _, low, high, ..])) => {
                        (*low, *high) = (1, 0);
                    }
                    _ => {}
                }
            }
        },
    },
    Tolerance {
        reason: "which of the tables that an INSERT into `b` would write is not locked so: that is `b` itself or, where the \
                 server happens to have it open with its trigger, the trigger's; MySQL loads triggers when they are \
                 needed first",
        mask: |Moment { step, before, earlier, flavor }, reply| {
            // ER_TABLE_NOT_LOCKED_FOR_WRITE, ER_TABLE_NOT_LOCKED
            let refused = |step: &Step, answer: &Reply| {
                text(step, earlier).contains("INTO b ")
                    && raw::error(answer).is_some_and(|error| matches!(error.code, 1099 | 1100))
            };
            if *flavor != Flavor::MySql9 {
                return;
            }
            if step.asks_back() && before.is_some_and(|(before, answer)| refused(before, answer)) {
                reply.clear();
            }
            if refused(step, reply)
                && let Some(error) = reply.last_mut()
            {
                *error = b"not locked".to_vec();
            }
        },
    },
    Tolerance {
        reason: "of what an OK packet tells of the session: the state of the new transaction, which MySQL tells after \
                 COMMIT AND CHAIN to those who did not ask; the old value of a variable that a SET STATEMENT has set, \
                 and that it changed, which MariaDB tells with the next change of any variable that it tracks: Weir \
                 tracks them all; GTIDs and numbers of statements, which each server counts; that a transaction was \
                 READ ONLY, which MySQL tells of when it has ended, though the writer never had it; that an error has \
                 ended one, of which Weir has heard by then; what one is like that had begun, or was to be like, \
                 when it was asked for first, and that one began as READ WRITE before that, which MySQL goes on telling \
                 until a transaction ends that it tells of; that a CALL which failed has changed something, which \
                 MariaDB tells with the next change of its own, and Weir with a CALL that has any report; whether a \
                 change of what is told is one; and the order of the variables that one statement changed: a hash \
                 table's, which depends on which others are tracked",
        mask: |Moment { earlier, step, before, flavor }, reply| {
            let was_set = |name: &[u8]| earlier.iter().chain([*step]).any(|step| sets_for_itself(step.text(), name));
            let failed = before.is_some_and(|(_, answer)| raw::error(answer).is_some());
            let asks = |step: &Step| step.text().contains("session_track_transaction_info");
            let described = earlier.iter().position(|step| step.text().contains("SET TRANSACTION"));
            let asked_first = asks(step) || described.is_some_and(|at| earlier[at..].iter().any(asks));
            let asked = earlier.iter().rposition(asks).unwrap_or(0);
            let asked_late = earlier[..asked].iter().any(|step| step.text().contains("READ WRITE"));
            let calls = |text: &str| text.contains("CALL");
            let called_before = earlier.iter().any(|step| calls(step.text()));
            let called_twice = *flavor == Flavor::MariaDb && called_before && calls(text(step, earlier));
            let was_read_only = earlier.iter().any(|step| step.text().contains("READ ONLY"));
            for packet in reply.iter_mut().filter(|packet| matches!(packet.first(), Some(0 | 0xFE))) {
                sort_changes(packet, |change| match change {
                    Change::TransactionState(_) | Change::Gtids(_) => false,
                    Change::Characteristics(_) => !was_read_only && !failed && !asked_first && !asked_late,
                    Change::State => {
                        !was_set(b"SET STATEMENT") && !step.text().contains("session_track_") && !called_twice
                    }
                    Change::Variable { name, .. } => !COUNTED.contains(name) && !was_set(name),
                    _ => true,
                });
            }
        },
    },
];

/// A reply without what is tolerated.
pub fn masked(moment: &Moment<'_>, reply: Option<&Reply>) -> Option<Reply> {
    let mut reply = reply?.clone();
    TOLERATED.iter().for_each(|tolerance| (tolerance.mask)(moment, &mut reply));
    Some(reply)
}

/// The text that a step runs: of an execute, that of the statement in its slot.
fn text<'a>(step: &'a Step, earlier: &'a [Step]) -> &'a str {
    let Step::Execute { slot: executed, .. } = step else { return step.text() };
    let prepared = earlier.iter().rev().find(|step| match (step, executed) {
        (Step::Prepare { slot, .. }, Slot::Own(own)) => slot == own,
        (Step::Prepare { .. }, Slot::Last) => true,
        _ => false,
    });
    prepared.map(Step::text).unwrap_or_default()
}

/// Whether an execute of the same text had NULL in other places before.
fn bound_other_nulls(step: &Step, earlier: &[Step]) -> bool {
    let nulls = |step: &Step| match step {
        Step::Execute { parameters, .. } => Some(parameters.iter().map(|p| p.value.is_none()).collect::<Vec<_>>()),
        _ => None,
    };
    let Some(own) = nulls(step) else { return false };
    let others = |number: usize| nulls(&earlier[number]).is_some_and(|nulls| nulls != own);
    let same = |number: usize| text(&earlier[number], &earlier[..number]) == text(step, earlier);
    (0..earlier.len()).any(|number| others(number) && same(number))
}

/// Variables that servers count up by themselves, or whose default is the time.
const COUNTED: [&[u8]; 3] = [b"last_gtid", b"statement_id", b"timestamp"];

/// ER_WRONG_ARGUMENTS.
const WRONG_ARGUMENTS: u16 = 1210;

/// Whether Weir makes such errors itself.
fn is_own(error: &ServerError) -> bool {
    let unbound = error.code == WRONG_ARGUMENTS && error.message.ends_with(b"mysqld_stmt_execute");
    unbound || matches!(error.code, 1094 | 1243 | 1317 | 1421 | 1792 | 1835)
}

/// Whether a text sets a variable by `SET STATEMENT`.
fn sets_for_itself(text: &str, name: &[u8]) -> bool {
    let names = |sql: &str| sql.as_bytes().windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
    text.split("; ").any(|sql| sql.starts_with("SET STATEMENT") && names(sql))
}

/// Whether a reply ends with an error or tells of warnings.
fn warned(reply: &Reply) -> bool {
    match reply.last().map(Vec::as_slice) {
        Some([0xFE, low, high, _, _]) => (*low, *high) != (0, 0),
        Some(packet @ [0 | 0xFE, ..]) => OkPacket::parse(packet).is_ok_and(|ok| ok.warnings > 0),
        packet => packet.is_some_and(|packet| packet.first() == Some(&0xFF)),
    }
}

/// Sorts the variables in the changes of an OK packet, and keeps some of the changes.
fn sort_changes(packet: &mut Vec<u8>, keeps: impl Fn(&Change<'_>) -> bool) {
    let Ok(ok) = OkPacket::parse(packet) else { return };
    if !ok.status.has(Status::SESSION_STATE_CHANGED) {
        return;
    }
    let told = changes(ok.changes).flatten().filter(keeps);
    let mut told: Vec<_> = told.map(|change| format!("{change:?}")).collect();
    told.sort();
    let status = if told.is_empty() { ok.status.without(Status::SESSION_STATE_CHANGED) } else { ok.status };
    let mut sorted = Vec::new();
    OkPacket { status, changes: told.join(" ").as_bytes(), ..ok }.put(&mut sorted, packet[0]);
    *packet = sorted;
}
