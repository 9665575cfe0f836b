//! The command line: what there is to say, and what it means.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::Error;
use crate::input::{DEFAULT_ARCHITECTURE, DEFAULT_OS};
use crate::plugin::limits::{UNTRUSTED_BATCH_TIME, UNTRUSTED_TIME};
use crate::verify::Level;

const EXAMPLES: &str = "\
Examples:
  Mirror an image into a directory, and prove that it landed:
    occystrap process registry://docker.io/library/busybox:latest dir:///srv/images

  Make an archive for 'docker load' from a private registry, reading every byte back:
    occystrap process --verify=full registry://registry.example.com/team/app:1.4 tar:///tmp/app.tar

  Look again a month later:
    occystrap verify dir:///srv/images

  Look at receipts of people whom you do not trust, on a shared host:
    occystrap verify --untrusted --root /srv/images /srv/receipts/*.json

  See which outputs there are, and add one of somebody else:
    occystrap plugin list
    occystrap plugin add ./inventory.wasm

Exit codes: 0 all is well, 1 something failed, 2 the command line is wrong,
3 something could not be checked (verify; process with --strict).";

/// Moves container images and proves that they landed.
#[derive(Parser)]
#[command(name = "occystrap", version, about, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What holds for all commands.
    #[command(flatten)]
    pub global: Global,
    /// What 0.4.17 took before the command.
    #[command(flatten)]
    before: Before,
}

/// Options of `process` that 0.4.17 took before the command, and for all commands. Said behind it
/// they are [`Process`]'s, and go first.
#[derive(Args)]
struct Before {
    #[arg(id = "before-verify", long = "verify", hide = true, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "fast", conflicts_with = "before-no-verify")]
    verify: Option<LevelName>,
    #[arg(id = "before-verify-full", long = "verify-full", hide = true, conflicts_with_all = ["before-no-verify", "before-verify"])]
    verify_full: bool,
    #[arg(id = "before-no-verify", long = "no-verify", hide = true)]
    no_verify: bool,
}

impl Cli {
    /// With what was said before the command where it belongs.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if let Command::Process(process) = &mut self.command
            && !process.no_verify
            && !process.verify_full
            && process.verify.is_none()
        {
            let Before { verify, verify_full, no_verify } = self.before;
            (process.verify, process.verify_full, process.no_verify) =
                (verify, verify_full, no_verify);
        }
        self
    }
}

/// Options that may stand before or after the command.
#[derive(Args)]
pub struct Global {
    /// Say more: each step
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Say everything, each request included; never a password or token
    #[arg(long, global = true)]
    pub debug: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Operating system of the image to choose from several
    #[arg(long, global = true, value_name = "OS", default_value = DEFAULT_OS)]
    pub os: String,
    /// Architecture of the image to choose from several
    #[arg(long, global = true, value_name = "ARCH", default_value = DEFAULT_ARCHITECTURE)]
    pub architecture: String,
    /// Variant of the architecture, such as v7; the usual one when not given
    #[arg(long, global = true, value_name = "VARIANT")]
    pub variant: Option<String>,
    /// User at the registry
    #[arg(
        long,
        global = true,
        value_name = "USER",
        env = "OCCYSTRAP_USERNAME",
        hide_env_values = true
    )]
    pub username: Option<String>,
    /// Password or access token at the registry; the environment is a safer place for it
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        env = "OCCYSTRAP_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// Credentials in Docker's form, instead of ~/.docker/config.json
    #[arg(long, global = true, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Logins for web servers, as curl takes them, instead of $NETRC and ~/.netrc
    #[arg(long, global = true, value_name = "FILE")]
    pub netrc_file: Option<PathBuf>,
    /// Speak plain HTTP to the registry
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Certificates (PEM) to trust besides the system's
    #[arg(long, global = true, value_name = "FILE", env = "OCCYSTRAP_CA_BUNDLE")]
    pub ca_bundle: Option<PathBuf>,
    /// Layers that are fetched side by side
    #[arg(short = 'j', long, global = true, value_name = "N", default_value_t = 4, env = "OCCYSTRAP_PARALLEL", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parallel: u16,
    /// Images that are moved side by side, where the source holds several
    #[arg(short = 'J', long, global = true, value_name = "N", default_value_t = 3, env = "OCCYSTRAP_IMAGE_PARALLEL", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub image_parallel: u16,
    /// Where downloads wait for their turn, instead of the system's temporary folder
    #[arg(long, global = true, value_name = "DIR", env = "OCCYSTRAP_TEMP_DIR")]
    pub temp_dir: Option<PathBuf>,
    /// How often a request that failed for a passing reason is made again
    #[arg(long, global = true, value_name = "N", default_value_t = 3, env = "OCCYSTRAP_RETRIES", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,
    /// Requests a second to one registry host, at most
    #[arg(long, global = true, value_name = "N", env = "OCCYSTRAP_RATE_LIMIT")]
    pub rate_limit: Option<f64>,
    /// Results as text, or as one JSON document on standard output
    #[arg(short = 'O', long, global = true, value_name = "FORMAT", default_value = "text")]
    pub output_format: OutputFormat,
    /// Use an output plugin from a file, for this run
    #[arg(long, global = true, value_name = "FILE")]
    pub plugin: Vec<PathBuf>,
    /// Where added plugins are kept, instead of ~/.local/share/occystrap/plugins
    #[arg(long, global = true, value_name = "DIR", env = "OCCYSTRAP_PLUGIN_DIR")]
    pub plugin_dir: Option<PathBuf>,
    /// Compress layers so, for a registry or an OCI image layout; layers that are so already keep
    /// their bytes [default: as they are, and gzip where they are plain]
    #[arg(long, global = true, value_name = "HOW", env = "OCCYSTRAP_COMPRESSION")]
    pub compression: Option<CompressionName>,
    /// Remember in this file what became of layers, so that those which the destination still has
    /// are neither fetched nor filtered nor compressed again; not for docker://
    #[arg(long, global = true, value_name = "FILE", env = "OCCYSTRAP_LAYER_CACHE")]
    pub layer_cache: Option<PathBuf>,
}

/// How layers are compressed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionName {
    /// Every client reads it.
    Gzip,
    /// Smaller and faster; clients since 2021 read it.
    Zstd,
}

impl CompressionName {
    /// As an option of an output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How results are shown.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Whether somebody wanted a document, where the command line could not be parsed.
#[must_use]
pub fn asks_for_json(arguments: &[String]) -> bool {
    let names = ["-O", "--output-format"];
    let joined = |word: &str| {
        names.iter().any(|name| {
            word.strip_prefix(name).is_some_and(|rest| rest.trim_start_matches('=') == "json")
        })
    };
    arguments.iter().any(|word| joined(word))
        || arguments.windows(2).any(|pair| names.contains(&pair[0].as_str()) && pair[1] == "json")
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Move images from a source to a destination, and verify what was written
    Process(Process),
    /// Verify what was written earlier
    Verify(Verify),
    /// Check whether an image is right: what its manifest, config and layers promise, and every
    /// member of each layer
    Check(Check),
    /// Describe an image: platform, digests, layers, how it runs; no layer is fetched
    Info(Info),
    /// Find files in the layers of an image
    Search(Search),
    /// Show the output plugins and what each may do; add and remove others
    Plugin {
        /// What about them.
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for 'man -l'; or write one for each command
    Man {
        /// Write occystrap.1, occystrap-process.1 and so on to this folder
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// `occystrap process`.
#[derive(Args)]
#[command(after_help = "\
Sources:
  registry://HOST[:PORT]/IMAGE[:TAG][@sha256:...]   ?arch= &os= &variant= &insecure=true
  docker://IMAGE[:TAG]    an image in Docker or Podman, by name or ID   ?socket=PATH
  tar://PATH    docker-save and OCI archives, compressed or not   ?image=NAME[:TAG]
  dir://PATH    what the output dir wrote                         ?image=NAME[:TAG]
  oci-layout://PATH[:TAG]    an OCI image layout                  ?image=NAME[:TAG]

Destinations:
  dir://PATH    a directory, one plain tar a layer   ?unique_names=true &checksums=true
  tar://PATH    an archive for 'docker load', 'podman load' and skopeo
  oci-layout://PATH[:TAG]    an OCI image layout     ?compression=gzip|zstd
  registry://HOST[:PORT]/IMAGE[:TAG]    an image at a registry
                ?compression=gzip|zstd &chunk_size=8M &insecure=true
  docker://IMAGE[:TAG]    an image in Docker or Podman, under that name   ?socket=PATH

Filters:
  normalize-timestamps   every time becomes 1970, or that of SOURCE_DATE_EPOCH
                :ts=SECONDS,config=true (times in the config as well)
  exclude:pattern=GLOB   leaves out what matches, and what is beneath it
                * ? [a-z] {a,b}; * crosses slashes: '*.pyc', 'usr/share/doc', '**/.git'
  search:pattern=GLOB    prints what matches, and changes nothing
                ,regex=true,script_friendly=true   as 'occystrap search' does it
  inspect:file=PATH      appends a line of JSON about the image")]
