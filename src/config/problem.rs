//! What is wrong with a configuration, and where. How it is found is decided elsewhere.

use std::{borrow::Cow, fmt};

/// A place in the text, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// One mistake of a configuration. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// None: the mistake is in no one place (something is missing, or it came from the command line).
    pub place: Option<Place>,
    /// Path of the key, `servers[1].weight`; empty for a syntax error.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", one_line(&self.key))?;
        }
        f.write_str(&one_line(&self.message))
    }
}

/// What the text of a configuration put into a message must not break its line, or the reader's terminal.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// All mistakes of a configuration, by place, those without one last. Displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub(super) fn sorted(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The one of `known` that was probably meant by `typed`: at most two slips away and fewer than half its letters.
pub(super) fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .filter(|word| word.len().abs_diff(typed.len()) <= 2)
        .map(|word| (slips(typed.as_bytes(), word.as_bytes()), word))
        .filter(|(slips, word)| *slips <= 2 && slips * 2 < word.len())
        .min()
        .map(|(_, word)| word)
}

/// Edit distance with neighbours swapped as one slip (optimal string alignment).
fn slips(left: &[u8], right: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, &l) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, &r) in right.iter().enumerate() {
            let mut best = (last[column] + usize::from(l != r)).min(last[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && l == right[column - 1] && left[row - 1] == r {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut last, line);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_what_was_meant() {
        let known = ["weight", "role", "state", "address", "max_connections"];
        for (typed, meant) in [
            ("wieght", Some("weight")),
            ("weigth", Some("weight")),
            ("wight", Some("weight")),
            ("rol", Some("role")),
            ("adress", Some("address")),
            ("max_connection", Some("max_connections")),
            ("maxconnections", Some("max_connections")),
            ("", None),
            ("port", None),
            ("xxle", None),
            ("priority", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    #[test]
    fn problems_are_told_by_place_and_those_without_one_last() {
        let problem = |place: Option<(usize, usize)>, key: &str| Problem {
            place: place.map(|(line, column)| Place { line, column }),
            key: key.into(),
            message: "bad".into(),
        };
        let problems =
            Problems::sorted(vec![problem(None, "users"), problem(Some((10, 1)), "b"), problem(Some((2, 7)), "")]);
        assert_eq!(problems.to_string(), "line 2, column 7: bad\nline 10, column 1: b: bad\nusers: bad");
    }
}
