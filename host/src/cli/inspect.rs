//! Commands that look at images, and write nothing: `check`, `info`, `search`.

use clap::Args;

/// `occystrap check`.
#[derive(Args)]
#[command(after_help = SOURCES)]
pub struct Check {
    /// Where the image is, such as registry://docker.io/library/busybox:latest
    pub source: String,
    /// Look at manifest and config, and fetch no layer
    #[arg(long)]
    pub fast: bool,
    /// Check every platform of each image and the index that lists them; for registry:// and
    /// oci-layout://
    #[arg(long)]
    pub all_platforms: bool,
}

/// `occystrap info`.
#[derive(Args)]
#[command(after_help = SOURCES)]
pub struct Info {
    /// Where the image is, such as registry://docker.io/library/busybox:latest
    pub source: String,
    /// Show where its bytes are: the largest directories of each layer, and files that a later
    /// layer deletes or replaces; reads every layer
    #[arg(long)]
    pub tree: bool,
}

/// `occystrap search`.
#[derive(Args)]
#[command(after_help = "\
Patterns fit the whole path of a file, or its name alone. '*' is any text, slashes included, '?' one
character, '[a-z]' one of several, '{a,b}' one of two. A regular expression (--regex) fits any part
of the path.

Examples:
  occystrap search tar:///tmp/app.tar 'libssl*'
  occystrap search registry://docker.io/library/busybox:latest 'bin/*sh'
  occystrap search --regex dir:///srv/images '\\.py$'")]
pub struct Search {
    /// Where the images are: registry://, docker://, tar://, dir:// or oci-layout://
    pub source: String,
    /// What to look for
    pub pattern: String,
    /// The pattern is a regular expression
    #[arg(long)]
    pub regex: bool,
    /// A line a file: IMAGE:TAG:LAYER:PATH
    #[arg(long)]
    pub script_friendly: bool,
}

/// What `info` and `check` read.
const SOURCES: &str = "\
Sources:
  registry://HOST[:PORT]/IMAGE[:TAG][@sha256:...]   ?arch= &os= &variant= &insecure=true
  docker://IMAGE[:TAG]    an image in Docker or Podman, by name or ID   ?socket=PATH
  tar://PATH    docker-save and OCI archives, compressed or not   ?image=NAME[:TAG]
  dir://PATH    what the output dir wrote                         ?image=NAME[:TAG]
  oci-layout://PATH[:TAG]    an OCI image layout                  ?image=NAME[:TAG]";
