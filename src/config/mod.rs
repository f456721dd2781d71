//! Text to a valid [`Config`]: raw TOML, model, validation, difference of two. No files are watched here.

mod model;

pub use model::*;
