//! Moving images: the builder, and the checks of everything before anything is fetched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clients::Clients;
use super::session::{Session, Trust};
use crate::pipeline::{self, DryRun, ReceiptStore, Request};
use occystrap_base::error::{Error, Result};
use occystrap_base::files::state_file::same;
use occystrap_base::terminal::results::Results;
use occystrap_images::filter::{FilterInputs, Filters};
use occystrap_images::level::Level;
use occystrap_images::source::Source;
use occystrap_net::context::Context;
use occystrap_net::registry::{ReferrerTypes, WantedReferrers};
use occystrap_net::uri::Uri;
use occystrap_net::web::ForeignLayers;
use occystrap_output::layer_cache::LayerCache;
use occystrap_output::plugin::Catalog;
use occystrap_output::plugin::embedded::EMBEDDED;
use occystrap_output::receipt::repeat_command::option;
use occystrap_output::write::occupied;
use occystrap_output::write::target::{Endpoint, Target};
use occystrap_verify::report::Run;

/// Move of images from a source to a destination, with the proof that they landed.
///
/// ```no_run
/// use occystrap::{Level, Process, Session};
/// # fn main() -> occystrap::Result<()> {
/// let session = Session::new()?;
/// let run = Process::new("registry://docker.io/library/busybox:latest", "tar:///tmp/busybox.tar")
///     .verify(Level::Full)
///     .receipt("/tmp/busybox.json")
///     .run(&session)?;
/// for image in run.images() {
///     println!("{}: {:?}", image.name(), image.status);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Process {
    source: String,
    destination: String,
    filters: Vec<String>,
    all_platforms: bool,
    referrers: Option<ReferrerTypes>,
    level: Option<Level>,
    receipt: Option<PathBuf>,
    layer_cache: Option<PathBuf>,
    compression: Option<Compression>,
    foreign_layers: Option<ForeignLayers>,
    allow_net: Vec<String>,
    durable: bool,
    force: bool,
    results_on_stderr: bool,
}

/// How layers are compressed at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Gzip: every client reads it.
    Gzip,
    /// Zstandard: smaller and faster; clients since 2021 read it.
    Zstd,
}

