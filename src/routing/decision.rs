//! The decision: held lease → hint → rule → listener's route → classification. Freshness and balance come after it, when
//! a server of the target is chosen.

use crate::{
    config::{Route, Rule, RuleTarget},
    sql::{Access, Effects, Hint, Kind, Statement},
    telemetry::{Pin, Reason},
};

/// What the session is in when a statement arrives.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The listener's route.
    pub route: &'a Route,
    /// Why the session holds a connection; None: it holds none.
    pub held: Option<Pin>,
    pub transaction: Implicit,
}

/// The transaction that a statement is in, or opens, though nobody said `BEGIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Implicit {
    /// None: `autocommit=1`.
    None,
    /// On the writer from its first statement on.
    OnWriter,
    /// `reads.transactions = "reads-before-write"`: it has not begun, and its first reads may run on a replica.
    ReadsFirst,
    /// It has begun on a replica and done nothing but read. The held connection stands for nothing else.
    Reading,
}

/// Which server may run a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The one whose connection the session holds.
    Held,
    Writer,
    /// The writer; while there is none, a replica.
    Any,
    /// A replica, by weight; the writer too if it has a weight.
    Reader,
    Group(&'a [u8]),
    Server(&'a [u8]),
    /// None: a rule refuses the statement.
    Reject,
}

/// Where a statement goes, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    pub target: Target<'a>,
    pub reason: Reason,
}

/// Decides. `rule` is the first rule that matches the statement.
pub fn route<'a>(situation: &Situation<'a>, statement: &Statement<'a>, rule: Option<&'a Rule>) -> Decision<'a> {
    let obstacle = obstacle(situation, statement);
    held(situation, statement, rule)
        .or_else(|| hint(statement, obstacle))
        .or_else(|| ruled(statement, rule, obstacle))
        .or_else(|| listened(situation.route))
        .unwrap_or_else(|| classified(situation, statement, obstacle))
}

fn held<'a>(situation: &Situation<'a>, statement: &Statement<'_>, rule: Option<&Rule>) -> Option<Decision<'a>> {
    if rule.is_some_and(|rule| rule.to == Some(RuleTarget::Reject)) {
        return Some(Decision { target: Target::Reject, reason: Reason::Rejected });
    }
    let to_writer = rule.is_some_and(|rule| rule.to == Some(RuleTarget::Writer));
    if situation.transaction == Implicit::Reading && (to_writer || !goes_on_reading(statement)) {
        return None;
    }
    let reason = match situation.held? {
        Pin::Transaction => Reason::Transaction,
        _ => Reason::Pinned,
    };
    Some(Decision { target: Target::Held, reason })
}

/// Whether a transaction that only reads, on a replica, is that still after the statement, or at its end.
fn goes_on_reading(statement: &Statement<'_>) -> bool {
    match statement.kind {
        _ if statement.hint == Some(Hint::Writer) => false,
        Kind::Read => by_effect(statement.effects).is_none_or(|reason| reason == Reason::SystemVariable),
        // What is not known of them is reported by the server, and travels.
        Kind::Set | Kind::Use | Kind::Transaction => statement.effects.is_empty(),
        Kind::Diagnostics => true,
        _ => false,
    }
}

/// Whether a statement that something asks to run on a replica can do so at all. An asker may vouch for functions and
/// system variables, not for writes, locks or state of a connection.
fn can_be_sent_to_a_replica(statement: &Statement<'_>, obstacle: Option<Reason>) -> bool {
    matches!(statement.kind, Kind::Read | Kind::Begin(Access::ReadOnly))
        && matches!(
            obstacle,
            None | Some(Reason::ReadOnlyTransaction | Reason::UnknownFunction | Reason::SystemVariable)
        )
}

fn hint<'a>(statement: &Statement<'a>, obstacle: Option<Reason>) -> Option<Decision<'a>> {
    let readable = can_be_sent_to_a_replica(statement, obstacle);
    let target = match statement.hint? {
        Hint::Writer => Target::Writer,
        Hint::Reader if readable => Target::Reader,
        Hint::Group(name) if readable => Target::Group(name),
        Hint::Server(name) => Target::Server(name),
        Hint::Reader | Hint::Group(_) => return None,
    };
    Some(Decision { target, reason: Reason::Hint })
}

