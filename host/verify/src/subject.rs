//! What the user wants verified: receipts, or a destination without a receipt.

use std::path::{Path, PathBuf};

use crate::receipt::plugins::Plugins;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::ImageName;
use occystrap_base::oci::layout::tagged;
use occystrap_net::docker::Engine;
use occystrap_net::registry::{Reference, RegistryClient};
use occystrap_net::uri::Uri;
use occystrap_output::plugin::embedded::is_to_come;
use occystrap_output::plugin::{Catalog, Plugin};
use occystrap_output::receipt::identity::PluginIdentity;
use occystrap_output::receipt::{Bundle, Receipt};
use occystrap_output::write::target::Target;
use occystrap_output::write::target::{ENGINE_OPTIONS, REPOSITORY_OPTIONS, image_name};

/// What `occystrap verify` is to verify.
pub enum Subject {
    /// Receipts of one run, and their destination.
    Receipts(Vec<Receipt>, Target),
    /// Receipts whose plugin is missing, and why: nothing of them can be checked.
    WithoutPlugin(Vec<Receipt>, Error),
    /// A directory without a receipt.
    Directory(PathBuf, String),
    /// An archive without a receipt.
    Tar(PathBuf, String),
    /// An OCI image layout without a receipt, or a tag in it.
    Layout(PathBuf, Option<String>, String),
    /// An image at a registry without a receipt.
    Registry(Reference, RegistryClient, String),
    /// An image in an engine without a receipt.
    Engine(ImageName, Engine, String),
}

impl Subject {
    /// Returns how messages name it.
    #[must_use]
    pub fn display(&self) -> &str {
        match self {
            Self::Receipts(_, target) => &target.display,
            Self::WithoutPlugin(receipts, _) => {
                receipts.first().map_or("", |receipt| receipt.destination.as_str())
            }
            Self::Directory(_, display)
            | Self::Tar(_, display)
            | Self::Layout(_, _, display)
            | Self::Registry(_, _, display)
            | Self::Engine(_, _, display) => display,
        }
    }

    /// Parses what the user typed: the path of a receipt, or a URI. `client` makes the registry client where one is
    /// needed. Errors where it is neither, or cannot be verified without a receipt.
    pub fn parse(
        text: &str,
        catalog: &Catalog,
        client: impl FnOnce(&Uri) -> Result<RegistryClient>,
        cancel: &Cancel,
    ) -> Result<Self> {
        Self::with_plugins(text, &Plugins::new(catalog), client, cancel)
    }

    /// Returns whether a text is the path of a receipt, and not a URI.
    #[must_use]
    pub fn is_receipt(text: &str) -> bool {
        // `dir:PATH` is a URI as well; any other word without `://` is a file.
        let short = |uri: &Uri| matches!(uri.scheme.as_str(), "dir" | "tar" | "oci-layout");
        // A login without a scheme must not be shown as the name of a file that is not there.
        let login = text.contains('@') && text.contains(':') && !Path::new(text).exists();
        !text.contains("://") && !login && !Uri::parse(text).is_ok_and(|uri| short(&uri))
    }

    /// Parses as [`Self::parse`] does, with plugins that several subjects share.
    pub fn with_plugins(
        text: &str,
        plugins: &Plugins,
        client: impl FnOnce(&Uri) -> Result<RegistryClient>,
        cancel: &Cancel,
    ) -> Result<Self> {
        if Self::is_receipt(text) {
            return Self::receipts(text, plugins, client, cancel);
        }
        let uri = Uri::parse(text)?;
        let (path, display) = (PathBuf::from(&uri.rest), uri.display());
        match uri.scheme.as_str() {
            "dir" => {
                uri.check_options("target", &["unique_names", "checksums"])?;
                Ok(Self::Directory(path, display))
            }
            "tar" => {
                uri.check_options("target", &[])?;
                Ok(Self::Tar(path, display))
            }
            "oci-layout" => {
                uri.check_options("target", &["compression"])?;
                let (path, tag) = tagged(&uri.rest)?;
                Ok(Self::Layout(path, tag, display))
            }
            "registry" => {
                // Options of the output do not change what is verified.
                let known = [&REPOSITORY_OPTIONS[..], &["compression", "chunk_size"]].concat();
                uri.check_options("target", &known)?;
                Ok(Self::Registry(Reference::parse(&uri.rest)?, client(&uri)?, display))
            }
            "docker" => {
                uri.check_options("target", &ENGINE_OPTIONS)?;
                let engine = Engine::find(uri.option("socket"), cancel)?;
                Ok(Self::Engine(image_name(&uri.rest)?, engine, display))
            }
            scheme => Err(unverified(scheme, plugins.catalog())),
        }
    }

