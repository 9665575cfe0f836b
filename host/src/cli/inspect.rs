//! Options of the commands that read images and write nothing: `check`, `info`, `search`.

use clap::Args;

/// Options of `occystrap check`.
#[derive(Args)]
#[command(after_help = SOURCES)]
pub struct CheckOptions {
    /// Where the image is, such as registry://docker.io/library/busybox:latest
    pub source: String,
    /// Check manifest and config only; fetches no layer
    #[arg(long)]
    pub fast: bool,
    /// Check every platform of each image and the index that lists them; for registry:// and
    /// oci-layout:// sources
    #[arg(long)]
    pub all_platforms: bool,
}

/// Options of `occystrap info`.
#[derive(Args)]
#[command(after_help = SOURCES)]
pub struct InfoOptions {
    /// Where the image is, such as registry://docker.io/library/busybox:latest
    pub source: String,
    /// Show what takes space: the largest directories of each layer, and files that a later layer
    /// deletes or replaces; reads every layer
    #[arg(long)]
    pub tree: bool,
}

/// Options of `occystrap search`.
#[derive(Args)]
#[command(after_help = "\
A pattern matches the whole path of a file, or only its name. '*' matches any text including slashes,
'?' one character, '[a-z]' one character of a range, '{a,b}' one of two texts. A regular expression
(--regex) matches any part of the path.

Examples:
  occystrap search tar:///tmp/app.tar 'libssl*'
  occystrap search registry://docker.io/library/busybox:latest 'bin/*sh'
  occystrap search --regex dir:///srv/images '\\.py$'")]
pub struct SearchOptions {
    /// Where the images are: registry://, docker://, tar://, dir:// or oci-layout://
    pub source: String,
    /// Pattern of the files to find
    pub pattern: String,
    /// Use the pattern as a regular expression
    #[arg(long)]
    pub regex: bool,
    /// Print one line per file: IMAGE:TAG:LAYER:PATH
    #[arg(long)]
    pub script_friendly: bool,
}

/// Sources of `info` and `check`.
const SOURCES: &str = "\
Sources:
  registry://HOST[:PORT]/IMAGE[:TAG][@sha256:...]   ?arch= &os= &variant= &insecure=true
  docker://IMAGE[:TAG]    an image in Docker or Podman, by name or ID   ?socket=PATH
  tar://PATH    docker-save and OCI archives, compressed or not   ?image=NAME[:TAG]
  dir://PATH    a directory that occystrap wrote                  ?image=NAME[:TAG]
  oci-layout://PATH[:TAG]    an OCI image layout                  ?image=NAME[:TAG]";
