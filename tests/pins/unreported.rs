//! State behind the results of clients to whom servers cannot report it.

use std::{sync::Arc, time::Instant};

use weir::{
    backend::{Identity, Links, Place, ServerConnection},
    config::{Address, ServerTlsMode},
    net::Scratch,
    protocol::{Capabilities, ResponseTracker, Shape, auth::Credential, code, login::Attributes, put_packets},
    telemetry::Pin,
};

use super::{
    bed::{Bed, flavors},
    pin_of, with_schema,
};

/// A client without `CLIENT_DEPRECATE_EOF`, as many drivers are: the end of its results has no room for changes.
struct OldClient(ServerConnection);

impl OldClient {
    async fn connect(bed: &Bed) -> Self {
        let capabilities = Capabilities::PROTOCOL_41.with(Capabilities::MULTI_RESULTS);
        let credential = Credential::Password((*b"app-secret").into());
        let (user, attributes) = ("app".into(), Attributes::default());
        let identity = Identity { user, credential, capabilities, collation: 45, origin: None, attributes };
        let address = Address::Tcp { host: "127.0.0.1".into(), port: bed.port() };
        let links = bed.weir.context.cluster.load().links.clone();
        let links = Links { tls: ServerTlsMode::Disabled, ..Links::clone(&links) };
        let (identity, scratch) = (Arc::new(identity), Scratch::new(1 << 16));
        let connection =
            ServerConnection::open(Place::of(&address), identity, &links, &scratch, Instant::now()).await.unwrap();
        let mut client = Self(connection);
        // It asked for reports, as Weir does of servers.
        client.command(&[code::RESET_CONNECTION]).await;
        client.command(b"\x02app").await;
        client
    }

    /// Runs a command to the end of its reply.
    async fn command(&mut self, payload: &[u8]) {
        let (scratch, shape) = (Scratch::new(1 << 16), Shape::Results);
        let mut bytes = Vec::new();
        put_packets(&mut bytes, &mut 0, payload);
        self.0.packets.write_bytes(&bytes).await.unwrap();
        let mut tracker = ResponseTracker::new(shape, Capabilities::NONE);
        self.0.packets.sequence = 1;
        while !tracker.is_done() {
            let (mut sequence, mut payload, mut packet) = (self.0.packets.sequence, Vec::new(), Vec::new());
            self.0.packets.read_payload(&scratch, &mut payload, 1 << 20).await.unwrap();
            put_packets(&mut packet, &mut sequence, &payload);
            tracker.advance(&mut packet).unwrap();
        }
    }

    async fn query(&mut self, sql: &str) {
        self.command(&[&[code::QUERY], sql.as_bytes()].concat()).await;
    }

    async fn pin(&mut self, bed: &Bed) -> Option<&'static str> {
        self.command(&[code::PING]).await;
        pin_of(bed, self.0.thread)
    }
}

#[tokio::test]
async fn state_behind_a_result_without_reports_is_found() {
    const CASES: &[(&str, Option<Pin>)] = &[
        ("SELECT sets_it()", Some(Pin::Unattributed)),
        ("SELECT computes()", None),
        ("SELECT * FROM t", None),
        ("BEGIN; SELECT * FROM t", Some(Pin::Transaction)),
        ("BEGIN; SELECT * FROM t; COMMIT", None),
        ("BEGIN; SELECT sets_it(); COMMIT", Some(Pin::Unattributed)),
        ("SET autocommit = 0; SELECT * FROM t; COMMIT", None),
        ("CALL nothing()", None),
        ("CALL sets_both()", Some(Pin::Unattributed)),
        ("CALL sets_and_selects()", Some(Pin::Unattributed)),
    ];
    for flavor in flavors() {
        let bed = with_schema(flavor).await;
        for (statements, expected) in CASES {
            let mut client = OldClient::connect(&bed).await;
            for sql in statements.split("; ") {
                client.query(sql).await;
            }
            assert_eq!(client.pin(&bed).await, expected.map(Pin::label), "{flavor}: {statements}");
        }
        bed.stop().await;
    }
}
