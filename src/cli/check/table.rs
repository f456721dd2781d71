//! The outcome of `weir check` as values, and as aligned text.

use std::{fmt, iter};

/// Every server in the config's order, and what is wrong with the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub rows: Vec<Row>,
    pub problems: Vec<Problem>,
}

/// One server; a column is `-` where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    pub address: String,
    /// As configured.
    pub role: &'static str,
    /// As configured.
    pub state: &'static str,
    /// What the server looks like: `writer` or `replica`.
    pub found: String,
    pub version: String,
    pub lag: String,
    pub gtid: String,
    pub tls: String,
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub verdict: Verdict,
    pub text: String,
}

/// How bad it is; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Ok,
    /// Weir works, but less well than it could.
    Warning,
    /// Some statements of some clients will fail.
    Failed,
}

const HEADER: [&str; 10] = ["NAME", "ADDRESS", "ROLE", "STATE", "FOUND", "VERSION", "LAG", "GTID", "TLS", "VERDICT"];

impl Table {
    /// The worst of all; `Failed` is a failure of the command.
    pub fn verdict(&self) -> Verdict {
        let rows = self.rows.iter().map(Row::verdict);
        rows.chain(self.problems.iter().map(|problem| problem.verdict)).max().unwrap_or(Verdict::Ok)
    }
}

impl Row {
    pub fn verdict(&self) -> Verdict {
        self.problems.iter().map(|problem| problem.verdict).max().unwrap_or(Verdict::Ok)
    }

    fn cells(&self) -> [&str; 10] {
        [
            &self.name,
            &self.address,
            self.role,
            self.state,
            &self.found,
            &self.version,
            &self.lag,
            &self.gtid,
            &self.tls,
            self.verdict().word(),
        ]
    }
}

impl Problem {
    pub fn warning(text: String) -> Self {
        Self { verdict: Verdict::Warning, text }
    }

    pub fn failure(text: String) -> Self {
        Self { verdict: Verdict::Failed, text }
    }

    /// What is wrong with a server that is not in use fails nobody.
    pub fn soften(&mut self) {
        self.verdict = self.verdict.min(Verdict::Warning);
    }
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// A line a server, then a line a problem.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<[&str; 10]> = iter::once(HEADER).chain(self.rows.iter().map(Row::cells)).collect();
        let mut widths = [0; 10];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        for line in &lines {
            let cells: Vec<String> = iter::zip(line, widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        let of_servers =
            self.rows.iter().flat_map(|row| row.problems.iter().map(|problem| (row.name.as_str(), problem)));
        for (name, problem) in of_servers.chain(self.problems.iter().map(|problem| ("cluster", problem))) {
            writeln!(f, "{}: {name}: {}", problem.verdict.word(), problem.text)?;
        }
        Ok(())
    }
}