    /// Reads the receipts of a file, and finds the plugin that wrote them.
    fn receipts(
        text: &str,
        plugins: &Plugins,
        client: impl FnOnce(&Uri) -> Result<RegistryClient>,
        cancel: &Cancel,
    ) -> Result<Self> {
        Self::of_receipts(Bundle::read(text.as_ref())?, text, plugins, client, cancel)
    }

    /// Finds the plugin that wrote receipts. `text` is their name in errors. Errors where there is none, or where the
    /// destination in them cannot be verified.
    pub fn of_receipts(
        receipts: Vec<Receipt>,
        text: &str,
        plugins: &Plugins,
        client: impl FnOnce(&Uri) -> Result<RegistryClient>,
        cancel: &Cancel,
    ) -> Result<Self> {
        let Some(receipt) = receipts.first() else {
            return Err(Error::source(format!("'{text}' holds no receipt")));
        };
        // A mistake in a receipt is not a mistake on the command line.
        let of_receipt = |error: Error| match error.kind() {
            Kind::Usage => Error::source(format!("the destination in '{text}': {error}")),
            _ => error,
        };
        let uri = Uri::parse(&receipt.destination).map_err(of_receipt)?;
        let plugin = match plugins.for_receipt(&uri.scheme, &receipt.plugin) {
            // The component may have been removed.
            Err(error) if matches!(error.kind(), Kind::Plugin | Kind::NotFound) => {
                return Ok(Self::WithoutPlugin(receipts, error));
            }
            found => found.map_err(of_receipt)?,
        };
        warn_of_another(&plugin, &receipt.plugin);
        let target = Target::with_plugin(plugin, &uri, client, cancel).map_err(of_receipt)?;
        Ok(Self::Receipts(receipts, target))
    }
}

/// Warns where another plugin, or another version of it, wrote the receipt than the one that verifies.
fn warn_of_another(plugin: &Plugin, wrote: &PluginIdentity) {
    if plugin.sha256() != wrote.sha256 || plugin.description().name != wrote.name {
        let (name, then, now) = (&wrote.name, wrote.sha256.short(), plugin.sha256().short());
        tracing::warn!("the receipt was made by plugin '{name}' {then}; the plugin here is {now}");
    }
}

/// Returns the error for a scheme that cannot be verified without a receipt: that of a plugin, a planned one, or an
/// unknown one.
fn unverified(scheme: &str, catalog: &Catalog) -> Error {
    const KNOWN: &str =
        "dir://, tar://, oci-layout://, registry://, docker:// and receipts can be verified";
    match catalog.for_scheme(scheme) {
        Ok(_) => Error::usage(format!("'{scheme}://' can be verified with a receipt alone")).hint(
            "'occystrap process --receipt FILE' writes one, 'occystrap verify FILE' takes it",
        ),
        // The plugin was added and cannot be used.
        Err(error) if error.kind() != Kind::Usage => error,
        Err(_) if is_to_come(scheme) => {
            Error::usage(format!("verifying '{scheme}://' is not yet supported")).hint(KNOWN)
        }
        Err(_) => Error::usage(format!("unknown scheme '{scheme}://'")).hint(KNOWN),
    }
}
