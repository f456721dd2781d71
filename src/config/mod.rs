//! Text to a valid [`Config`], and the difference of two. No files are watched here, nothing is connected to.
//!
//! The way of a configuration: TOML with places (`document`) → fields with their defaults (`read`; `field` for
//! one value) → [`Config`] (`model`) → checks across fields (`validate`). Every step collects its
//! problems and goes on, so that one look at the message list is enough to mend a file. Whether TLS files can be
//! used and names resolve is decided where they are used.

mod address;
mod defaults;
mod diff;
mod document;
mod field;
mod flags;
mod keyword;
mod model;
mod pattern;
mod problem;
mod read;
mod secret;
mod srv;
mod users;
mod validate;
mod value;

pub use diff::{Applies, Change, What, diff};
pub use flags::{Flags, from_flags};
pub use keyword::Keyword;
pub use model::*;
pub use problem::{Place, Problem, Problems};
pub use secret::{ProcessSecrets, SecretSource};
pub use srv::{Target, Targets, expand};
pub use users::{Auth, ClientPlugin, Passthrough, User};
pub use value::{InvalidValue, duration_text, parse_duration, parse_size, size_text};

/// Reads a whole configuration.
///
/// # Errors
/// Every problem of the text, sorted by place. Syntax errors come alone: what stands around them cannot be judged.
pub fn parse(text: &str, source: &impl SecretSource) -> Result<Config, Problems> {
    let root = document::parse(text)?;
    let mut notes = document::Notes::new(text, source);
    let config = document::Section::root(&mut notes, &root, read::config);
    notes.follow_up(validate::check(&config));
    notes.finish(config)
}
