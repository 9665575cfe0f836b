//! Options that hold for all commands.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use occystrap_base::oci::PlatformRequest;
use occystrap_base::secret::Secret;

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
    /// Platform of the image: chosen where there are several, and no other is taken where there is one
    /// [default: linux/amd64 of several, any of one]
    #[arg(long, global = true, value_name = "OS/ARCH[/VARIANT]", value_parser = PlatformRequest::parse)]
    pub platform: Option<PlatformRequest>,
    /// Operating system alone
    #[arg(long, global = true, value_name = "OS")]
    pub os: Option<String>,
    /// Architecture alone
    #[arg(long, global = true, value_name = "ARCH")]
    pub architecture: Option<String>,
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
    pub password: Option<Secret>,
    /// File with logins, in the form of Docker or Podman; searched before all others
    #[arg(long, global = true, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Logins for web servers, as curl takes them, instead of $NETRC and ~/.netrc
    #[arg(long, global = true, value_name = "FILE")]
    pub netrc_file: Option<PathBuf>,
    /// Speak plain HTTP to the registry
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Certificates (PEM) to trust, besides the system's and those in certs.d
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
