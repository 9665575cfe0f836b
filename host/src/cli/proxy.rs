//! Options of `occystrap proxy`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::quantity::{age, bytes};
use super::{CompressionName, Global, LevelName};
use crate::proxy::downstream::Downstream;
use crate::proxy::options;
use crate::proxy::upstream::Upstreams;
use occystrap_base::error::Result;
use occystrap_images::level::Level;
use occystrap_serve::limits::ROOM;

/// The port where none is named.
const PORT: u16 = 5050;

/// Options of `occystrap proxy`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ProxyOptions {
    /// Address and port where clients connect; port 0 is any free one. Without a port: 5050
    #[arg(short, long, value_name = "ADDRESS[:PORT]", default_value = "127.0.0.1:5050", value_parser = address)]
    pub listen: SocketAddr,
    /// Registry to which images go, with a prefix for their names where one is wanted
    #[arg(short, long, value_name = "HOST[:PORT][/PREFIX]")]
    pub downstream: String,
    /// Registry from which clients pull what is not downstream; may be repeated. Clients name it in '?ns=' or as the first
    /// part of the name; the first one is for names without a registry
    #[arg(short, long, value_name = "[USER:PASSWORD@]HOST[:PORT]")]
    pub upstream: Vec<String>,
    /// How long a tag of an upstream registry counts as unchanged
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = age, requires = "upstream")]
    pub recheck: u64,
    /// What clients get where the upstream registry fails or no longer has the image: the stored copy, or the failure
    #[arg(long, value_name = "WHAT", default_value = "serve", requires = "upstream")]
    pub when_upstream_fails: WhenUpstreamFails,
    /// How long a client waits for an image that filters change, before it gets 503 with `Retry-After`
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = age, requires = "upstream")]
    pub answer_within: u64,
    /// Filter that changes images: NAME or NAME:OPTION=VALUE,... ; may be repeated, and filters are applied in this
    /// order. 'occystrap process --help' lists them
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Images that are moved at the same time
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Verify what was written: 'fast' checks that everything exists with the right size, 'full' also
    /// reads every byte back and hashes it
    #[arg(long, value_name = "LEVEL", default_value = "fast")]
    pub verify: LevelName,
    /// An image that is UNCONFIRMED is a failure: its client gets 503 instead of 201 with a warning
    #[arg(long)]
    pub strict: bool,
    /// Write a receipt of each image to this folder, for 'occystrap verify FILE'
    #[arg(long, value_name = "DIR")]
    pub receipts: Option<PathBuf>,
    /// Show numbers of the run at http://ADDRESS:PORT/metrics, for Prometheus, and /healthz
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pub metrics: Option<SocketAddr>,
    /// Certificate of the endpoint, in PEM; clients then connect with HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Logins of clients, as 'htpasswd -B' writes them
    #[arg(long, value_name = "FILE")]
    pub htpasswd: Option<PathBuf>,
    /// Let clients of other hosts connect without TLS
    #[arg(long)]
    pub allow_plain: bool,
    /// Let clients of other hosts connect without a login
    #[arg(long)]
    pub allow_anyone: bool,
    /// Let clients delete manifests, tags and blobs in the downstream registry
    #[arg(long)]
    pub allow_delete: bool,
    /// How much received blobs may take in the folder of --temp-dir, such as 20G
    #[arg(long, value_name = "SIZE", default_value_t = ROOM, value_parser = bytes, hide_default_value = true)]
    pub spool_size: u64,
    /// How long an image can be pulled by the digest that was pushed, where filters changed it
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = age)]
    pub remember: u64,
    /// How long images that have begun are finished after Ctrl-C or SIGTERM; a second signal ends at once
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = age)]
    pub grace: u64,
}

/// What clients get where the upstream registry fails.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenUpstreamFails {
    /// The stored image, with a warning
    Serve,
    /// The failure
    Fail,
}

const EXAMPLES: &str = "\
A client pushes HOST:PORT/NAME:TAG and the image goes to DOWNSTREAM/NAME:TAG. The push succeeds only
when the copy there is verified. Logins to the downstream registry are those of every command
(--username, --authfile, 'docker login').

Images are filtered, each image that an index lists as well; artifacts go to the registry as they are.
With --upstream, clients also pull: what they get is stored as DOWNSTREAM/UPSTREAM/NAME. A client of another host needs TLS and a login (--tls-cert, --tls-key, --htpasswd).

With -O jsonl, each line of standard output is an event: listening, image, stopping, stopped.

Exit codes: 0 stopped and every image is verified, 1 an image failed, 2 wrong command line,
3 UNCONFIRMED with --strict.

Examples:
  occystrap proxy --downstream registry.example.com/team -f normalize-timestamps
  occystrap proxy --downstream registry.example.com/cache --upstream docker.io --upstream quay.io
  docker tag app 127.0.0.1:5050/app && docker push 127.0.0.1:5050/app";

impl ProxyOptions {
    /// Returns the options of the proxy. Errors when the downstream registry is none.
    pub fn settings(&self, global: &Global) -> Result<options::ProxyOptions> {
        Ok(options::ProxyOptions {
            listen: self.listen,
            metrics: self.metrics,
            tls: self.tls_cert.clone().zip(self.tls_key.clone()),
            htpasswd: self.htpasswd.clone(),
            allow_plain: self.allow_plain,
            allow_anyone: self.allow_anyone,
            downstream: Downstream::parse(&self.downstream)?,
            upstreams: Upstreams::parse(&self.upstream)?,
            recheck: Duration::from_secs(self.recheck),
            answer_within: Duration::from_secs(self.answer_within),
            serves_stale: self.when_upstream_fails == WhenUpstreamFails::Serve,
            filters: self.filter.clone(),
            compression: global.compression.map(CompressionName::value),
            level: match self.verify {
                LevelName::Fast => Level::Fast,
                LevelName::Full => Level::Full,
            },
            strict: self.strict,
            receipts: self.receipts.clone(),
            layer_cache: global.layer_cache.clone(),
            concurrency: self.concurrency.into(),
            spool_size: self.spool_size,
            remember: Duration::from_secs(self.remember),
            allow_delete: self.allow_delete,
            grace: Duration::from_secs(self.grace),
        })
    }
}

/// Parses an address with or without a port. `localhost` is 127.0.0.1.
fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost") {
        Some(rest) => format!("127.0.0.1{rest}"),
        None => text.to_owned(),
    };
    let ip = numeric.trim_start_matches('[').trim_end_matches(']');
    match (numeric.parse(), ip.parse()) {
        (Ok(address), _) => Ok(address),
        (_, Ok(ip)) => Ok(SocketAddr::new(ip, PORT)),
        _ => {
            Err(format!("expected an address such as 127.0.0.1:5050 or [::1]:5050, found '{text}'"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_no_port() {
        for (text, expected) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1", "127.0.0.1:5050"),
            ("localhost:7", "127.0.0.1:7"),
            ("[::1]:5055", "[::1]:5055"),
            ("::1", "[::1]:5050"),
            ("[::1]", "[::1]:5050"),
            ("0.0.0.0", "0.0.0.0:5050"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected, "{text}");
        }
        for wrong in ["", "host:5050", "127.0.0.1:x", "127.0.0.1:70000"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
