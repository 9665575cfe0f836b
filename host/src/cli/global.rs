//! Options of all commands.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use occystrap_base::oci::PlatformRequest;
use occystrap_base::secret::Secret;

/// Options that may stand before or after the command.
#[derive(Args)]
pub struct Global {
    /// Print each step
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print everything, including each request; never a password or token
    #[arg(long, global = true)]
    pub debug: bool,
    /// Print only errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Platform of the image; a source that does not have it is an error [default: linux/amd64 if the
    /// source has several platforms, otherwise the platform that it has]
    #[arg(long, global = true, value_name = "OS/ARCH[/VARIANT]", value_parser = PlatformRequest::parse)]
    pub platform: Option<PlatformRequest>,
    /// Only the operating system of the platform
    #[arg(long, global = true, value_name = "OS")]
    pub os: Option<String>,
    /// Only the architecture of the platform
    #[arg(long, global = true, value_name = "ARCH")]
    pub architecture: Option<String>,
    /// Variant of the architecture, such as v7 [default: the usual variant]
    #[arg(long, global = true, value_name = "VARIANT")]
    pub variant: Option<String>,
    /// User name at the registry
    #[arg(
        long,
        global = true,
        value_name = "USER",
        env = "OCCYSTRAP_USERNAME",
        hide_env_values = true
    )]
    pub username: Option<String>,
    /// Password or access token at the registry; safer in the environment variable
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        env = "OCCYSTRAP_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<Secret>,
    /// File with logins, in the format of Docker or Podman; searched before all other files
    #[arg(long, global = true, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// File with logins for web servers, in the format of curl, instead of $NETRC and ~/.netrc
    #[arg(long, global = true, value_name = "FILE")]
    pub netrc_file: Option<PathBuf>,
    /// Use plain HTTP for the registry
    #[arg(long, global = true)]
    pub insecure: bool,
    /// File with certificates (PEM) to trust, besides those of the system and in certs.d
    #[arg(long, global = true, value_name = "FILE", env = "OCCYSTRAP_CA_BUNDLE")]
    pub ca_bundle: Option<PathBuf>,
    /// Number of layers that are fetched in parallel
    #[arg(short = 'j', long, global = true, value_name = "N", default_value_t = 4, env = "OCCYSTRAP_PARALLEL", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parallel: u16,
    /// Number of images that are moved in parallel, if the source holds several
    #[arg(short = 'J', long, global = true, value_name = "N", default_value_t = 3, env = "OCCYSTRAP_IMAGE_PARALLEL", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub image_parallel: u16,
    /// Folder for downloads that wait, instead of the system's temporary folder
    #[arg(long, global = true, value_name = "DIR", env = "OCCYSTRAP_TEMP_DIR")]
    pub temp_dir: Option<PathBuf>,
    /// How often a request that failed for a temporary reason is repeated
    #[arg(long, global = true, value_name = "N", default_value_t = 3, env = "OCCYSTRAP_RETRIES", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,
    /// Maximum number of requests per second to a registry host
    #[arg(long, global = true, value_name = "N", env = "OCCYSTRAP_RATE_LIMIT")]
    pub rate_limit: Option<f64>,
    /// Format of results: text, or one JSON document on standard output
    #[arg(short = 'O', long, global = true, value_name = "FORMAT", default_value = "text")]
    pub output_format: OutputFormat,
    /// Use an output plugin from a file, for this run; may be repeated
    #[arg(long, global = true, value_name = "FILE")]
    pub plugin: Vec<PathBuf>,
    /// Folder of added plugins, instead of ~/.local/share/occystrap/plugins
    #[arg(long, global = true, value_name = "DIR", env = "OCCYSTRAP_PLUGIN_DIR")]
    pub plugin_dir: Option<PathBuf>,
    /// Compression for layers written to a registry or an OCI layout; layers that already use it are
    /// kept unchanged [default: compressed layers are kept unchanged, plain layers use gzip]
    #[arg(long, global = true, value_name = "HOW", env = "OCCYSTRAP_COMPRESSION")]
    pub compression: Option<CompressionName>,
    /// File that records processed layers, so that later runs skip layers the destination still has;
    /// not for docker://
    #[arg(long, global = true, value_name = "FILE", env = "OCCYSTRAP_LAYER_CACHE")]
    pub layer_cache: Option<PathBuf>,
}

/// How layers are compressed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionName {
    /// Every client can read it
    Gzip,
    /// Smaller and faster; clients since 2021 can read it
    Zstd,
}

impl CompressionName {
    /// Returns the compression with this name.
    #[must_use]
    pub fn value(self) -> crate::Compression {
        match self {
            Self::Gzip => crate::Compression::Gzip,
            Self::Zstd => crate::Compression::Zstd,
        }
    }
}

/// Format of results.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Text for people
    Text,
    /// One JSON document for programs
    Json,
    /// 'mirror run' and 'mirror retry': an event on each line while they work, the document last
    Jsonl,
}

/// Returns whether a format is JSON in one of its two forms.
fn is_json(format: &str) -> bool {
    matches!(format, "json" | "jsonl")
}

/// Returns whether the words of an invalid command line request JSON.
#[must_use]
pub fn asks_for_json(arguments: &[String]) -> bool {
    let names = ["-O", "--output-format"];
    let joined = |word: &str| {
        names.iter().any(|name| {
            word.strip_prefix(name).is_some_and(|rest| is_json(rest.trim_start_matches('=')))
        })
    };
    arguments.iter().any(|word| joined(word))
        || arguments.windows(2).any(|pair| names.contains(&pair[0].as_str()) && is_json(&pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_asked_for_in_several_spellings() {
        for line in [
            "-O json x",
            "-O jsonl x",
            "--x -Ojson",
            "-O=json",
            "a --output-format=json",
            "--output-format json",
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(asks_for_json(&words), "{line}");
        }
        for line in ["", "json", "-O text json", "--output-formats=json"] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(!asks_for_json(&words), "{line}");
        }
    }
}
