//! Options of `occystrap verify`.

use std::path::PathBuf;

use clap::Args;

use occystrap_base::limits::{UNTRUSTED_BATCH_TIME, UNTRUSTED_TIME};

/// Options of `occystrap verify`.
#[derive(Args)]
#[command(after_help = UNTRUSTED)]
pub struct VerifyOptions {
    /// Receipts, or destinations: dir://, tar://, oci-layout://, registry://, docker://; -J sets how
    /// many are verified in parallel
    #[arg(value_name = "TARGET|RECEIPT", required = true)]
    pub targets: Vec<String>,
    /// Check only that everything exists with the right size, without reading every byte
    #[arg(long)]
    pub fast: bool,
    /// Read every byte back and hash it; this is the default
    #[arg(long, conflicts_with = "fast")]
    pub full: bool,
    /// Trust neither the receipts nor their plugins: prints one line of JSON for each receipt; what
    /// occystrap has not checked itself is UNCONFIRMED
    #[arg(long, conflicts_with = "fast")]
    pub untrusted: bool,
    /// With --untrusted: accept receipts for destinations in this folder, at any depth; may be repeated
    #[arg(long, value_name = "DIR", requires = "untrusted")]
    pub root: Vec<PathBuf>,
    /// With --untrusted: accept receipts for repositories of this registry; may be repeated
    #[arg(long, value_name = "HOST[:PORT]", requires = "untrusted")]
    pub allow_registry: Vec<String>,
    /// Accept receipts for destinations on this web server: HTTPS, or http://HOST:PORT for plain HTTP;
    /// or a private address or network (10.0.0.0/8) that names may resolve to; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow_net: Vec<String>,
    /// With --untrusted: time limit for one receipt, in seconds
    #[arg(long, value_name = "SECONDS", requires = "untrusted", default_value_t = UNTRUSTED_TIME.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub time_limit: u64,
    /// With --untrusted: time limit for all receipts together, in seconds
    #[arg(long, value_name = "SECONDS", requires = "untrusted", default_value_t = UNTRUSTED_BATCH_TIME.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_time_limit: u64,
}

const UNTRUSTED: &str = "\
Verify everything that was mirrored:
  occystrap verify --fast receipts/*.json

Verify receipts of other users, on a shared host:
  occystrap verify --untrusted --root /srv/images /srv/receipts/*.json

Exit codes: 0 all verified, 1 something FAILED or is not a receipt,
3 something could not be checked.";