impl Compression {
    /// The value of the option of an output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl Process {
    /// Moves what the URI `source` names to the URI `destination`, and verifies it quickly ([`Level::Fast`]). The URIs
    /// are those of the command line.
    #[must_use]
    pub fn new(source: impl Into<String>, destination: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            filters: Vec::new(),
            all_platforms: false,
            referrers: None,
            level: Some(Level::Fast),
            receipt: None,
            layer_cache: None,
            compression: None,
            foreign_layers: None,
            allow_net: Vec::new(),
            durable: false,
            force: false,
            results_on_stderr: false,
        }
    }

    /// Adds a filter, as `NAME` or `NAME:OPTION=VALUE,...`. Filters are applied in the order in which they are added.
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.filters.push(filter.into());
        self
    }

    /// Moves every platform of each image and the index that lists them, with unchanged digests.
    #[must_use]
    pub fn all_platforms(self, all_platforms: bool) -> Self {
        Self { all_platforms, ..self }
    }

    /// Moves what refers to each image as well, from a registry to a registry: signatures, lists of contents,
    /// attestations. `types` are artifact types; where there are none, all referrers are moved.
    #[must_use]
    pub fn referrers<T: Into<String>>(self, types: impl IntoIterator<Item = T>) -> Self {
        let types: Vec<String> = types.into_iter().map(Into::into).collect();
        let types = match types.is_empty() {
            true => ReferrerTypes::All,
            false => ReferrerTypes::Only(types),
        };
        Self { referrers: Some(types), ..self }
    }

    /// Sets how much is verified; `None` verifies nothing.
    #[must_use]
    pub fn verify(self, level: impl Into<Option<Level>>) -> Self {
        Self { level: level.into(), ..self }
    }

    /// Writes a receipt to this file: what must be at the destination, for a later [`Verify`](super::Verify).
    #[must_use]
    pub fn receipt(self, file: impl Into<PathBuf>) -> Self {
        Self { receipt: Some(file.into()), ..self }
    }

    /// Records processed layers in this file, so that later runs skip layers the destination still has.
    #[must_use]
    pub fn layer_cache(self, file: impl Into<PathBuf>) -> Self {
        Self { layer_cache: Some(file.into()), ..self }
    }

    /// Compresses layers for a registry or an OCI layout. The option of the destination URI takes precedence.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression: Some(compression), ..self }
    }

    /// Sets how layers are treated for which the manifest names URLs and which the source does not have. By default
    /// they stay at their URLs where the output can keep them there, and are fetched otherwise.
    #[must_use]
    pub fn foreign_layers(self, foreign_layers: ForeignLayers) -> Self {
        Self { foreign_layers: Some(foreign_layers), ..self }
    }

    /// Lets the output plugin use this web server besides the destination: `HOST[:PORT]`, or `http://HOST:PORT`.
    #[must_use]
    pub fn allow_net(mut self, server: impl Into<String>) -> Self {
        self.allow_net.push(server.into());
        self
    }

    /// Waits until the destination is on the disk, so that it survives a power failure.
    #[must_use]
    pub fn durable(self, durable: bool) -> Self {
        Self { durable, ..self }
    }

    /// Replaces a file that is no image archive, or writes to a directory that holds something else.
    #[must_use]
    pub fn force(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// Prints what the filters find on standard error instead of standard output.
    #[must_use]
    pub fn results_on_stderr(self, results_on_stderr: bool) -> Self {
        Self { results_on_stderr, ..self }
    }

    /// Moves the images and verifies them. Errors when the request itself is wrong: nothing was fetched or written
    /// then. Problems of single images are in the report.
    pub fn run(&self, session: &Session) -> Result<Run> {
        let (request, context) = self.prepare(session)?;
        Ok(pipeline::process(&request, &context))
    }

    /// Plans what [`Self::run`] would do, against the real destination, and writes nothing. Filters are not run. Errors
    /// when the request itself is wrong.
    pub fn dry_run(&self, session: &Session) -> Result<DryRun> {
        let (request, context) = self.prepare(session)?;
        pipeline::dry_run(&request, &context)
    }

    fn prepare(&self, session: &Session) -> Result<(Request, Context)> {
        self.prepare_with(session, &session.clients(), &session.catalog()?)
    }

    /// Returns the request of one image of many, which share clients and plugins.
    pub(crate) fn prepare_with(
        &self,
        session: &Session,
        clients: &Clients,
        catalog: &Catalog,
    ) -> Result<(Request, Context)> {
        let mut context = session.context()?;
        context.durable = self.durable;
        context.web = session
            .web(&self.allow_net, Trust::User)?
            .with_foreign_layers(self.foreign_layers.unwrap_or_default());
        let request = self.request(session, clients, catalog)?;
        if let Some(folder) = request.target.folder() {
            // The user permits the destination by typing its URL.
            let place = folder.url(context.web.allow()).clone();
            context.web = context.web.with_place(place);
        }
        if let Some(folder) = request.target.spool() {
            context.import_dir = folder;
        }
        Ok((request, context))
    }

    /// Returns the request with everything parsed and checked that can be checked without fetching.
    fn request(&self, session: &Session, clients: &Clients, catalog: &Catalog) -> Result<Request> {
        let uri = Uri::parse(&self.source)?;
        // Source and destination share clients, because they may be on one host.
        let source = session.source_of(&uri, clients)?;
        let destination = Uri::parse(&self.destination)?;
        let client = |uri: &Uri| clients.of(uri);
        let target = Target::parse(&destination, catalog, client, session.stop())?
            .with_default("compression", self.compression.map(Compression::name))
            .forced(self.force);
        if self.all_platforms {
            source.check_all_platforms()?;
            check_all_platforms(&target, self.filters.is_empty())?;
        }
        if self.referrers.is_some() {
            check_referrers(&source, &target, self.filters.is_empty())?;
        }
        target.check_options(session.stop())?;
        let source = self.for_destination(source, &target, session)?;
        let layer_cache = self.open_layer_cache(&target)?.map(Arc::new);
        let results = match self.results_on_stderr {
            false => Results::printed(session.bars()),
            true => Results::beside_document(session.bars()),
        };
        let named = |text: &str| session.source_of(&Uri::parse(text)?, clients);
        let environment = |name: &str| std::env::var(name).ok();
        let making = FilterInputs { environment: &environment, results: &results, source: &named };
        let filters = Filters::parse(&self.filters, &making)?;
        Ok(Request {
            all_platforms: self.all_platforms,
            repeat_options: self.repeat_options(session, &target),
            source,
            filters,
            layer_cache,
            target,
            level: self.level,
            proves_before_tag: false,
            is_untagged: false,
            platforms: None,
            referrers: self
                .referrers
                .clone()
                .map(|types| WantedReferrers { types, ..WantedReferrers::default() }),
            receipts: match &self.receipt {
                Some(path) => ReceiptStore::File(path.clone()),
                None => ReceiptStore::None,
            },
            image_parallel: session.images_at_once(),
        })
    }

    /// Returns the source, which need not send what a registry has already where no filter changes layers.
    fn for_destination(
        &self,
        source: Source,
        target: &Target,
        session: &Session,
    ) -> Result<Source> {
        let compression = target.option("compression").filter(|value| !value.is_empty());
        let is_changed = !self.filters.is_empty() || compression.is_some();
        match &target.endpoint {
            Endpoint::Repository(reference, client) if source.is_pushed() && !is_changed => {
                let counters = session.context()?.counters;
                Ok(source.to_repository(client.repository_to_push(reference, counters)?))
            }
            _ => Ok(source),
        }
    }

    /// Returns the layer cache: the user's file, or one of this run alone where several images may share layers.
    fn open_layer_cache(&self, target: &Target) -> Result<Option<LayerCache>> {
        match &self.layer_cache {
            Some(_) if self.all_platforms && self.filters.is_empty() => {
                tracing::warn!(
                    "--layer-cache has no effect with --all-platforms and without filters: no layer is changed"
                );
                Ok(None)
            }
            Some(_) if !LayerCache::serves(target) => {
                tracing::warn!("--layer-cache has no effect for '{}'", target.display);
                Ok(None)
            }
            Some(path) if self.receipt.as_ref().is_some_and(|receipt| same(receipt, path)) => {
                let path = path.display();
                Err(Error::usage(format!(
                    "'{path}' cannot be both the receipt and the layer cache"
                )))
            }
            Some(path) => LayerCache::open(path, target).map(Some),
            None if self.all_platforms && self.filters.is_empty() => Ok(None),
            None if target.holds_one() && !self.all_platforms => Ok(None),
            None => Ok(Some(LayerCache::of_this_run())),
        }
    }

    /// Returns the options without which the same command would not work again: those that name files and servers, and
    /// how foreign layers are treated. Each is one word; paths are absolute.
    fn repeat_options(&self, session: &Session, target: &Target) -> Vec<String> {
        let own = &target.plugin.description().name;
        let built_in = EMBEDDED.iter().any(|embedded| embedded.name == own);
        let word = |(name, path): (&'static str, &Path)| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            option(name, path.display())
        };
        let mut words = Vec::new();
        if target.force && occupied::is_unknown_file(target) {
            words.push(occupied::FORCE.to_owned());
        }
        words.extend(session.file_options(built_in).into_iter().map(word));
        let foreign_layers = self.foreign_layers.and_then(foreign_layers_name);
        words.extend(foreign_layers.map(|name| option("foreign-layers", name)));
        words.extend(self.referrers.as_ref().map(|types| match types {
            ReferrerTypes::All => option("referrers", "all"),
            ReferrerTypes::Only(types) => option("referrers", types.join(",")),
        }));
        words.extend(self.allow_net.iter().map(|server| option("allow-net", server)));
        words
    }
}