fn ruled<'a>(statement: &Statement<'_>, rule: Option<&'a Rule>, obstacle: Option<Reason>) -> Option<Decision<'a>> {
    let readable = can_be_sent_to_a_replica(statement, obstacle);
    let target = match rule?.to.as_ref()? {
        RuleTarget::Writer => Target::Writer,
        RuleTarget::Reader if readable => Target::Reader,
        RuleTarget::Group(name) if readable => Target::Group(name.as_bytes()),
        RuleTarget::Reject => Target::Reject,
        RuleTarget::Reader | RuleTarget::Group(_) => return None,
    };
    Some(Decision { target, reason: Reason::Rule })
}

fn listened(route: &Route) -> Option<Decision<'_>> {
    let target = match route {
        Route::Split => return None,
        Route::Writer => Target::Writer,
        Route::Reader => Target::Reader,
        Route::Group(name) => Target::Group(name.as_bytes()),
        Route::Server(id) => Target::Server(id.as_str().as_bytes()),
    };
    Some(Decision { target, reason: Reason::Route })
}

fn classified<'a>(situation: &Situation<'_>, statement: &Statement<'_>, obstacle: Option<Reason>) -> Decision<'a> {
    match obstacle {
        // What drivers ask when they connect.
        Some(reason @ Reason::SystemVariable)
            if statement.effects == Effects::SYSTEM_VARIABLE && situation.transaction == Implicit::None =>
        {
            Decision { target: Target::Any, reason }
        }
        None => Decision { target: Target::Reader, reason: Reason::Read },
        Some(reason @ Reason::ReadOnlyTransaction) => Decision { target: Target::Reader, reason },
        Some(reason) => Decision { target: Target::Writer, reason },
    }
}

/// Why the statement is not a plain read; None: it is one.
fn obstacle(situation: &Situation<'_>, statement: &Statement<'_>) -> Option<Reason> {
    let by_kind = match statement.kind {
        Kind::Read => None,
        Kind::Begin(Access::ReadOnly) if !statement.effects.has(Effects::MULTI) => Some(Reason::ReadOnlyTransaction),
        Kind::Begin(_) => Some(Reason::Begin),
        Kind::Diagnostics => Some(Reason::Diagnostics),
        Kind::Use | Kind::Set | Kind::TextPrepared => Some(Reason::SessionStatement),
        Kind::Transaction => Some(Reason::Transaction),
        Kind::Lock => Some(Reason::Lock),
        Kind::Kill => Some(Reason::Local),
        Kind::Write | Kind::Ddl => Some(Reason::Write),
        Kind::Empty | Kind::Unknown => Some(Reason::Unknown),
    };
    by_kind
        .or_else(|| by_effect(statement.effects))
        .or_else(|| (situation.transaction == Implicit::OnWriter).then_some(Reason::AutocommitOff))
}

