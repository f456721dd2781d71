//! Where log lines go and in which form: to standard error, as text or as one JSON object a line.

use std::io;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The lines' form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("the log level \"{level}\" is not one of error, warn, info, debug, trace, nor a filter: {source}")]
    Level { level: String, source: tracing_subscriber::filter::ParseError },
    #[error("logging is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up logging for the process. `level` is a level (`info`) or a list of them by module
/// (`info,weir::backend=debug`).
///
/// # Errors
/// A level that is none, and a second call in one process.
pub fn init(level: &str, format: Format) -> Result<(), LoggingError> {
    let filter = filter(level)?;
    let lines = fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        Format::Text => registry.with(lines.with_ansi(false)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true).with_current_span(false)).try_init(),
    }
    .map_err(LoggingError::Twice)
}

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder().parse(level).map_err(|source| LoggingError::Level { level: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for (level, valid) in [
            ("info", true),
            ("warn,weir::backend=debug", true),
            ("off", true),
            ("weir=loud", false),
            ("info,weir::a=b=c", false),
        ] {
            assert_eq!(filter(level).is_ok(), valid, "{level}");
        }
    }
}
