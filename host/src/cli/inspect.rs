//! Options of the commands that read images and write nothing: `check`, `info`, `search`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
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
        value_parser = PossibleValuesParser::new(RULES.into_iter().filter(|rule| *rule != "source")))]
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
    /// Show so many entries of each layer and so many wasted files, however small they are
    /// [default: the largest for text, all for -O json]
    #[arg(long, requires = "tree", conflicts_with = "html", value_name = "N", value_parser = clap::value_parser!(u32).range(1..).map(|top| top as usize))]
    pub top: Option<usize>,
    /// Exit with 1 if this holds, such as 'efficiency<0.9' or 'wasted>50MB': efficiency, wasted,
    /// wasted-share, size, dive-wasted, dive-user-wasted; can be repeated
    #[arg(long, requires = "tree", conflicts_with = "html", value_name = "RULE")]
    pub fail_if: Vec<String>,
    /// Exit with 1 if a rule of this .dive-ci file fails: lowestEfficiency, highestWastedBytes,
    /// highestUserWastedPercent
    #[arg(long, requires = "tree", conflicts_with = "html", value_name = "FILE")]
    pub dive_ci: Option<PathBuf>,
    /// Write a page for a browser instead: maps of where the bytes are, waste, steps, and the findings of
    /// 'check'; reads every layer. A page that is there is replaced, another file is not
    #[arg(long, value_name = "FILE", conflicts_with = "tree")]
    pub html: Option<PathBuf>,
}

/// Options of `occystrap explore`.
#[derive(Args)]
#[command(after_help = EXPLORE)]
pub struct ExploreOptions {
    /// Where the image is, such as registry://docker.io/library/busybox:latest
    pub source: String,
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
  occystrap search --regex dir:///srv/images '\\.py$'
  occystrap search --layer 3 tar:///tmp/app.tar '*'
  occystrap search -O json tar:///tmp/app.tar '*'    the complete list of files")]
pub struct SearchOptions {
    /// Where the images are: registry://, docker://, tar://, dir:// or oci-layout://
    pub source: String,
    /// Pattern of the files to find
    pub pattern: String,
    /// Use the pattern as a regular expression
    #[arg(long)]
    pub regex: bool,
    /// Search only this layer: 1 for the lowest, as in the output
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..).map(|layer| layer as usize))]
    pub layer: Option<usize>,
    /// Print one line per file: IMAGE:TAG:LAYER:PATH
    #[arg(long)]
    pub script_friendly: bool,
}

/// Help of `explore`.
const EXPLORE: &str = "\
Keys:
  Tab             go from the layers to the files and back
  arrows, h j k l  select; open and close directories
  m               the image after the selected layer, or only its changes (A added, M replaced, D deleted)
  /               show only names with a text; with a slash, paths
  s               sort by size or by name
  e               export the selected file
  c               the findings of check
  ?               all keys
  q               end

Every layer is read and checked first. 'occystrap info --tree' and 'occystrap info --html' show the same
without a terminal.

Examples:
  occystrap explore registry://docker.io/library/busybox:latest
  occystrap explore docker://app:1.4
  occystrap explore 'tar:///tmp/all.tar?image=app:1.4'";

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
