//! Which of a server's forms of a prepared text runs a client's execute.
//!
//! Sessions share what is prepared on a server connection by its text. MySQL remembers what was bound to a statement in
//! what it takes the parameters for ([`ParameterTypes`]), so a client's statement carries along what a single server would
//! take its parameters for by now. It runs in a form that takes them for the same once this execute is bound; where there
//! is none, the text is prepared anew. Where only the server can tell what a value makes of the types, the form is that
//! client's own from then on, so that nobody else meets it.
//!
//! What a new form comes to by one execute may be less than what a client's statement has come to by several: types that
//! it bound before and that would have stayed are forgotten where no form has them.

use std::sync::Arc;

use super::{
    observe::is_of_absence,
    request::{Body, Request},
    session::Session,
};
use crate::{
    backend::{Form, ServerConnection},
    protocol::{ParameterTypes, TypeStep, query_attributes::Bound},
};

/// What the parameters of a client's statement are taken for; None: for what those of a new one are.
pub type Taken = Option<Arc<ParameterTypes>>;

/// Whether a connection has the form that an execute needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is in front.
    Ready,
    /// The text must be prepared anew.
    Missing,
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// The form in front, and all stays as it is.
    Front,
    /// The form in this place, and it and the client's statement take the parameters for this then.
    Form(usize, Arc<ParameterTypes>),
    /// The form in this place, and nobody knows what becomes of it: it is the client's own.
    Own(usize),
    New,
}

impl Session {
    /// Puts the form on which a request is to run in front. `newly`: the text has just been prepared, so that form is it.
    pub(super) fn fit_form(&mut self, connection: &mut ServerConnection, request: &Request<'_>, newly: bool) -> Fit {
        let Some(text) = request.text() else { return Fit::Ready };
        let forms = connection.statements.forms(text);
        let Some(front) = forms.first() else { return Fit::Missing };
        let Body::Execute { execute, .. } = &request.body else { return Fit::Ready };
        // One with a cursor is nobody else's.
        if text.is_own() || front.types.is_none() {
            return Fit::Ready;
        }
        let capabilities = self.capabilities;
        let Some(statement) = self.statements.find(execute.statement) else { return Fit::Ready };
        let owner = (self.entry.handle.id, execute.statement);
        if let Some(place) = forms.iter().position(|form| form.owner == Some(owner)) {
            connection.statements.choose(text, place, None);
            return Fit::Ready;
        }
        // What cannot be read is for the server to refuse.
        let Some(bound) = statement.bound(execute, capabilities) else { return Fit::Ready };
        let choice = match newly {
            true => first(forms, &bound),
            false => choose(&statement.taken, forms, &bound),
        };
        match choice {
            Choice::Front => Fit::Ready,
            Choice::Form(place, types) => {
                connection.statements.choose(text, place, Some(types.clone()));
                statement.taken_before = Some(statement.taken.replace(types));
                Fit::Ready
            }
            Choice::Own(place) => {
                connection.statements.choose(text, place, None);
                connection.statements.own(text, owner);
                statement.taken_before = Some(statement.taken.take());
                Fit::Ready
            }
            Choice::New => Fit::Missing,
        }
    }

    /// Takes back what [`Self::fit_form`] took for granted, where an execute was not run on the connection, or ended with an
    /// `error` that leaves doubt whether the server has bound anything: nobody meets such a form.
    pub(super) fn unfit_form(&mut self, connection: &mut ServerConnection, request: &Request<'_>, error: Option<u16>) {
        let Body::Execute { execute, text } = &request.body else { return };
        let Some(statement) = self.statements.find(execute.statement) else { return };
        // ER_WRONG_ARGUMENTS, ER_MALFORMED_PACKET
        let mut doubtful = matches!(error, Some(1210 | 1835));
        // What names something that is not there is not prepared again. Whatever else fails was, if need be.
        if let Some(before) = statement.taken_before.take().filter(|_| error.is_none_or(is_of_absence)) {
            statement.taken = before;
            doubtful |= connection.statements.forms(text).first().is_some_and(|form| form.owner.is_none());
        }
        if doubtful {
            connection.close_form(text);
        }
    }
}

/// The form for an execute of a statement whose parameters are `taken` for that by now.
fn choose(taken: &Taken, forms: &[Form], bound: &Bound<'_>) -> Choice {
    let Some(front) = forms.first().and_then(|form| form.types.as_ref()) else { return Choice::Front };
    let own = taken.as_ref().unwrap_or(&front.fresh);
    let place = |types: &Arc<ParameterTypes>| {
        let is_it = |form: &Form| form.owner.is_none() && form.types.as_ref().is_some_and(|form| form.now == *types);
        forms.iter().position(is_it)
    };
    let shared = forms.first().is_some_and(|form| form.owner.is_none());
    let wanted = match own.step(&front.fresh, bound) {
        TypeStep::Same if shared && *own == front.now => return Choice::Front,
        TypeStep::Same => own.clone(),
        TypeStep::Other(types) => Arc::new(types),
        TypeStep::Unclear => match place(own) {
            Some(place) => return Choice::Own(place),
            None if taken.is_some() && *own != front.fresh => return choose(&None, forms, bound),
            None => return Choice::New,
        },
        TypeStep::Kept => return Choice::New,
    };
    if let Some(place) = place(&wanted) {
        return Choice::Form(place, wanted);
    }
    let comes_to = |from: &ParameterTypes, fresh: &ParameterTypes| match from.step(fresh, bound) {
        TypeStep::Other(types) => types == *wanted,
        TypeStep::Same => *from == *wanted,
        TypeStep::Unclear | TypeStep::Kept => false,
    };
    if comes_to(&front.fresh, &front.fresh) {
        // What others have bound stays theirs.
        return place(&front.fresh).map_or(Choice::New, |place| Choice::Form(place, wanted));
    }
    match place(own) {
        Some(place) => Choice::Form(place, wanted),
        None if taken.is_some() => choose(&None, forms, bound),
        None => Choice::New,
    }
}

/// The form in front, which is new.
fn first(forms: &[Form], bound: &Bound<'_>) -> Choice {
    let Some(types) = forms.first().and_then(|form| form.types.as_ref()) else { return Choice::Front };
    match types.now.step(&types.fresh, bound) {
        TypeStep::Same => Choice::Form(0, types.now.clone()),
        TypeStep::Other(types) => Choice::Form(0, Arc::new(types)),
        TypeStep::Unclear | TypeStep::Kept => Choice::Own(0),
    }
}
