//! `occystrap verify`: its options.

use std::path::PathBuf;

use clap::Args;

use occystrap_base::limits::{UNTRUSTED_BATCH_TIME, UNTRUSTED_TIME};

/// `occystrap verify`.
#[derive(Args)]
#[command(after_help = UNTRUSTED)]
pub struct Verify {
    /// Receipts, or what was written: dir://, tar://, oci-layout://, registry://, docker://; -J of
    /// them side by side
    #[arg(value_name = "TARGET|RECEIPT", required = true)]
    pub targets: Vec<String>,
    /// Look that everything is there with its size, without reading every byte
    #[arg(long)]
    pub fast: bool,
    /// Read every byte back and hash it, as without this option
    #[arg(long, conflicts_with = "fast")]
    pub full: bool,
    /// Neither the receipts nor their plugins are trusted: a line of JSON for each receipt, as it
    /// comes, -J of them side by side; what the host has not seen itself is UNCONFIRMED
    #[arg(long, conflicts_with = "fast")]
    pub untrusted: bool,
    /// With --untrusted: receipts may be about what is in this folder, however deep; may be repeated
    #[arg(long, value_name = "DIR", requires = "untrusted")]
    pub root: Vec<PathBuf>,
    /// With --untrusted: receipts may be about repositories of this registry; may be repeated
    #[arg(long, value_name = "HOST[:PORT]", requires = "untrusted")]
    pub allow_registry: Vec<String>,
    /// Receipts may be about what is on this web server: HTTPS, or http://HOST:PORT for plain HTTP;
    /// also an address or a network (10.0.0.0/8) that is not public and that a name may lead to; may
    /// be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow_net: Vec<String>,
    /// With --untrusted: seconds that one receipt may take
    #[arg(long, value_name = "SECONDS", requires = "untrusted", default_value_t = UNTRUSTED_TIME.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub time_limit: u64,
    /// With --untrusted: seconds that all of them may take together
    #[arg(long, value_name = "SECONDS", requires = "untrusted", default_value_t = UNTRUSTED_BATCH_TIME.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_time_limit: u64,
}

const UNTRUSTED: &str = "\
All that was ever mirrored:
  occystrap verify --fast receipts/*.json

Receipts of other people, on a shared host:
  occystrap verify --untrusted --root /srv/images /srv/receipts/*.json

Exit codes: 0 all verified, 1 something FAILED or is no receipt, 3 could not check.";
