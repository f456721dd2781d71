//! Whether two clients have seen the same, but for what is `tolerated`.

use std::fmt::Write;

use weir::sandbox::Flavor;

use super::{
    play::{Reply, Seen},
    script::Script,
    tolerated::{Moment, masked},
};

/// The first difference, as a text that shows both sides; None: there is none.
pub fn difference(flavor: Flavor, script: &Script, direct: &Seen, weir: &Seen) -> Option<String> {
    let mut before = None;
    for (number, step) in script.steps.iter().enumerate() {
        let moment = Moment { step, before, earlier: &script.steps[..number], flavor };
        // Variables may be asked for anywhere, and nothing is left then.
        let moves_on = !step.asks_back() || step.text().starts_with("SELECT @gn");
        if moves_on && let Some(reply) = direct.replies.get(number).filter(|reply| !reply.is_empty()) {
            before = Some((step, reply));
        }
        match (direct.replies.get(number), weir.replies.get(number)) {
            (None, None) => break,
            (one, other) if masked(&moment, one) == masked(&moment, other) => {}
            (one, other) => {
                let broken = |seen: &Seen| seen.broken.clone().unwrap_or_default();
                let mut text = format!("step {number}: {step}\n");
                let same = |place: usize| one.zip(other).is_some_and(|(one, other)| one.get(place) == other.get(place));
                show(&mut text, "server", one, &broken(direct), same);
                show(&mut text, "weir", other, &broken(weir), same);
                return Some(text);
            }
        }
    }
    match (&direct.broken, &weir.broken) {
        (None, None) => None,
        // Silence, and packets in no order, are no end of a session.
        (Some(_), Some(_))
            if direct.was_closed() && weir.was_closed() && direct.replies.len() == weir.replies.len() =>
        {
            None
        }
        (one, other) => Some(format!("server: {one:?} after {}\nweir: {other:?}\n", direct.replies.len())),
    }
}

/// Shows the packets of a reply that the other side does not have in the `same` place.
fn show(text: &mut String, side: &str, reply: Option<&Reply>, broken: &str, same: impl Fn(usize) -> bool) {
    let Some(reply) = reply else {
        let _ = writeln!(text, "  {side}: {broken}");
        return;
    };
    for (place, packet) in reply.iter().enumerate().filter(|(place, _)| !same(*place)) {
        let _ = writeln!(text, "  {side} {place}: {}", packet.escape_ascii());
    }
}
