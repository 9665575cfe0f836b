//! The command that makes what a receipt promises once more.
//!
//! What the user typed is not enough: a relative path means something else from another folder, a tag
//! something else tomorrow, and options and the environment decided on platform and compression. So
//! the receipt keeps both ends as URIs that say all of it. What it refuses: secrets, and options of
//! the command line other than those of `KNOWN`, and `--force` where the host
//! knows the destination's format.

use serde::{Deserialize, Serialize};

use super::Receipt;
use crate::destination::occupied;
use crate::write::target::Target;
use occystrap_base::secret;
use occystrap_base::terminal::shell::quote;
use occystrap_images::source::Source;
use occystrap_net::uri::{Uri, logins_in};

/// Options of the command line without which the command would not work: those that name files and
/// servers, and what becomes of layers that are stored elsewhere.
/// A receipt may come from anywhere: no other option of it is shown as part of a command.
const KNOWN: [&str; 7] =
    ["plugin", "plugin-dir", "authfile", "ca-bundle", "netrc-file", "allow-net", "foreign-layers"];

/// One of those options as one word.
#[must_use]
pub fn option(name: &'static str, value: impl std::fmt::Display) -> String {
    debug_assert!(KNOWN.contains(&name), "--{name} would be left out of the command");
    format!("--{name}={value}")
}

/// Whether it is one of those.
fn is_known(word: &str) -> bool {
    let name = word.strip_prefix("--").and_then(|word| word.split_once('='));
    name.is_some_and(|(name, _)| KNOWN.contains(&name))
}

/// What it takes to do it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatCommand {
    /// The source, from any folder: digest, platform and plain HTTP included.
    pub source: String,
    /// The destination, from any folder: compression and plain HTTP included.
    pub destination: String,
    /// Options that name files and servers, each one word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl RepeatCommand {
    /// Of a run. `digest` is that of the manifest that the source was at a registry, and `options`
    /// are those that name files and servers; one platform is chosen anew unless `all_platforms` are moved.
    #[must_use]
    pub fn new(
        source: &Source,
        digest: Option<occystrap_base::oci::Digest>,
        all_platforms: bool,
        target: &Target,
        options: &[String],
    ) -> Self {
        Self {
            source: source.again(digest, all_platforms).typed(),
            destination: target.again.typed(),
            options: options.to_vec(),
        }
    }
}

/// The command that mends a destination. A receipt of an earlier version says less.
#[must_use]
pub fn command(receipt: &Receipt, target: &Target) -> String {
    let mut words = vec!["occystrap".to_owned()];
    if receipt.again.is_none() && target.is_insecure() && !receipt.destination.contains("insecure=")
    {
        words.push("--insecure".into());
    }
    words.push("process".into());
    if let Some(again) = &receipt.again {
        // Of a file in a format that the host knows, it looks itself whether it may be replaced.
        let force = occupied::is_unknown_file(target);
        let known = again.options.iter();
        let known = known.filter(|word| is_known(word) || (force && *word == occupied::FORCE));
        // A file or server that the user named is in the command, also where a weak password is a part of it.
        words.extend(known.inspect(|word| secret::show(word)).map(|word| quote(word)));
    }
    if !receipt.image.part.is_whole() {
        words.push("--all-platforms".into());
    }
    for filter in &receipt.filters {
        words.extend(["-f".to_owned(), quote(filter)]);
    }
    let (source, destination) = match &receipt.again {
        Some(again) => (&again.source, &again.destination),
        None => (&receipt.source, &receipt.destination),
    };
    // A receipt from elsewhere may have a login in it.
    let plain = |uri: &String| match logins_in(uri).is_empty() {
        true => uri.clone(),
        false => Uri::hide(uri),
    };
    let (source, destination) = (&plain(source), &plain(destination));
    for uri in [source, destination] {
        // What may be shown of it becomes known when it is parsed.
        if let Err(error) = Uri::parse(uri) {
            tracing::debug!(%error, "an end in a receipt is no URI");
        }
    }
    // Of a receipt that somebody has made up: not an option either.
    if source.starts_with('-') || destination.starts_with('-') {
        words.push("--".into());
    }
    words.extend([quote(source), quote(destination)]);
    words.join(" ")
}
