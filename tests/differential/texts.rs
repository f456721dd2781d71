//! What scripts are made of. `{name}` stands for something that the generator puts there.

mod data;
mod scenarios;
mod state;

pub use data::*;
pub use scenarios::*;
pub use state::*;

/// A kind of statement, and how likely it is among the others.
pub struct Topic {
    pub weight: u32,
    pub texts: &'static [&'static str],
}

/// Statements that may stand anywhere.
pub const TOPICS: &[Topic] = &[
    Topic { weight: 14, texts: READS },
    Topic { weight: 12, texts: WRITES },
    Topic { weight: 6, texts: INSERT_IDS },
    Topic { weight: 7, texts: ERRORS },
    Topic { weight: 9, texts: SETTINGS },
    Topic { weight: 5, texts: USER_VARIABLES },
    Topic { weight: 6, texts: TRANSACTIONS },
    Topic { weight: 4, texts: TEMPORARY },
    Topic { weight: 4, texts: PREPARED_BY_TEXT },
    Topic { weight: 4, texts: LOCKS },
    Topic { weight: 8, texts: ROUTINES },
    Topic { weight: 3, texts: DEFINITIONS },
    Topic { weight: 3, texts: MODES },
    Topic { weight: 3, texts: STATEMENTS_WITH_SETTINGS },
    Topic { weight: 3, texts: EXPLANATIONS },
];
