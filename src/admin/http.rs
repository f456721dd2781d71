//! The HTTP door: `/metrics`, `/livez`, `/readyz`, `/api/…` as JSON, and a dashboard at `/`.
//!
//! Read-only and without a login: the address it listens on decides who may look. Nothing here changes Weir.

mod listener;

use std::{future::Future, io, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use serde::Serialize;
use tokio::sync::watch;

use super::{AskError, Doors, Readiness, doors::QUESTION};
use crate::{
    context::{Control, ServerView, SessionView},
    telemetry::{
        Pin, Reason,
        exposition::{self, Exposition, Type},
    },
};
use listener::Bounded;

/// Connections at one time.
const CONNECTIONS: usize = 64;
/// How long a connection may neither send nor take a byte.
const SILENCE: Duration = Duration::from_secs(30);
/// How long connections may take to end after the shutdown.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a listener (TCP or Unix) until `shutdown` resolves, then at most a second more for answers under way.
///
/// # Errors
/// Those of the listener.
pub async fn serve<L>(listener: L, doors: Doors, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()>
where
    L: Listener<Addr: std::fmt::Debug>,
{
    let (closing, mut closed) = watch::channel(());
    let stop = async move {
        shutdown.await;
        drop(closing);
    };
    let farewell = async move {
        // Resolves with an error when `closing` is dropped: that is the signal.
        while closed.changed().await.is_ok() {}
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        served = axum::serve(Bounded::new(listener, CONNECTIONS, SILENCE), routes(doors)).with_graceful_shutdown(stop) => served,
        () = farewell => Ok(()),
    }
}

fn routes(doors: Doors) -> Router {
    Router::new()
        .route("/", get(dashboard))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/api/servers", get(servers))
        .route("/api/sessions", get(sessions))
        .route("/api/reasons", get(reasons))
        .with_state(doors)
}

/// The page may run its own script and ask this door, and nothing else: what a client calls itself stays text.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                           connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'";

async fn dashboard() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(include_str!("http/dashboard.html")))
}