/// The strongest effect first: what a hint or a rule may not overrule comes before what it may.
fn by_effect(effects: Effects) -> Option<Reason> {
    const ORDER: &[(Effects, Reason)] = &[
        (Effects::KILL, Reason::Local),
        (Effects::LOCKING_READ, Reason::LockingRead),
        (Effects::ADVISORY_LOCK, Reason::Lock),
        (Effects::GLOBAL_LOCK, Reason::Lock),
        (Effects::SEQUENCE, Reason::Sequence),
        (Effects::USER_VARIABLE, Reason::UserVariable),
        (Effects::VARIABLE_LITERAL, Reason::UserVariable),
        (Effects::VARIABLE_READ, Reason::UserVariable),
        (Effects::DIAGNOSTICS, Reason::Diagnostics),
        (Effects::CALC_FOUND_ROWS, Reason::Diagnostics),
        (Effects::CONNECTION, Reason::ConnectionState),
        (Effects::CONNECTION_ID, Reason::ConnectionState),
        (Effects::TEMPORARY_TABLE, Reason::TemporaryTable),
        (Effects::FILE, Reason::File),
        (Effects::SESSION_TRACKING, Reason::SessionStatement),
        (Effects::ROLE, Reason::SessionStatement),
        (Effects::STATEMENT_VARIABLES, Reason::SessionStatement),
        (Effects::HANDLER, Reason::Lock),
        (Effects::EXECUTE, Reason::SessionStatement),
        (Effects::SAVEPOINT, Reason::Transaction),
        (Effects::LOCAL_INFILE, Reason::Write),
        (Effects::HIDING_CODE, Reason::UnknownFunction),
        (Effects::LEAVING_CODE, Reason::UnknownFunction),
        (Effects::UNKNOWN_FUNCTION, Reason::UnknownFunction),
        (Effects::SERVER_VARIABLE, Reason::SystemVariable),
        (Effects::SYSTEM_VARIABLE, Reason::SystemVariable),
    ];
    if effects.is_empty() {
        return None;
    }
    ORDER.iter().find(|(effect, _)| effects.has(*effect)).map(|&(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerId;

    const SERVER_VARIABLE: Effects = Effects::SYSTEM_VARIABLE.with(Effects::SERVER_VARIABLE);

    fn statement(kind: Kind, effects: Effects) -> Statement<'static> {
        Statement { kind, effects, hint: None }
    }

    fn decide<'a>(route_: &'a Route, held: Option<Pin>, autocommit: bool, statement: &Statement<'a>) -> Decision<'a> {
        let transaction = if autocommit { Implicit::None } else { Implicit::OnWriter };
        route(&Situation { route: route_, held, transaction }, statement, None)
    }

    fn rule(to: RuleTarget) -> Rule {
        Rule {
            name: String::new(),
            tables: vec![],
            schemas: vec![],
            users: vec![],
            client_addresses: vec![],
            digests: vec![],
            regex: None,
            to: Some(to),
            timeout: None,
            max_concurrency: None,
            consistency: None,
        }
    }

    #[test]
    fn classification_decides_when_nothing_else_does() {
        let cases = [
            (Kind::Read, Effects::NONE, Target::Reader, Reason::Read),
            (Kind::Read, Effects::MULTI, Target::Reader, Reason::Read),
            (Kind::Read, Effects::LOCKING_READ, Target::Writer, Reason::LockingRead),
            (Kind::Read, Effects::USER_VARIABLE, Target::Writer, Reason::UserVariable),
            (Kind::Read, Effects::UNKNOWN_FUNCTION, Target::Writer, Reason::UnknownFunction),
            (Kind::Read, Effects::SYSTEM_VARIABLE, Target::Any, Reason::SystemVariable),
            (Kind::Read, SERVER_VARIABLE, Target::Writer, Reason::SystemVariable),
            (Kind::Set, Effects::SYSTEM_VARIABLE, Target::Writer, Reason::SessionStatement),
            (Kind::Read, Effects::DIAGNOSTICS, Target::Writer, Reason::Diagnostics),
            (Kind::Begin(Access::ReadOnly), Effects::NONE, Target::Reader, Reason::ReadOnlyTransaction),
            (Kind::Begin(Access::ReadOnly), Effects::MULTI, Target::Writer, Reason::Begin),
            (Kind::Begin(Access::ReadWrite), Effects::NONE, Target::Writer, Reason::Begin),
            (Kind::Set, Effects::NONE, Target::Writer, Reason::SessionStatement),
            (Kind::Write, Effects::NONE, Target::Writer, Reason::Write),
            (Kind::Unknown, Effects::NONE, Target::Writer, Reason::Unknown),
            (Kind::Empty, Effects::NONE, Target::Writer, Reason::Unknown),
        ];
        for (kind, effects, target, reason) in cases {
            let found = decide(&Route::Split, None, true, &statement(kind, effects));
            assert_eq!(found, Decision { target, reason }, "{kind:?} {effects:?}");
        }
    }

    #[test]
    fn every_effect_keeps_a_read_off_the_replicas_but_multi() {
        for effects in Effects::all() {
            let found = decide(&Route::Split, None, true, &statement(Kind::Read, effects));
            let harmless = effects == Effects::MULTI || effects == Effects::RELEASE_ALL_LOCKS;
            assert_eq!(found.target == Target::Reader, harmless, "{effects:?}");
        }
    }

    #[test]
    fn what_comes_first_wins() {
        let read = statement(Kind::Read, Effects::NONE);
        let hinted = Statement { hint: Some(Hint::Writer), ..read };
        let locking = Statement { hint: Some(Hint::Reader), ..statement(Kind::Read, Effects::LOCKING_READ) };
        let function = Statement { hint: Some(Hint::Reader), ..statement(Kind::Read, Effects::UNKNOWN_FUNCTION) };
        let group = Statement { hint: Some(Hint::Group(b"g")), ..read };
        let write = Statement { hint: Some(Hint::Group(b"g")), ..statement(Kind::Write, Effects::NONE) };
        let server = Route::Server(ServerId::new("db2"));
        let cases: &[(&Route, Option<Pin>, bool, &Statement<'_>, Target<'_>, Reason)] = &[
            (&Route::Split, Some(Pin::Transaction), true, &hinted, Target::Held, Reason::Transaction),
            (&Route::Reader, Some(Pin::TemporaryTable), true, &read, Target::Held, Reason::Pinned),
            (&Route::Split, None, false, &read, Target::Writer, Reason::AutocommitOff),
            (&Route::Split, None, true, &hinted, Target::Writer, Reason::Hint),
            (&Route::Split, None, true, &locking, Target::Writer, Reason::LockingRead),
            (&Route::Split, None, true, &function, Target::Reader, Reason::Hint),
            (&Route::Split, None, false, &function, Target::Reader, Reason::Hint),
            (&Route::Split, None, true, &group, Target::Group(b"g"), Reason::Hint),
            (&Route::Split, None, true, &write, Target::Writer, Reason::Write),
            (&Route::Writer, None, true, &read, Target::Writer, Reason::Route),
            (&Route::Reader, None, true, &write, Target::Reader, Reason::Route),
            (&server, None, true, &read, Target::Server(b"db2"), Reason::Route),
        ];
        for (route, held, autocommit, statement, target, reason) in cases {
            let found = decide(route, *held, *autocommit, statement);
            assert_eq!(found, Decision { target: *target, reason: *reason }, "{route:?} {held:?} {statement:?}");
        }
    }

    #[test]
    fn a_rule_comes_before_the_route_and_reject_before_everything() {
        let read = statement(Kind::Read, Effects::NONE);
        let write = statement(Kind::Write, Effects::NONE);
        let cases = [
            (RuleTarget::Writer, None, &read, Target::Writer, Reason::Rule),
            (RuleTarget::Group("g".into()), None, &read, Target::Group(b"g"), Reason::Rule),
            (RuleTarget::Reader, None, &write, Target::Writer, Reason::Write),
            (RuleTarget::Reject, None, &write, Target::Reject, Reason::Rejected),
            (RuleTarget::Reject, Some(Pin::Transaction), &write, Target::Reject, Reason::Rejected),
            (RuleTarget::Writer, Some(Pin::Transaction), &read, Target::Held, Reason::Transaction),
        ];
        for (to, held, statement, target, reason) in cases {
            let rule = rule(to);
            let situation = Situation { route: &Route::Split, held, transaction: Implicit::None };
            let found = route(&situation, statement, Some(&rule));
            assert_eq!(found, Decision { target, reason }, "{rule:?} {held:?}");
        }
    }

    #[test]
    fn a_transaction_reads_on_a_replica_until_it_needs_the_writer() {
        let held = (Target::Held, Reason::Transaction);
        let cases = [
            (Kind::Read, Effects::NONE, held),
            (Kind::Read, Effects::SYSTEM_VARIABLE, held),
            (Kind::Transaction, Effects::NONE, held),
            (Kind::Set, Effects::NONE, held),
            (Kind::Diagnostics, Effects::NONE, held),
            (Kind::Read, Effects::LOCKING_READ, (Target::Writer, Reason::LockingRead)),
            (Kind::Read, Effects::UNKNOWN_FUNCTION, (Target::Writer, Reason::UnknownFunction)),
            (Kind::Transaction, Effects::SAVEPOINT, (Target::Writer, Reason::Transaction)),
            (Kind::Set, Effects::USER_VARIABLE, (Target::Writer, Reason::SessionStatement)),
            (Kind::Begin(Access::ReadWrite), Effects::NONE, (Target::Writer, Reason::Begin)),
            (Kind::Write, Effects::NONE, (Target::Writer, Reason::Write)),
        ];
        for (kind, effects, (target, reason)) in cases {
            let [first, later] = [(None, Implicit::ReadsFirst), (Some(Pin::Transaction), Implicit::Reading)].map(
                |(held, transaction)| {
                    let situation = Situation { route: &Route::Split, held, transaction };
                    route(&situation, &statement(kind, effects), None)
                },
            );
            assert_eq!(later, Decision { target, reason }, "{kind:?} {effects:?}");
            let reader = kind == Kind::Read && effects == Effects::NONE;
            assert_eq!(first.target == Target::Reader, reader, "{kind:?} {effects:?}, as the first");
        }
        let hinted = Statement { hint: Some(Hint::Writer), ..statement(Kind::Read, Effects::NONE) };
        let situation =
            Situation { route: &Route::Split, held: Some(Pin::Transaction), transaction: Implicit::Reading };
        assert_eq!(route(&situation, &hinted, None), Decision { target: Target::Writer, reason: Reason::Hint });
    }
}
