//! Options of `occystrap mirror export` and `import`.

use std::path::PathBuf;

use clap::Args;

use super::{MirrorOptions, ReportFiles};

/// Options of `occystrap mirror export`.
#[derive(Args)]
#[command(after_help = EXPORTING)]
pub struct MirrorExportOptions {
    #[command(flatten)]
    pub mirror: MirrorOptions,
    /// Where the export goes: a new directory, or a file that ends with .tar
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// Leave out what the export of this run carried, and those that it builds on
    #[arg(long, value_name = "RUN")]
    pub since: Option<i64>,
}

/// Options of `occystrap mirror import`.
#[derive(Args)]
#[command(after_help = IMPORTING)]
pub struct MirrorImportOptions {
    /// The export: a directory, or a file that ends with .tar
    pub from: PathBuf,
    /// Where images go: registry://HOST[/PREFIX] or oci-layout:///PATH; each keeps its repository below it
    #[arg(long, value_name = "URI")]
    pub to: String,
    /// Ledger of the imports [default: NAME.import.ledger in the current directory, with the name of the mirror's file]
    #[arg(long, value_name = "PATH")]
    pub ledger: Option<PathBuf>,
    /// Exit with 3 if an image could not be confirmed
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub report: ReportFiles,
}

const EXPORTING: &str = "\
An export is an OCI image layout: every image that FILE names, from its source, with its platforms and referrers.
Beside it are the receipts of all images, SHA256SUMS ('sha256sum -c SHA256SUMS' checks every file), and
export.json, which is written last. Every file is read back before.

With --since RUN, images that are as they were are left out, and layers that the earlier exports carried. The run
number is in the last line of each export. Other readers cannot read such an image without the layers that were
left out.

A directory that a stopped export left is continued by the same command. An archive gets its name when it is
complete; one that was stopped begins anew.

Exit codes: 0 exported, or nothing has changed, 1 an image could not be exported: the others are in the export,
2 wrong command line or FILE, 130 stopped.

Examples:
  occystrap mirror export mirror.yaml --to /media/usb/week-1
  occystrap mirror export mirror.yaml --to /media/usb/week-2 --since 1
  skopeo inspect oci:/media/usb/week-1:hub/busybox:1.36";

const IMPORTING: &str = "\
The export is checked before anything is sent: every file has its digest, and every object of every image is
there. Each image is then loaded at its repository below the URI of --to, and verified there before its tag is
written. An import that was stopped goes on with the same command.

An export that builds on an earlier one (--since) is refused where the destination cannot have that one: the
ledger knows what was imported; a new ledger asks the destination. An older export is refused after a newer one.

Exit codes: 0 all done, 1 something failed, or the export is damaged, 2 wrong command line, or not this export
now, 3 UNCONFIRMED with --strict, 130 stopped (import again: it goes on).

Examples:
  occystrap mirror import /media/usb/week-1 --to registry://registry.example.com/mirror
  occystrap mirror import week-1.tar --to registry://localhost:5000 --insecure --report html=import.html
  occystrap mirror verify /media/usb/week-1/mirror/mirror.yaml --ledger mirror.yaml.import.ledger";
