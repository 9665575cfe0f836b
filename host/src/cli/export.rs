//! Options of the command that writes the file system of an image: `export`.

use std::path::{Path, PathBuf};

use clap::Args;

/// Options of `occystrap export`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportOptions {
    /// Where the image is, such as registry://docker.io/library/busybox:latest
    pub source: String,
    /// File for the tar, or '-' for standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

impl ExportOptions {
    /// Returns whether the tar goes to standard output.
    #[must_use]
    pub fn to_stdout(&self) -> bool {
        self.output == Path::new("-")
    }
}

const EXAMPLES: &str = "\
The tar has what a container of the image sees: all layers on each other, sorted by path. The same file
system gives the same bytes, whatever layers it is made of.

Examples:
  occystrap export registry://docker.io/library/busybox:latest -o rootfs.tar
  occystrap export tar:///tmp/app.tar -o - | tar -xp -C /srv/rootfs";
