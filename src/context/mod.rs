//! What every session and every operator's door is handed: what Weir knows (views) and what it can be asked to do
//! ([`Control`]). The doors and the sessions never talk to each other; both ask the application.

mod control;

pub use control::{Control, ControlError, Reply, ServerView, SessionView};
