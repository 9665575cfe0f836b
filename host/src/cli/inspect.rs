//! Options of the commands that read images and write nothing: `check`, `info`, `search`.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use occystrap_images::check::{Gate, RULES, Severity};

/// The text about the sources of `info` and `check`.
macro_rules! sources {
    () => {
        "\
Sources:
  registry://HOST[:PORT]/IMAGE[:TAG][@sha256:...]   ?arch= &os= &variant= &insecure=true
  docker://IMAGE[:TAG]    an image in Docker or Podman, by name or ID   ?socket=PATH
  tar://PATH    docker-save and OCI archives, compressed or not   ?image=NAME[:TAG]
  dir://PATH    a directory that occystrap wrote                  ?image=NAME[:TAG]
  oci-layout://PATH[:TAG]    an OCI image layout                  ?image=NAME[:TAG]"
    };
}

/// Options of `occystrap check`.
#[derive(Args)]
#[command(after_help = CHECK)]
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
    /// Fail (exit code 1) for findings of this severity and of worse ones
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Error)]
    pub fail_on: FailOn,
    /// Ignore the findings of a rule, such as world-writable: they are counted, and neither
    /// reported nor a reason to fail; several rules with commas, or the option again
    #[arg(long, value_name = "RULE", value_delimiter = ',', hide_possible_values = true,
        value_parser = PossibleValuesParser::new(RULES))]
    pub ignore: Vec<String>,
}

impl CheckOptions {
    /// Returns which findings make the check fail.
    #[must_use]
    pub fn gate(&self) -> Gate {
        let fail_on = match self.fail_on {
            FailOn::Error => Severity::Error,
            FailOn::Warning => Severity::Warning,
            FailOn::Info => Severity::Info,
        };
        Gate { fail_on, ignored: self.ignore.iter().cloned().collect() }
    }
}

/// The least severity for which `check` fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// An error: an engine refuses the image, or the image is not what it promises
    Error,
    /// A warning: the image does not work everywhere, or something is probably not intended
    Warning,
    /// A note: nothing is wrong
    Info,
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

/// What follows the options of `check`.
const CHECK: &str = concat!(
    "\
Exit codes:
  0  nothing of the severity of --fail-on was found
  1  something was found, or the command failed
  3  nothing was found, but something could not be checked

Examples:
  occystrap check tar:///tmp/app.tar
  occystrap check --fail-on warning --ignore world-writable,setuid oci-layout:///srv/app

Every rule has its name, its severity and the engines that refuse the image in docs/inspecting.md.

",
    sources!()
);

/// Sources of `info`.
const SOURCES: &str = sources!();
