//! The command that repairs a destination, made from a receipt and the options of this run.
//!
//! A receipt may come from anywhere. What it refuses to show: options other than those that a run of occystrap
//! puts into a receipt, logins in URIs, and `--force` where the host knows the destination's format.

use super::occupied;
use super::target::Target;
use crate::receipt::repeat_command::is_known;
use crate::receipt::{Receipt, RepeatCommand};
use occystrap_base::oci::Digest;
use occystrap_base::secret;
use occystrap_base::terminal::shell::quote;
use occystrap_images::source::Source;
use occystrap_net::uri::{Uri, logins_in};

impl RepeatCommand {
    /// Returns the command of a run. `digest` is that of the source's manifest at a registry, and `options` are
    /// those that name files and servers. With `all_platforms` no platform is chosen. Returns `None` where no URI leads to
    /// the source again.
    #[must_use]
    pub fn new(
        source: &Source,
        digest: Option<Digest>,
        all_platforms: bool,
        target: &Target,
        options: &[String],
    ) -> Option<Self> {
        Some(Self {
            source: source.again(digest, all_platforms)?.typed(),
            destination: target.again.typed(),
            options: options.to_vec(),
        })
    }
}

/// Returns the command that repairs a destination. Receipts of earlier versions have less of it. Returns `None` where no
/// URI leads to the source: a client pushed the image.
#[must_use]
pub fn command(receipt: &Receipt, target: &Target) -> Option<String> {
    if receipt.again.is_none() && !receipt.source.contains("://") {
        return None;
    }
    let mut words = vec!["occystrap".to_owned()];
    if receipt.again.is_none() && target.is_insecure() && !receipt.destination.contains("insecure=")
    {
        words.push("--insecure".into());
    }
    words.push("process".into());
    if let Some(again) = &receipt.again {
        // For a file in a format that the host knows, the new run decides itself whether it may be replaced.
        let force = occupied::is_unknown_file(target);
        let known = again.options.iter();
        let known = known.filter(|word| is_known(word) || (force && *word == occupied::FORCE));
        // A file or server that the user named is part of the command, even if a weak password is a part of its
        // name.
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
        // Parsing a URI registers which parts of it may be shown.
        if let Err(error) = Uri::parse(uri) {
            tracing::debug!(%error, "an end in a receipt is no URI");
        }
    }
    // An invented receipt must not add an option this way.
    if source.starts_with('-') || destination.starts_with('-') {
        words.push("--".into());
    }
    words.extend([quote(source), quote(destination)]);
    Some(words.join(" "))
}
