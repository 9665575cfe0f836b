//! Options of `occystrap process`, and the environment variables that set its verification.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use occystrap_base::error::Error;
use occystrap_images::level::Level;
use occystrap_net::uri::Uri;
use occystrap_net::web::ForeignLayers;

/// Options of `occystrap process`.
#[derive(Args)]
#[command(after_help = "\
Sources:
  registry://HOST[:PORT]/IMAGE[:TAG][@sha256:...]   ?arch= &os= &variant= &insecure=true
  docker://IMAGE[:TAG]    an image in Docker or Podman, by name or ID   ?socket=PATH
  dockerpush://IMAGE[:TAG]    the same, pushed by the engine: it skips layers that a registry://
                destination has already                               ?socket=PATH
  tar://PATH    docker-save and OCI archives, compressed or not   ?image=NAME[:TAG]
  dir://PATH    a directory that occystrap wrote                  ?image=NAME[:TAG]
  oci-layout://PATH[:TAG]    an OCI image layout                  ?image=NAME[:TAG]

Destinations:
  dir://PATH?unique_names=true    a directory of images, one plain tar per layer   &checksums=true
                (without unique_names it holds one image, which the next image replaces)
  tar://PATH    an archive for 'docker load', 'podman load' and skopeo
  oci-layout://PATH[:TAG]    an OCI image layout     ?compression=gzip|zstd
  registry://HOST[:PORT]/IMAGE[:TAG]    an image at a registry
                ?compression=gzip|zstd &chunk_size=8M &insecure=true
  docker://IMAGE[:TAG]    an image in Docker or Podman, under that name   ?socket=PATH

Filters:
  canonical              writes every layer in one form: the same files give the same layers
                :keep=true   layers that have the form keep their bytes
  normalize-timestamps   sets every time to 1970, or to SOURCE_DATE_EPOCH
                :ts=SECONDS,clamp=true (only later times),config=true (also the config)
                both take from-layer=N or base=URI: the layers below keep their bytes
  exclude:pattern=GLOB   removes files that match, and everything below them
                * ? [a-z] {a,b}; * crosses slashes: '*.pyc', 'usr/share/doc', '**/.git'
  squash                 makes one layer of all, without what later layers delete or replace
                :from-layer=N   of layer N (1 is the lowest) and those above it
  add:file=FILE,path=PATH   adds a layer with a file or a folder
                ,mode=0644,owner=UID:GID,ts=SECONDS   the same files give the same layer
  set-config:OPTION=VALUE   env=A=B label=A=B entrypoint= cmd= user= workdir= created=
                remove-env=A,remove-label=A
  search:pattern=GLOB    prints files that match, and changes nothing
                ,regex=true,script_friendly=true   as for 'occystrap search'
  inspect:file=PATH      appends a line of JSON about the image")]
pub struct ProcessOptions {
    /// Where the images are, such as registry://docker.io/library/busybox:latest
    pub source: String,
    /// Destination of the images, such as 'dir:///srv/images?unique_names=true' or tar:///tmp/busybox.tar
    pub destination: String,
    /// Filter that changes images or searches them: NAME or NAME:OPTION=VALUE,... ; may be repeated,
    /// and filters are applied in this order
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Move every platform of each image and the index that lists them, byte for byte except for what filters change; for
    /// registry:// and oci-layout://
    #[arg(long)]
    pub all_platforms: bool,
    /// Move what refers to the image as well, from registry:// to registry://: signatures, SBOMs, attestations, also those
    /// under the tags of cosign; or only artifact types, with commas: --referrers=application/spdx+json
    #[arg(long, value_name = "TYPES", num_args = 0..=1, require_equals = true, default_missing_value = "all", value_delimiter = ',', conflicts_with = "dry_run")]
    pub referrers: Option<Vec<String>>,
    /// Print what would happen to each layer, and write nothing: the plan is made against the destination, a registry is
    /// asked which blobs it has, and no filter is run. Options about verification and --fsync are ignored
    #[arg(long, conflicts_with = "receipt")]
    pub dry_run: bool,
    /// Verify what was written: 'fast' checks that everything exists with the right size, 'full' also
    /// reads every byte back and hashes it [default: fast]
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "fast", conflicts_with = "no_verify")]
    pub verify: Option<LevelName>,
    /// The same as --verify=full
    #[arg(long, conflicts_with_all = ["no_verify", "verify"])]
    pub verify_full: bool,
    /// Do not verify; the summary says so
    #[arg(long)]
    pub no_verify: bool,
    /// Exit with code 3 if something is UNCONFIRMED
    #[arg(long)]
    pub strict: bool,
    /// Write a receipt to this file: what must be at the destination, for 'occystrap verify FILE'
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Let the output plugin use this web server besides the destination: HTTPS, or http://HOST:PORT
    /// for plain HTTP; or a private address or network (10.0.0.0/8) that names and URLs of layers may
    /// resolve to; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow_net: Vec<String>,
    /// What to do with layers that the source does not have because the manifest names URLs for them
    /// (base layers of Windows images) [default: keep if the output can, otherwise fetch]
    #[arg(long, value_name = "WHAT")]
    pub foreign_layers: Option<ForeignLayersName>,
    /// Wait until the destination is on the disk, so that it survives a power failure
    #[arg(long)]
    pub fsync: bool,
    /// Write even if the destination holds something else: replace a file that is not an image archive,
    /// or write to a directory of another format
    #[arg(long)]
    pub force: bool,
}

