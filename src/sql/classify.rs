//! One text to its facts.
//!
//! Decides which readings of a text count: a comment that is code for some versions only (`/*!80000 … */`) is read
//! both ways, because the servers behind us need not be of one version. What one reading means is left to `reading`.

use super::comment::Gates;
use super::connection_id::asks_connection_id;
use super::facts::{Effects, Kind, Mode, Statement};
use super::reading::{self, Reading};
use super::tracking;
use super::variables;

/// What `sql` is and does, as far as its text tells.
///
/// One pass over the bytes, without allocating; a text with version-gated comments takes a pass for each way in which
/// some server could read it, and one that names user variables another. Never fails: what is not understood is [`Kind::Unknown`].
pub fn classify(sql: &[u8], mode: Mode) -> Statement<'_> {
    let reading = reading::read(sql, mode, Gates::UpTo(mode.version));
    let gated = !reading.gate_versions.is_empty();
    let mut facts = Statement { kind: reading.kind, effects: reading.effects, hint: reading.hint };
    if gated {
        (facts.kind, facts.effects) = strongest(sql, mode, &reading);
    } else if facts.effects.has(Effects::USER_VARIABLE) {
        let effect = variables::effect(sql, mode, facts.kind, facts.effects.has(Effects::MULTI));
        facts.effects = facts.effects.without(Effects::USER_VARIABLE).with(effect);
    } else if facts.kind == Kind::Read && facts.effects == Effects::CONNECTION && tracking::shows_tracking(sql, mode) {
        facts.effects = facts.effects.with(Effects::SESSION_TRACKING);
    } else if facts.kind == Kind::Read
        && facts.effects == Effects::CONNECTION.with(Effects::CONNECTION_ID)
        && asks_connection_id(sql, mode)
    {
        facts.effects = Effects::CONNECTION;
    }
    facts
}

/// The union over the readings of every version.
fn strongest(sql: &[u8], mode: Mode, reading: &Reading<'_>) -> (Kind, Effects) {
    let full = reading::read(sql, mode, Gates::All);
    let mut facts = (reading.kind, reading.effects);
    add(&mut facts, &full);
    add(&mut facts, &reading::read(sql, mode, Gates::UpTo(0)));
    if !full.gate_versions.complete {
        facts.0 = Kind::Unknown;
    } else if full.gate_versions.kept().len() > 1 {
        for version in full.gate_versions.kept() {
            add(&mut facts, &reading::read(sql, mode, Gates::UpTo(*version)));
        }
    }
    facts
}

fn add(facts: &mut (Kind, Effects), reading: &Reading<'_>) {
    facts.0 = facts.0.max(reading.kind);
    facts.1 = facts.1.with(reading.effects);
}
