//! What a server knows of a user: whether it lets somebody in, and what it has stored to check native passwords. Decides
//! how to ask; when to, and what to remember, is the caller's.

use std::{sync::Arc, time::Instant};

use tokio::time::timeout;

use super::{ConnectError, Identity, Links, Place, ServerConnection, dial::dial};
use crate::{
    net::Scratch,
    protocol::{auth::Stored, code},
    sql::Dialect,
};

/// Logs in, and out again.
///
/// # Errors
/// Whatever stands in the way, within `links.connect_timeout`.
pub async fn prove(
    place: Place<'_>,
    identity: &Identity,
    links: &Links,
    scratch: &Scratch,
) -> Result<(), ConnectError> {
    let limit = links.connect_timeout;
    let login = timeout(limit, dial(place, identity, links, scratch)).await;
    let mut packets = login.map_err(|_| ConnectError::Timeout(limit))??.packets;
    packets.sequence = 0;
    // A goodbye that does not arrive changes nothing.
    let _ = packets.write_payload(&[code::QUIT]).await;
    Ok(())
}

/// The accounts of a user, of whatever hosts. `identity` must be allowed to read them.
///
/// # Errors
/// Whatever stands in the way, within twice `links.connect_timeout`; [`ConnectError::Refused`] without the right to.
pub async fn look_up(
    place: Place<'_>,
    identity: Arc<Identity>,
    user: &[u8],
    links: &Links,
    scratch: &Scratch,
) -> Result<Stored, ConnectError> {
    let limit = links.connect_timeout;
    let mut connection = ServerConnection::open(place, identity, links, scratch, Instant::now()).await?;
    let sql = query(connection.dialect(), user);
    let asked = timeout(limit, connection.query(&sql, scratch)).await;
    let reply = asked.map_err(|_| ConnectError::Timeout(limit))??;
    let _ = connection.packets.write_bytes(&[1, 0, 0, 0, code::QUIT]).await;
    let mut stored = Stored::default();
    for row in reply.rows {
        let mut fields = row.into_iter().map(Option::unwrap_or_default);
        let (first, second) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        match connection.dialect() {
            Dialect::MySql => stored.add(&first, &second),
            Dialect::MariaDb => add_privileges(&mut stored, &first),
        }
    }
    Ok(stored)
}

/// Names are compared byte by byte; in hexadecimal, nothing in them can be SQL.
fn query(dialect: Dialect, user: &[u8]) -> String {
    let name: String = user.iter().map(|byte| format!("{byte:02x}")).collect();
    match dialect {
        Dialect::MySql => format!("SELECT plugin, authentication_string FROM mysql.user WHERE user = x'{name}'"),
        Dialect::MariaDb => format!("SELECT Priv FROM mysql.global_priv WHERE user = x'{name}'"),
    }
}

/// MariaDB keeps an account as JSON. One that may be proven in several ways lists them, an empty one standing for what is
/// outside of the list.
fn add_privileges(stored: &mut Stored, json: &[u8]) {
    let Ok(account) = serde_json::from_slice::<serde_json::Value>(json) else {
        stored.other = true;
        return;
    };
    if account.get("is_role").and_then(serde_json::Value::as_bool) == Some(true) {
        return;
    }
    let mut add = |way: &serde_json::Value| {
        let text = |key| way.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().as_bytes();
        stored.add(text("plugin"), text("authentication_string"));
    };
    add(&account);
    let ways = account.get("auth_or").and_then(serde_json::Value::as_array).into_iter().flatten();
    ways.filter(|way| way.get("plugin").is_some()).for_each(add);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_mariadb_are_read() {
        let hash = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";
        let native = format!(r#""plugin":"mysql_native_password","authentication_string":"{hash}""#);
        let cases = [
            (format!("{{{native}}}"), 1, false),
            (format!(r#"{{"access":0,{native},"account_locked":true}}"#), 1, false),
            (r#"{"plugin":"mysql_native_password","authentication_string":""}"#.to_owned(), 0, false),
            (r#"{"plugin":"mysql_native_password","authentication_string":"invalid"}"#.to_owned(), 0, false),
            (r#"{"plugin":"ed25519","authentication_string":"x"}"#.to_owned(), 0, true),
            (format!(r#"{{{native},"auth_or":[{{"plugin":"ed25519","authentication_string":"x"}},{{}}]}}"#), 1, true),
            (format!(r#"{{"plugin":"unix_socket","auth_or":[{{}},{{{native}}}]}}"#), 1, true),
            (r#"{"is_role":true}"#.to_owned(), 0, false),
            ("{}".to_owned(), 0, false),
            ("{".to_owned(), 0, true),
            (r#"["plugin"]"#.to_owned(), 0, false),
            (r#"{"plugin":7,"auth_or":"x"}"#.to_owned(), 0, false),
        ];
        for (json, native, other) in cases {
            let mut stored = Stored::default();
            add_privileges(&mut stored, json.as_bytes());
            assert_eq!((stored.native.len(), stored.other), (native, other), "{json}");
        }
    }

    #[test]
    fn no_name_is_sql() {
        let sql = query(Dialect::MariaDb, b"a' OR 1=1 -- ");
        assert_eq!(sql, "SELECT Priv FROM mysql.global_priv WHERE user = x'6127204f5220313d31202d2d20'");
    }
}