pub struct Process {
    /// Where the images are, such as registry://docker.io/library/busybox:latest
    pub source: String,
    /// Where they go, such as dir:///srv/images or tar:///tmp/busybox.tar
    pub destination: String,
    /// Change images on their way, or look into them: NAME or NAME:OPTION=VALUE,... ; may be
    /// repeated, and the order counts
    #[arg(short, long, value_name = "FILTER", conflicts_with = "all_platforms")]
    pub filter: Vec<String>,
    /// Move every platform of each image and the index that lists them, byte for byte; for
    /// registry:// and oci-layout://
    #[arg(long, conflicts_with_all = ["os", "architecture", "variant"])]
    pub all_platforms: bool,
    /// Verify what was written: 'fast' looks that everything is there with its size, 'full' also
    /// reads every byte back and hashes it [default: fast]
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "fast", conflicts_with = "no_verify")]
    pub verify: Option<LevelName>,
    /// The same as --verify=full
    #[arg(long, conflicts_with_all = ["no_verify", "verify"])]
    pub verify_full: bool,
    /// Do not verify; the summary says so
    #[arg(long)]
    pub no_verify: bool,
    /// Exit with 3 when something could not be confirmed
    #[arg(long)]
    pub strict: bool,
    /// Write down what must be found at the destination, for 'occystrap verify FILE'
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Let the output plugin ask this web server, besides the destination: HTTPS, or http://HOST:PORT
    /// for plain HTTP; also an address or a network (10.0.0.0/8) that is not public and that a name
    /// may lead to; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow_net: Vec<String>,
    /// Wait until the destination is on the disk, so that it survives a power failure
    #[arg(long)]
    pub fsync: bool,
}