/// Returns the value of `--foreign-layers`; `None` for the default, which has no name.
fn foreign_layers_name(foreign_layers: ForeignLayers) -> Option<&'static str> {
    match foreign_layers {
        ForeignLayers::KeepOrFetch => None,
        ForeignLayers::Keep => Some("keep"),
        ForeignLayers::Fetch => Some("fetch"),
        ForeignLayers::Fail => Some("fail"),
    }
}

/// Checks that referrers can be moved, and that the image keeps the digest that they name.
fn check_referrers(source: &Source, target: &Target, is_unchanged: bool) -> Result<()> {
    if !source.is_registry() || !matches!(target.endpoint, Endpoint::Repository(..)) {
        return Err(Error::usage("referrers are moved from a registry to a registry")
            .hint("--referrers needs registry:// as source and as destination"));
    }
    let compresses = target.option("compression").is_some_and(|value| !value.is_empty());
    if !is_unchanged || compresses {
        let message = "referrers name an image by its digest, which filters and compression change";
        return Err(Error::usage(message).hint("leave out --referrers, or what changes the image"));
    }
    Ok(())
}

/// Checks that the destination can hold every platform, with unchanged digests where no filter changes an image.
fn check_all_platforms(target: &Target, is_unchanged: bool) -> Result<()> {
    let (plugin, place) = (target.plugin.description(), &target.display);
    if !plugin.oci_manifests {
        return Err(Error::usage(format!("'{place}' holds one platform of an image"))
            .hint("--all-platforms needs registry:// or oci-layout:// as destination"));
    }
    if is_unchanged && target.option("compression").is_some_and(|value| !value.is_empty()) {
        let message = "--all-platforms without filters keeps every digest, so that layers cannot be compressed again";
        return Err(Error::usage(message).hint("remove the option 'compression'"));
    }
    Ok(())
}
