//! Where secrets come from: the text itself, an environment variable, a file. Never shown in a message.

use std::{
    env::{self, VarError},
    fs, io,
    path::Path,
};

use super::{
    Secret,
    document::Section,
    field::{self, path},
};

/// The world outside the configuration's text, as far as secrets need it.
pub trait SecretSource {
    /// The value of an environment variable.
    ///
    /// # Errors
    /// It is not set, or not text.
    fn variable(&self, name: &str) -> Result<String, VarError>;

    /// The content of a file.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    fn file(&self, path: &Path) -> io::Result<String>;
}

/// The environment of this process and the files it may read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessSecrets;

impl SecretSource for ProcessSecrets {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        env::var(name)
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

/// The three keys by which one secret can be given.
pub(super) struct SecretKeys {
    pub(super) text: &'static str,
    pub(super) env: &'static str,
    pub(super) file: &'static str,
}

pub(super) const PASSWORD: SecretKeys = SecretKeys { text: "password", env: "password_env", file: "password_file" };

pub(super) const OLD_PASSWORD: SecretKeys =
    SecretKeys { text: "old_password", env: "old_password_env", file: "old_password_file" };

impl SecretKeys {
    /// Whether any of the keys is there.
    pub(super) fn given(&self, section: &Section<'_, '_>) -> bool {
        [self.text, self.env, self.file].into_iter().any(|key| section.has(key))
    }

    /// Reads a secret. None: not given, or not readable, which is noted.
    pub(super) fn read(&self, section: &mut Section<'_, '_>) -> Option<Secret> {
        let source = section.notes.secrets;
        let text = section.field(self.text, field::text).map(|text| Secret::new(text.into()));
        let env = section
            .field(self.env, field::name)
            .and_then(|name| variable(source, &name).map_err(|message| section.problem(self.env, message)).ok());
        let file = section
            .field(self.file, path)
            .and_then(|path| content(source, &path).map_err(|message| section.problem(self.file, message)).ok());
        let given = [self.text, self.env, self.file].into_iter().filter(|key| section.has(key));
        if let Some(second) = given.skip(1).last() {
            let Self { text, env, file } = self;
            section.problem(second, format!("give only one of `{text}`, `{env}` and `{file}`"));
        }
        text.or(env).or(file)
    }
}

/// The secret in an environment variable.
pub(super) fn variable(source: &dyn SecretSource, name: &str) -> Result<Secret, String> {
    source.variable(name).map(Secret::new).map_err(|error| match error {
        VarError::NotPresent => format!("the environment variable {name} is not set"),
        VarError::NotUnicode(_) => format!("the environment variable {name} is not UTF-8 text"),
    })
}

/// The secret in a file, without the line end that editors put behind it.
fn content(source: &dyn SecretSource, path: &Path) -> Result<Secret, String> {
    let mut text = source.file(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Secret::new(text))
}
