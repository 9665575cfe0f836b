//! The page of `--metrics`: numbers of the run in the text format of Prometheus, and whether the proxy takes requests.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::shared::Shared;
use occystrap_serve::listener::Answers;
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::reply::{self, Body, Reply};

/// Media type of the page (Prometheus, "Exposition formats").
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page.
pub struct MetricsPage {
    /// What is shown.
    pub shared: Arc<Shared>,
    /// Whether the proxy is being stopped.
    pub is_stopping: Arc<AtomicBool>,
}

impl Answers for MetricsPage {
    async fn answer(&self, request: Request<Incoming>, _address: IpAddr) -> Reply {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/metrics" if is_read => {
                reply::content(TEXT, Body::from(Bytes::from(page(&self.shared))))
            }
            "/healthz" if is_read => self.health(),
            _ => Refusal::not_found(Code::Unsupported, "/metrics and /healthz are here").reply(),
        }
    }
}

impl MetricsPage {
    fn health(&self) -> Reply {
        let (status, text) = match self.is_stopping.load(Ordering::Relaxed) {
            false => (StatusCode::OK, "ok\n"),
            true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        };
        let mut reply = reply::content(TEXT, Body::from(Bytes::from_static(text.as_bytes())));
        *reply.status_mut() = status;
        reply
    }
}

/// Returns the numbers of a run.
fn page(shared: &Shared) -> String {
    let mut page = Page(String::new());
    let counts = &shared.counts;
    page.family("requests_total", "counter", "Requests of clients, by class and status.");
    for ((class, status), count) in counts.requests() {
        page.sample("requests_total", &format!("{{class=\"{class}\",status=\"{status}\"}}"), count);
    }
    page.family("images_total", "counter", "Images that were moved, by verdict.");
    for (verdict, count) in counts.images() {
        page.sample("images_total", &format!("{{verdict=\"{verdict}\"}}"), count);
    }
    let in_work = shared.options.concurrency - shared.working.available_permits();
    let room = shared.blobs.room();
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    page.one(
        "move_seconds_total",
        "counter",
        "Time in which images were moved and verified.",
        seconds(counts.work()),
    );
    page.one(
        "verification_seconds_total",
        "counter",
        "Time in which images were verified.",
        seconds(counts.verification()),
    );
    page.one(
        "received_bytes_total",
        "counter",
        "Bytes of blobs from clients and upstream registries.",
        room.total(),
    );
    page.one(
        "sent_bytes_total",
        "counter",
        "Bytes of blobs sent to the downstream registry.",
        counts.sent(),
    );
    page.one(
        "relayed_bytes_total",
        "counter",
        "Bytes of blobs of the downstream registry that clients got.",
        counts.relayed_bytes(),
    );
    page.one("spool_bytes", "gauge", "Bytes of blobs on the disk.", room.used());
    page.one("images_in_work", "gauge", "Images that are being moved.", in_work);
    page.one(
        "images_waiting",
        "gauge",
        "Images that wait for others.",
        shared.taken().saturating_sub(in_work),
    );
    page.0
}

/// A page in the text format of Prometheus.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes all text.
        let _ = writeln!(
            self.0,
            "# HELP occystrap_proxy_{name} {help}\n# TYPE occystrap_proxy_{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "occystrap_proxy_{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }
}
