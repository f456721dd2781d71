//! What accounts may do, as `SHOW GRANTS` tells them: on which tables they write without one of them seeing the triggers.
//! Servers show a trigger to whoever has `TRIGGER` on its table. To others MySQL does not even say that it is there; MariaDB
//! does.

use std::collections::BTreeSet;

/// Of several accounts together. A place is written as servers do: `*.*`, `` `app`.* ``, `` `app`.`t` ``.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    written: BTreeSet<String>,
    /// Where triggers are shown.
    shown: BTreeSet<String>,
}

const EVERYWHERE: &str = "*.*";

/// Where no trigger can be.
const NOT_OWN: [&str; 4] = ["`mysql`.", "`sys`.", "`information_schema`.", "`performance_schema`."];

impl Grants {
    /// Takes in one line of `SHOW GRANTS`.
    pub fn read(&mut self, line: &str) {
        let Some((privileges, rest)) = line.strip_prefix("GRANT ").and_then(|line| line.split_once(" ON ")) else {
            return;
        };
        let place = rest.split_once(" TO ").map_or(rest, |(place, _)| place);
        let has = |wanted: &str| privileges.split(", ").any(|one| one == wanted || one == "ALL PRIVILEGES");
        let writes = ["INSERT", "UPDATE", "DELETE"];
        // Some may write certain columns only: INSERT (`a`, `b`).
        let columns = writes.iter().any(|verb| privileges.contains(&format!("{verb} (")));
        if columns || writes.into_iter().any(has) {
            self.written.insert(place.to_owned());
        }
        if has("TRIGGER") {
            self.shown.insert(place.to_owned());
        }
    }

    /// The account is told of the triggers where it writes.
    pub fn knows_of_triggers(&mut self) {
        self.written.clear();
    }

    /// Others write, nobody knows where.
    pub fn anybody_writes(&mut self) {
        self.written.insert(EVERYWHERE.to_owned());
    }

    pub fn add(&mut self, other: Self) {
        self.written.extend(other.written);
        self.shown.extend(other.shown);
    }

    /// The places where some account writes and none sees the triggers.
    pub fn unseen(&self) -> Vec<&str> {
        let own = |place: &&String| !NOT_OWN.iter().any(|schema| place.starts_with(schema));
        let schema = |place: &str| place.split_once("`.").map(|(schema, _)| format!("{schema}`.*"));
        let seen =
            |place: &str| self.shown.contains(place) || schema(place).is_some_and(|all| self.shown.contains(&all));
        let all = self.shown.contains(EVERYWHERE);
        self.written.iter().filter(own).map(String::as_str).filter(|place| !all && !seen(place)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_whose_triggers_nobody_sees() {
        let cases: [(&[&str], &[&str]); 12] = [
            (&["GRANT USAGE ON *.* TO `app`@`%`", "GRANT ALL PRIVILEGES ON `app`.* TO `app`@`%`"], &[]),
            (&["GRANT SELECT, INSERT ON `app`.* TO `app`@`%`"], &["`app`.*"]),
            (&["GRANT UPDATE ON `app`.`t` TO `app`@`%` WITH GRANT OPTION"], &["`app`.`t`"]),
            (&["GRANT SELECT, INSERT (`a`, `b`) ON `app`.`t` TO `app`@`%`"], &["`app`.`t`"]),
            (&["GRANT DELETE ON `app`.`t` TO `app`@`%`", "GRANT TRIGGER ON `app`.* TO `probe`@`%`"], &[]),
            (&["GRANT DELETE ON `app`.`t` TO `app`@`%`", "GRANT TRIGGER ON `app`.`t` TO `probe`@`%`"], &[]),
            (&["GRANT DELETE ON `app`.* TO `app`@`%`", "GRANT TRIGGER ON `app`.`t` TO `probe`@`%`"], &["`app`.*"]),
            (&["GRANT INSERT ON `a`.* TO `app`@`%`", "GRANT REPLICATION CLIENT, TRIGGER ON *.* TO `probe`@`%`"], &[]),
            (&["GRANT INSERT ON *.* TO `app`@`%`", "GRANT TRIGGER ON `app`.* TO `app`@`%`"], &["*.*"]),
            (&["GRANT SELECT, EXECUTE ON `app`.* TO `app`@`%`"], &[]),
            (&["GRANT INSERT, UPDATE ON `mysql`.* TO `app`@`%`"], &[]),
            (
                &["GRANT `role`@`%` TO `app`@`%`", "GRANT PROXY ON ``@`` TO `app`@`%`", "REVOKE INSERT ON `a`.*", ""],
                &[],
            ),
        ];
        for (lines, expected) in cases {
            let mut grants = Grants::default();
            lines.iter().for_each(|line| grants.read(line));
            assert_eq!(grants.unseen(), expected, "{lines:?}");
        }
        let mut grants = Grants::default();
        grants.anybody_writes();
        grants.read("GRANT TRIGGER ON `app`.* TO `probe`@`%`");
        assert_eq!(grants.unseen(), ["*.*"]);
    }
}
