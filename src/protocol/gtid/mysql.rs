//! MySQL GTID sets: runs of transaction numbers, each of one source (server UUID and tag).

use std::fmt;

use super::number;

/// A set of MySQL GTIDs. One flat list of runs, ordered, disjoint and not touching each other; the usual set of a
/// session is one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MySqlSet {
    runs: Vec<Run>,
}

/// The transactions `first..=last` of one source; `1 <= first <= last < i64::MAX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    source: Source,
    first: u64,
    last: u64,
}

/// Who numbered the transactions: server UUID, and a tag since MySQL 8.3.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    uuid: [u8; 16],
    tag: Option<Box<str>>,
}

impl MySqlSet {
    /// Intervals of a required set before gaps are closed. Sources beyond it stay exact: a new source takes a
    /// failover or a privileged client.
    pub const MAX_REQUIRED: usize = 16;

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut set = Self::default();
        for part in text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()) {
            set.parse_uuid_set(part)?;
        }
        set.normalise();
        Some(set)
    }

    /// `uuid:1-5:7:tag:1-3`: intervals belong to the tag before them.
    fn parse_uuid_set(&mut self, text: &[u8]) -> Option<()> {
        let mut items = text.split(|&byte| byte == b':').map(<[u8]>::trim_ascii);
        let uuid = parse_uuid(items.next()?)?;
        let mut tag = None;
        let mut items = items.peekable();
        items.peek()?;
        while let Some(item) = items.next() {
            if item.first()?.is_ascii_digit() {
                if let Some((first, last)) = parse_interval(item)? {
                    self.runs.push(Run { source: Source { uuid, tag: tag.clone() }, first, last });
                }
            } else {
                tag = Some(parse_tag(item)?);
                items.peek()?;
            }
        }
        Some(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn covers(&self, required: &Self) -> bool {
        required.runs.iter().all(|run| {
            let after = self.runs.partition_point(|own| (&own.source, own.first) <= (&run.source, run.first));
            let before = after.checked_sub(1).and_then(|at| self.runs.get(at));
            before.is_some_and(|own| own.source == run.source && own.last >= run.last)
        })
    }

    /// The runs of `self` without what `base` has of them.
    pub(super) fn since(&self, base: &Self) -> Self {
        let mut news = Vec::new();
        for run in &self.runs {
            let from = base.runs.partition_point(|old| (&old.source, old.last) < (&run.source, run.first));
            let known = base.runs.iter().skip(from);
            let mut first = run.first;
            for old in known.take_while(|old| old.source == run.source && old.first <= run.last) {
                if first < old.first {
                    news.push(Run { source: run.source.clone(), first, last: old.first - 1 });
                }
                first = old.last + 1;
            }
            if first <= run.last {
                news.push(Run { source: run.source.clone(), first, last: run.last });
            }
        }
        Self { runs: news }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        // The usual case by far: the next commit of the session, on the same writer.
        if let ([own], [new]) = (self.runs.as_mut_slice(), other.runs.as_slice())
            && own.source == new.source
            && own.touches(new)
        {
            own.last = own.last.max(new.last);
            own.first = own.first.min(new.first);
            return;
        }
        self.runs.extend_from_slice(&other.runs);
        self.normalise();
    }

    /// Fills the narrowest gaps until at most `limit` runs are left, or no source has a gap.
    pub(super) fn close_gaps(&mut self, limit: usize) {
        while self.runs.len() > limit {
            let gaps = self.runs.windows(2).enumerate().filter_map(|(at, pair)| match pair {
                [before, after] if before.source == after.source => Some((after.first - before.last, at)),
                _ => None,
            });
            let Some((_, at)) = gaps.min() else { return };
            let closed = self.runs.remove(at + 1);
            self.runs[at].last = closed.last;
        }
    }

    /// Restores the order of `runs`.
    fn normalise(&mut self) {
        if !self.runs.is_sorted() {
            self.runs.sort_unstable();
        }
        self.runs.dedup_by(|next, kept| {
            let joined = kept.source == next.source && kept.touches(next);
            if joined {
                kept.last = kept.last.max(next.last);
            }
            joined
        });
    }
}

impl Run {
    /// Whether the two, of one source, leave no gap between them.
    fn touches(&self, other: &Self) -> bool {
        other.first <= self.last + 1 && self.first <= other.last + 1
    }
}

/// `7` or `1-5`; None inside for an empty one such as `5-3`, which MySQL allows.
fn parse_interval(text: &[u8]) -> Option<Option<(u64, u64)>> {
    let mut ends = text.splitn(2, |&byte| byte == b'-').map(<[u8]>::trim_ascii);
    let first = number(ends.next()?)?;
    let last = ends.next().map_or(Some(first), number)?;
    if first == 0 || first.max(last) >= i64::MAX.unsigned_abs() {
        return None;
    }
    Some((first <= last).then_some((first, last)))
}

/// A letter or underscore, then up to 31 letters, digits and underscores; lower case is canonical.
fn parse_tag(text: &[u8]) -> Option<Box<str>> {
    let starts_well = text.first().is_some_and(|&byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest_is_well = text.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !starts_well || !rest_is_well || text.len() > 32 {
        return None;
    }
    Some(std::str::from_utf8(text).ok()?.to_ascii_lowercase().into())
}

fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let dashes = [8, 13, 18, 23];
    if text.len() != 36 || !dashes.iter().all(|&at| text.get(at) == Some(&b'-')) {
        return None;
    }
    let mut uuid = [0; 16];
    let mut digits = text.iter().enumerate().filter(|(at, _)| !dashes.contains(at)).map(|(_, &digit)| digit);
    for byte in &mut uuid {
        let high = char::from(digits.next()?).to_digit(16)?;
        let low = char::from(digits.next()?).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(uuid)
}

impl fmt::Display for MySqlSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut previous: Option<&Source> = None;
        for run in &self.runs {
            if previous.is_none_or(|previous| previous.uuid != run.source.uuid) {
                if previous.is_some() {
                    f.write_str(",")?;
                }
                write_uuid(f, run.source.uuid)?;
            }
            if previous != Some(&run.source)
                && let Some(tag) = &run.source.tag
            {
                write!(f, ":{tag}")?;
            }
            write!(f, ":{}", run.first)?;
            if run.last > run.first {
                write!(f, "-{}", run.last)?;
            }
            previous = Some(&run.source);
        }
        Ok(())
    }
}

fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: [u8; 16]) -> fmt::Result {
    for (at, byte) in uuid.iter().enumerate() {
        let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        write!(f, "{dash}{byte:02x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