async fn readyz(State(doors): State<Doors>) -> (StatusCode, String) {
    match &*doors.readiness.borrow() {
        Readiness::Ready => (StatusCode::OK, "ready\n".into()),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

async fn servers(State(doors): State<Doors>) -> Result<Uncached<Vec<ServerView>>, AskError> {
    Ok(Uncached(doors.ask(QUESTION, Control::Servers).await?))
}

async fn sessions(State(doors): State<Doors>) -> Result<Uncached<Vec<SessionView>>, AskError> {
    Ok(Uncached(doors.ask(QUESTION, Control::Sessions).await?))
}

/// The body of `/api/reasons`.
#[derive(Serialize)]
struct Reasons {
    reasons: Vec<Count>,
    pins: Vec<Count>,
}

#[derive(Serialize)]
struct Count {
    label: &'static str,
    count: u64,
}

async fn reasons(State(Doors { metrics, .. }): State<Doors>) -> Uncached<Reasons> {
    let reasons = Reason::ALL.iter().map(|reason| Count { label: reason.label(), count: metrics.reason(*reason) });
    let pins = Pin::ALL.iter().map(|pin| Count { label: pin.label(), count: metrics.pin(*pin) });
    Uncached(Reasons { reasons: reasons.collect(), pins: pins.collect() })
}

/// Counters are always there; what only the application knows is left out when it does not answer in time, and
/// `weir_responsive` says so.
async fn metrics(State(doors): State<Doors>) -> impl IntoResponse {
    let mut text = doors.metrics.exposition();
    text.family("build_info", Type::Gauge, "Always 1; the version is the label.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let ready = *doors.readiness.borrow() == Readiness::Ready;
    text.family("ready", Type::Gauge, "1 while new clients should be sent here.").sample(&[], u8::from(ready));
    let servers = doors.ask(QUESTION, Control::Servers).await;
    text.family("responsive", Type::Gauge, "1 if Weir said in time how its servers are.")
        .sample(&[], u8::from(servers.is_ok()));
    expose_servers(&mut text, &servers.unwrap_or_default());
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text.into_text())
}

/// Name, help, value of a gauge of one server; no value: not known.
type ServerGauge = (&'static str, &'static str, fn(&ServerView) -> Option<f64>);

const SERVER_GAUGES: &[ServerGauge] = &[
    ("server_up", "1 if the probes find the server healthy.", |server| {
        // `health` is a word, and after it what the last failure was.
        flag(server.health.split_whitespace().next() == Some("up"))
    }),
    ("server_writer", "1 if the server is the writer.", |server| flag(server.is_writer)),
    ("server_weight", "Share of the reads.", |server| Some(server.weight.into())),
    ("server_lag_seconds", "How far the server is behind the writer.", |server| {
        server.lag.map(|lag| lag.as_secs_f64())
    }),
    ("server_connections_limit", "Most connections at one time.", |server| Some(server.max_connections.into())),
];

fn flag(value: bool) -> Option<f64> {
    Some(u8::from(value).into())
}

fn expose_servers(text: &mut Exposition, servers: &[ServerView]) {
    for (name, help, gauge) in SERVER_GAUGES {
        let mut family = text.family(name, Type::Gauge, help);
        for server in servers {
            if let Some(value) = gauge(server) {
                family.sample(&[("server", &server.name)], value);
            }
        }
    }
    let mut connections = text.family("server_connections", Type::Gauge, "Open connections by what they do.");
    for server in servers {
        connections.sample(&[("server", &server.name), ("state", "idle")], server.connections_idle);
        connections.sample(&[("server", &server.name), ("state", "used")], server.connections_used);
    }
}

/// JSON that is true only now.
struct Uncached<T>(T);

impl<T: Serialize> IntoResponse for Uncached<T> {
    fn into_response(self) -> Response {
        const HEADERS: [(HeaderName, HeaderValue); 2] = [
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        (HEADERS, Json(self.0)).into_response()
    }
}

impl IntoResponse for AskError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Problem {
            error: String,
        }
        (StatusCode::SERVICE_UNAVAILABLE, Uncached(Problem { error: self.to_string() })).into_response()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::oneshot,
        time::timeout,
    };

    use super::*;
    use crate::admin::doors::tests::{doors, unanswered_doors};

    /// What a door on a port of its own answers to one GET: the head and the body.
    async fn fetch(doors: Doors, path: &str) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let served = tokio::spawn(serve(listener, doors, std::future::pending()));
        let request = format!("GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        served.abort();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn every_path_answers() {
        let cases = [
            ("/livez", "200", "alive\n"),
            ("/readyz", "200", "ready\n"),
            ("/", "200", "<!doctype html>"),
            ("/api/servers", "200", "\"name\":\"db2\""),
            ("/api/servers", "200", "\"role\":\"replica\""),
            ("/api/sessions", "200", "\"user\":\"app <b>\""),
            ("/api/reasons", "200", "{\"label\":\"locking-read\",\"count\":1}"),
            ("/metrics", "200", "\nweir_statements_total{reason=\"locking-read\"} 1\n"),
            ("/metrics", "200", "\nweir_server_up{server=\"db1\"} 1\n"),
            ("/metrics", "200", "\nweir_server_lag_seconds{server=\"db2\"} 1.5\n"),
            ("/metrics", "200", "\nweir_server_connections{server=\"db2\",state=\"idle\"} 2\n"),
            ("/metrics", "200", "\nweir_responsive 1\n"),
            ("/nowhere", "404", ""),
        ];
        for (path, status, part) in cases {
            let (doors, _ready) = doors();
            doors.metrics.shard(0).reason(Reason::LockingRead).inc();
            let (head, body) = fetch(doors, path).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
            assert!(body.contains(part), "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn readiness_says_why_not() {
        let (doors, ready) = doors();
        ready.send(Readiness::NotReady("no writer".into())).unwrap();
        let (head, body) = fetch(doors.clone(), "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(body, "not ready: no writer\n");
        assert!(fetch(doors, "/metrics").await.1.contains("\nweir_ready 0\n"));
    }

    #[tokio::test]
    async fn an_application_that_does_not_answer_is_a_503_and_keeps_its_counters() {
        let answers = tokio::join!(
            fetch(unanswered_doors(), "/api/servers"),
            fetch(unanswered_doors(), "/metrics"),
            fetch(unanswered_doors(), "/livez"),
        );
        assert!(answers.0.0.starts_with("HTTP/1.1 503 "), "{:?}", answers.0);
        assert_eq!(answers.0.1, "{\"error\":\"Weir did not answer within 2s\"}");
        assert!(answers.1.1.contains("\nweir_responsive 0\n"), "{:?}", answers.1);
        assert!(answers.2.0.starts_with("HTTP/1.1 200 "), "{:?}", answers.2);
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_a_client_in_the_middle() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let served = tokio::spawn(serve(listener, doors().0, shutdown));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /livez HTTP/1.1\r\nHost: weir\r\n\r\nGET /livez HTTP/1.1\r\n").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'H', "the first request is answered, the second is half there");
        stop.send(()).unwrap();
        timeout(FAREWELL * 10, served).await.expect("serve ends").unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
