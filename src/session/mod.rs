//! What is known about one client's session: settings, transaction, pins, the position its reads must have. Pure.
//!
//! Changed only by what a server reported ([`SessionState::observe`]), plus the few things servers do not report and
//! the text alone gives away.

mod aside;
mod belongings;
mod charset;
mod pins;
mod reports;
mod settings;
mod state;
mod tracking;
mod untold;
mod user_variables;

pub use aside::Aside;
pub use charset::{is_ambiguous, login_collation};
pub use pins::Pins;
pub use settings::{Settings, Step, Value, unite};
pub use state::{CHARACTER_SETS, Fate, SessionState};
pub use tracking::{Boundary, Tracking};
pub use untold::Untold;
pub use user_variables::TextCharset;