/// What to do with layers that are stored elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ForeignLayersName {
    /// Leave them at their URLs; for registry:// and oci-layout://
    Keep,
    /// Download them from their URLs
    Fetch,
    /// Reject the image
    Fail,
}

/// Level of verification.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LevelName {
    /// Check that everything exists with the right size; configs and manifests have their digests
    Fast,
    /// Also read every byte back and hash it
    Full,
}

impl ProcessOptions {
    /// Returns how layers that are stored elsewhere are treated.
    #[must_use]
    pub fn foreign_layers(&self) -> ForeignLayers {
        match self.foreign_layers {
            None => ForeignLayers::KeepOrFetch,
            Some(ForeignLayersName::Keep) => ForeignLayers::Keep,
            Some(ForeignLayersName::Fetch) => ForeignLayers::Fetch,
            Some(ForeignLayersName::Fail) => ForeignLayers::Fail,
        }
    }

    /// Returns whether the destination may hold something else than images: `--force`, or the variable
    /// `OCCYSTRAP_FORCE`. Errors when the value of the variable is neither true nor false.
    pub fn force(&self, environment: impl Fn(&str) -> Option<String>) -> Result<bool, Error> {
        const NAME: &str = "OCCYSTRAP_FORCE";
        if self.force {
            return Ok(true);
        }
        let Some(found) = environment(NAME).filter(|value| !value.is_empty()) else {
            return Ok(false);
        };
        let wrong = || {
            Error::usage(format!("{NAME}: expected true or false, found '{}'", Uri::hide(&found)))
        };
        switch(&found).ok_or_else(wrong)
    }

    /// Returns the level of verification; `None` for no verification. Options take precedence over the environment
    /// (`OCCYSTRAP_VERIFY`, `OCCYSTRAP_VERIFY_FULL`, as in 0.4.17). Errors when a variable has an unknown value: ignoring
    /// it would verify less than the user wants.
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
        // An empty variable is ignored, as in other programs.
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        let wrong = |name: &str, expected: &str, found: &str| {
            let found = Uri::hide(found);
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

/// Parses a boolean in the words that 0.4.17 accepted.
fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "t" | "y" => Some(true),
        "0" | "false" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

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
    fn options_before_the_command_mean_what_they_meant_in_0_4_17() {
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
    fn force_is_said_on_the_command_line_or_in_the_environment() {
        let force = |words: &[&str], value: Option<&str>| {
            let words = ["occystrap", "process", "tar://a", "dir://b"].iter().chain(words);
            let Command::Process(process) = Cli::parse_from(words).settled().command else {
                unreachable!()
            };
            process.force(|name| value.filter(|_| name == "OCCYSTRAP_FORCE").map(str::to_owned))
        };
        assert!(force(&["--force"], Some("false")).unwrap());
        for (value, expected) in
            [(None, false), (Some(""), false), (Some("0"), false), (Some("Yes"), true)]
        {
            assert_eq!(force(&[], value).unwrap(), expected);
        }
        let error = force(&[], Some("maybe")).unwrap_err();
        assert_eq!(error.to_string(), "OCCYSTRAP_FORCE: expected true or false, found 'maybe'");
    }

    #[test]
    fn an_environment_that_means_nothing_is_a_mistake() {
        for (name, value) in [("OCCYSTRAP_VERIFY", "maybe"), ("OCCYSTRAP_VERIFY_FULL", "full")] {
            let error = asked(&[], &[(name, value)]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().starts_with(&format!("{name}: expected true")), "{error}");
        }
    }
}
