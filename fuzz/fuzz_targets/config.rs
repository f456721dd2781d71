//! Any text: reading it never panics, and what is valid differs in nothing from itself.
#![no_main]

use std::{env::VarError, io, path::Path};

use libfuzzer_sys::fuzz_target;
use weir::config::{SecretSource, diff, parse};

/// A world in which every secret is the same.
struct OneSecret;

impl SecretSource for OneSecret {
    fn variable(&self, _: &str) -> Result<String, VarError> {
        Ok("secret".into())
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Ok("secret\n".into())
    }
}

fuzz_target!(|text: &str| {
    match parse(text, &OneSecret) {
        Ok(config) => assert!(diff(&config, &config).is_empty()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