/// `occystrap verify`.
#[derive(Args)]
#[command(after_help = UNTRUSTED)]
pub struct Verify {
    /// A receipt, or what was written: dir://, tar://, oci-layout://, registry://, docker://
    #[arg(value_name = "TARGET|RECEIPT")]
    pub target: String,
    /// More receipts, with --untrusted
    #[arg(value_name = "RECEIPT", requires = "untrusted")]
    pub more: Vec<String>,
    /// Look that everything is there with its size, without reading every byte
    #[arg(long)]
    pub fast: bool,
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
Receipts of other people, on a shared host:
  occystrap verify --untrusted --root /srv/images /srv/receipts/*.json

Exit codes: 0 all verified, 1 something FAILED or is no receipt, 3 could not check.";

/// `NAME=VALUE`.
fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

const TEST_HELP: &str = "\
Writes test images of many shapes to a temporary folder, damages what was written in every way,
and looks what the plugin's own verification says of it.

Exit codes: 0 all passed, 1 something failed, 3 something could not be tried (a registry or an
engine is needed).";

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
    #[arg(long, conflicts_with_all = ["os", "architecture", "variant"])]
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

/// What `info` and `check` read.
const SOURCES: &str = "\
Sources:
  registry://HOST[:PORT]/IMAGE[:TAG][@sha256:...]   ?arch= &os= &variant= &insecure=true
  docker://IMAGE[:TAG]    an image in Docker or Podman, by name or ID   ?socket=PATH
  tar://PATH    docker-save and OCI archives, compressed or not   ?image=NAME[:TAG]
  dir://PATH    what the output dir wrote                         ?image=NAME[:TAG]
  oci-layout://PATH[:TAG]    an OCI image layout                  ?image=NAME[:TAG]";

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

/// `occystrap plugin`.
#[derive(Subcommand)]
pub enum PluginCommand {
    /// List the plugins and the URI schemes they answer to
    List,
    /// Show what a plugin is, takes and may do
    Show {
        /// Its name, or a component's file
        // An id of its own: the global --plugin is 'plugin'.
        #[arg(id = "name-or-file", value_name = "NAME|FILE")]
        plugin: String,
    },
    /// Make a crate for an output plugin of your own, which builds and passes its test as it is
    New {
        /// What it is called: its crate, and the scheme that it answers to
        name: String,
        /// The folder of the crate [default: its name]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// Run a plugin through the whole contract, and show where it breaks it
    #[command(after_help = TEST_HELP)]
    Test {
        /// A component's file, or the name of a built-in plugin
        // An id of its own: the global --plugin is 'plugin'.
        #[arg(id = "name-or-file", value_name = "FILE|NAME")]
        plugin: String,
        /// An option of the plugin, given in every case
        #[arg(long, value_name = "NAME=VALUE", value_parser = option)]
        with: Vec<(String, String)>,
    },
    /// Add a plugin, once you have seen what it may do
    #[command(after_help = ADDING)]
    Add {
        /// A component's file, or `oci://HOST/REPOSITORY[:TAG]@sha256:...`
        #[arg(value_name = "FILE|URI")]
        source: String,
        /// Grant what it asks for without being asked; for scripts
        #[arg(short, long)]
        yes: bool,
    },
    /// Remove a plugin that was added
    Remove {
        /// Its name
        name: String,
    },
}

const ADDING: &str = "\
What a plugin may do is what its component imports; it is shown before it is added, and you are
asked. Another version of it, with another digest, has to be added again. A plugin cannot take the
name or a URI scheme of a built-in one. Nothing is ever downloaded because of a URI's scheme.

Examples:
  occystrap plugin add ./inventory.wasm
  occystrap plugin add oci://ghcr.io/me/inventory:1.0@sha256:...";

/// The name of a level.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LevelName {
    /// Everything exists, with its size.
    Fast,
    /// Every byte is read back and hashed.
    Full,
}

/// On or off, in the words that 0.4.17 knew.
fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "t" | "y" => Some(true),
        "0" | "false" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

impl Process {
    /// How far to verify. What is said here goes before the environment (`OCCYSTRAP_VERIFY`,
    /// `OCCYSTRAP_VERIFY_FULL`, as in 0.4.17); `None` is not at all. Errors when the environment
    /// says neither: who wrote it meant something.
    pub fn level(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Level>, Error> {
        match (self.no_verify, self.verify, self.verify_full) {
            (true, _, _) => return Ok(None),
            (_, Some(LevelName::Full), _) | (_, _, true) => return Ok(Some(Level::Full)),
            (_, Some(LevelName::Fast), _) => return Ok(Some(Level::Fast)),
            _ => {}
        }
        // An empty one is none, as for other programs.
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        let wrong = |name: &str, expected: &str, found: &str| {
            Err(Error::usage(format!("{name}: expected {expected}, found '{found}'")))
        };
        if let Some(found) = variable("OCCYSTRAP_VERIFY_FULL") {
            match switch(&found) {
                Some(true) => return Ok(Some(Level::Full)),
                Some(false) => {}
                None => return wrong("OCCYSTRAP_VERIFY_FULL", "true or false", &found),
            }
        }
        let Some(found) = variable("OCCYSTRAP_VERIFY") else { return Ok(Some(Level::Fast)) };
        match (found.to_ascii_lowercase().as_str(), switch(&found)) {
            ("full", _) => Ok(Some(Level::Full)),
            ("fast", _) | (_, Some(true)) => Ok(Some(Level::Fast)),
            (_, Some(false)) => Ok(None),
            _ => wrong("OCCYSTRAP_VERIFY", "true, false, fast or full", &found),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn level(arguments: &[&str], environment: &[(&str, &str)]) -> Option<Level> {
        asked(arguments, environment).unwrap()
    }

    fn asked(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Option<Level>, Error> {
        let words = ["occystrap", "process", "tar://a", "dir://b"].iter().chain(arguments);
        let Command::Process(process) = Cli::parse_from(words).settled().command else {
            unreachable!()
        };
        process.level(|name| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        assert_eq!(level(&[], &[]), Some(Level::Fast));
        assert_eq!(level(&["--verify"], &[]), Some(Level::Fast));
        assert_eq!(level(&["--verify=full"], &[]), Some(Level::Full));
        assert_eq!(level(&["--verify-full"], &[]), Some(Level::Full));
        assert_eq!(level(&["--no-verify"], &[("OCCYSTRAP_VERIFY_FULL", "1")]), None);
        assert_eq!(level(&[], &[("OCCYSTRAP_VERIFY_FULL", "true")]), Some(Level::Full));
        assert_eq!(level(&[], &[("OCCYSTRAP_VERIFY", "false")]), None);
        assert_eq!(level(&["--verify"], &[("OCCYSTRAP_VERIFY", "0")]), Some(Level::Fast));
        assert_eq!(level(&[], &[("OCCYSTRAP_VERIFY", "Full")]), Some(Level::Full));
        assert_eq!(level(&[], &[("OCCYSTRAP_VERIFY", "1")]), Some(Level::Fast));
        assert_eq!(level(&[], &[("OCCYSTRAP_VERIFY", "")]), Some(Level::Fast));
        assert_eq!(level(&["--no-verify"], &[("OCCYSTRAP_VERIFY", "maybe")]), None);
    }

    #[test]
    fn what_0_4_17_took_before_the_command() {
        let level = |before: &[&str], after: &[&str]| {
            let words =
                [&["occystrap"], before, &["process", "tar://a", "dir://b"], after].concat();
            let Command::Process(process) = Cli::parse_from(words).settled().command else {
                unreachable!()
            };
            process.level(|_| None).unwrap()
        };
        assert_eq!(level(&["--no-verify"], &[]), None);
        assert_eq!(level(&["--verify"], &[]), Some(Level::Fast));
        assert_eq!(level(&["--verify-full"], &[]), Some(Level::Full));
        assert_eq!(level(&["--verify=full"], &[]), Some(Level::Full));
        assert_eq!(level(&["--no-verify"], &["--verify"]), Some(Level::Fast));
        assert_eq!(level(&["--verify-full"], &["--no-verify"]), None);
        assert!(Cli::try_parse_from(["occystrap", "--no-verify", "info", "tar://a"]).is_ok());
    }

    #[test]
    fn an_environment_that_means_nothing_is_a_mistake() {
        for (name, value) in [("OCCYSTRAP_VERIFY", "maybe"), ("OCCYSTRAP_VERIFY_FULL", "full")] {
            let error = asked(&[], &[(name, value)]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().starts_with(&format!("{name}: expected true")), "{error}");
        }
    }

    #[test]
    fn a_document_is_asked_for_in_several_spellings() {
        for line in
            ["-O json x", "--x -Ojson", "-O=json", "a --output-format=json", "--output-format json"]
        {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(asks_for_json(&words), "{line}");
        }
        for line in ["", "json", "-O text json", "--output-formats=json"] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(!asks_for_json(&words), "{line}");
        }
    }

    #[test]
    fn global_options_stand_before_or_after() {
        for words in [["occystrap", "-j", "2", "man"], ["occystrap", "man", "-j", "2"]] {
            assert_eq!(Cli::parse_from(words).global.parallel, 2);
        }
    }
}
