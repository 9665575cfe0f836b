//! The session: settings and services that the operations of one program share.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clients::Clients;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits::Allowance;
use occystrap_base::oci::PlatformRequest;
use occystrap_base::secret::Secret;
use occystrap_base::terminal::progress::{Progress, ProgressSink};
use occystrap_images::source::{self, Source};
use occystrap_net::context::Context;
use occystrap_net::http::Settings;
use occystrap_net::uri::{self, Uri};
use occystrap_net::web::netrc::Netrc;
use occystrap_net::web::{Access, Allow, Logins};
use occystrap_output::plugin::{Catalog, Installed, PluginEngine};

/// Threads of the network runtime: two move a gigabyte per second from sockets, and more would only wait.
const NETWORK_THREADS: usize = 2;

/// Layers that are fetched in parallel, unless the caller says otherwise.
const PARALLEL: u16 = 4;

/// Images that are moved in parallel, unless the caller says otherwise.
const IMAGE_PARALLEL: u16 = 3;

/// Settings and services that several operations share: the network runtime, cancellation, progress, logins, plugins.
///
/// Each setting is a method that takes and returns the session. Cloning is cheap.
///
/// ```
/// # fn main() -> occystrap::Result<()> {
/// let session = occystrap::Session::new()?.parallel(8).temp_dir("/var/tmp");
/// # Ok(()) }
/// ```
///
/// Operations block the calling thread. A program that is itself asynchronous calls them from
/// `tokio::task::spawn_blocking`; inside an asynchronous task they would panic.
#[derive(Clone)]
pub struct Session {
    runtime: tokio::runtime::Handle,
    /// Keeps a runtime of this session running as long as the session.
    _own: Option<Arc<OwnRuntime>>,
    cancel: Cancel,
    progress: Progress,
    registry: Settings,
    platform: Option<PlatformRequest>,
    platform_parts: PlatformRequest,
    parallel: u16,
    image_parallel: u16,
    temp_dir: Option<PathBuf>,
    netrc_file: Option<PathBuf>,
    plugins: Vec<PathBuf>,
    plugin_dir: Option<PathBuf>,
}

/// A runtime that ends without waiting for its tasks: a download that is not needed any more must not block the
/// program.
struct OwnRuntime(Option<tokio::runtime::Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts a runtime for requests. Errors when the system refuses its threads.
pub fn network_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(NETWORK_THREADS).enable_all().build()
}

/// Whose plugins and receipts take part in an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The user's own.
    User,
    /// Those of other users, who are not trusted.
    Untrusted,
}

impl Session {
    /// Starts a session with a network runtime of its own. Errors when the system refuses its threads.
    pub fn new() -> Result<Self> {
        let runtime = network_runtime()
            .map_err(|cause| Error::io(Kind::Destination, "start", "the network", &cause))?;
        let session = Self::on(runtime.handle().clone());
        Ok(Self { _own: Some(Arc::new(OwnRuntime(Some(runtime)))), ..session })
    }

    /// Starts a session that uses the runtime of the caller. It needs more than one thread, time and I/O.
    #[must_use]
    pub fn on(runtime: tokio::runtime::Handle) -> Self {
        uri::keep_secrets_of_environment();
        Self {
            runtime,
            _own: None,
            cancel: Cancel::default(),
            progress: Progress::hidden(),
            registry: Settings::default(),
            platform: None,
            platform_parts: PlatformRequest::default(),
            parallel: PARALLEL,
            image_parallel: IMAGE_PARALLEL,
            temp_dir: None,
            netrc_file: None,
            plugins: Vec::new(),
            plugin_dir: None,
        }
    }

    /// Stops operations when `cancel` is cancelled: they roll back and end with an error of the kind `Interrupted`.
    #[must_use]
    pub fn cancel(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    /// Reports progress to `sink`. By default a session shows no progress.
    #[must_use]
    pub fn progress(self, sink: impl ProgressSink + 'static) -> Self {
        Self { progress: Progress::reported_to(Arc::new(sink)), ..self }
    }

    /// Shows progress bars on standard error where that is a terminal.
    #[must_use]
    pub fn progress_on_terminal(self) -> Self {
        Self { progress: Progress::on_terminal(), ..self }
    }

    /// Uses progress bars that exist already.
    #[must_use]
    pub(crate) fn shown_on(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Sets the number of layers that are fetched in parallel, 4 by default. 0 counts as 1.
    #[must_use]
    pub fn parallel(self, layers: u16) -> Self {
        Self { parallel: layers.max(1), ..self }
    }

    /// Sets the number of images that are moved in parallel, 3 by default. 0 counts as 1.
    #[must_use]
    pub fn image_parallel(self, images: u16) -> Self {
        Self { image_parallel: images.max(1), ..self }
    }

    /// Sets the folder for downloads that wait for their turn, instead of the system's temporary folder.
    #[must_use]
    pub fn temp_dir(self, folder: impl Into<PathBuf>) -> Self {
        Self { temp_dir: Some(folder.into()), ..self }
    }

    /// Sets the login for registries. The login in a URI takes precedence.
    #[must_use]
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.registry.username = Some(user.to_owned());
        self.registry.password = Some(Secret::new(password.to_owned()));
        self.registry.login_origin = "the session";
        self
    }

    /// Sets a file with logins in the format of Docker or Podman, instead of the places where these keep theirs.
    #[must_use]
    pub fn authfile(mut self, file: impl Into<PathBuf>) -> Self {
        self.registry.authfile = Some(file.into());
        self
    }

    /// Uses plain HTTP for registries instead of HTTPS. Certificates are always checked.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.registry.insecure = insecure;
        self
    }

    /// Sets a PEM file with certificates to trust in addition to those of the system.
    #[must_use]
    pub fn ca_bundle(mut self, file: impl Into<PathBuf>) -> Self {
        self.registry.ca_bundle = Some(file.into());
        self
    }

    /// Sets how often a request that failed for a temporary reason is repeated, 3 times by default.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.registry.retries = retries;
        self
    }

    /// Limits the requests a second to single hosts.
    #[must_use]
    pub(crate) fn host_rates(mut self, rates: impl IntoIterator<Item = (String, f64)>) -> Self {
        self.registry.host_rates.extend(rates);
        self
    }

    /// Replaces all settings for registries.
    #[must_use]
    pub(crate) fn registry(self, registry: Settings) -> Self {
        Self { registry, ..self }
    }

    /// Sets a file with logins for web servers, in the format of curl, instead of `$NETRC` and `~/.netrc`.
    #[must_use]
    pub fn netrc_file(self, file: impl Into<PathBuf>) -> Self {
        Self { netrc_file: Some(file.into()), ..self }
    }

    /// Sets the platform of the image: which image is chosen where a source has several; a source that has only another
    /// platform is an error.
    #[must_use]
    pub fn platform(self, platform: PlatformRequest) -> Self {
        Self { platform: Some(platform), ..self }
    }

    /// Sets parts of the platform, which the options of a source URI may overrule.
    #[must_use]
    pub(crate) fn platform_parts(self, platform_parts: PlatformRequest) -> Self {
        Self { platform_parts, ..self }
    }

    /// Adds an output plugin from the file of its component.
    #[must_use]
    pub fn plugin(mut self, file: impl Into<PathBuf>) -> Self {
        self.plugins.push(file.into());
        self
    }

    /// Sets the folder of added plugins, instead of `~/.local/share/occystrap/plugins`.
    #[must_use]
    pub fn plugin_dir(self, folder: impl Into<PathBuf>) -> Self {
        Self { plugin_dir: Some(folder.into()), ..self }
    }

    /// Returns the context of one operation. Errors when the temporary folder does not exist.
    pub(crate) fn context(&self) -> Result<Context> {
        let temp_dir = self.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        if !temp_dir.is_dir() {
            return Err(Error::usage(format!(
                "the temporary folder '{}' does not exist",
                temp_dir.display()
            )));
        }
        Ok(Context::new(&self.runtime)
            .with_cancel(self.cancel.clone())
            .with_progress(self.progress.clone())
            .with_parallel(self.parallel.into())
            .with_temp_dir(temp_dir)
            // Layers that are stored elsewhere are fetched as the user reaches other servers.
            .with_web(self.web(&[], Trust::Untrusted)?))
    }

    /// Returns access to the named web servers, with their logins. The logins in the user's home are used only for what
    /// is the user's own. Errors when a name is no server.
    pub(crate) fn web(&self, names: &[String], trust: Trust) -> Result<Access> {
        let mut allow = Allow::default();
        for name in names {
            allow.name(name)?;
        }
        let usual = || Netrc::usual(|name| std::env::var_os(name)).map(Logins::Usual);
        let logins = match &self.netrc_file {
            Some(file) => Logins::Named(file.clone()),
            None if trust == Trust::User => usual().unwrap_or_default(),
            None => Logins::None,
        };
        Ok(Access::new(allow, logins, &self.registry))
    }

    /// Returns the platform that is requested of a source. Errors when it is given twice: options may stand on both
    /// sides of the command, where their parser does not see that they conflict.
    pub(crate) fn requested(&self, source: &Uri) -> Result<PlatformRequest> {
        let parts = self.platform_parts.clone();
        let Some(platform) = &self.platform else { return Ok(parts) };
        if !parts.is_nothing() {
            return Err(Error::usage(
                "--platform cannot be combined with --os, --architecture or --variant",
            )
            .hint("--platform OS/ARCH[/VARIANT] sets all three"));
        }
        let of_uri = source::wanted_by(source);
        if of_uri.is_nothing() || of_uri.clone().or(platform) == *platform {
            return Ok(platform.clone());
        }
        let message = format!(
            "--platform requests {}, '{}' requests another platform",
            platform.platform(),
            source.display()
        );
        Err(Error::usage(message).hint("name the platform in one place only"))
    }

    /// Returns the source that a URI names, for an operation without a destination.
    pub(crate) fn source(&self, uri: &str) -> Result<Source> {
        self.source_of(&Uri::parse(uri)?, &self.clients())
    }

    /// Returns the source of a URI, which shares connections and logins with others of these clients. Errors as
    /// [`Self::source`].
    pub(crate) fn source_of(&self, uri: &Uri, clients: &Clients) -> Result<Source> {
        Source::parse(uri, &self.requested(uri)?, |uri| clients.of(uri))
    }

    /// Returns the registry clients for one operation.
    pub(crate) fn clients(&self) -> Clients {
        Clients::new(&self.registry, &self.cancel)
    }

    /// Returns an engine for plugins, whose compilers end when the session is cancelled.
    pub(crate) fn engine(&self, allowance: Allowance) -> Result<PluginEngine> {
        PluginEngine::cancelled_by(&self.cancel, allowance)
    }

    /// Returns all plugins: built in, added, and those of this session.
    pub(crate) fn catalog(&self) -> Result<Catalog> {
        let catalog = Catalog::new(self.engine(Allowance::default())?, &self.plugins)?;
        Ok(catalog.with_installed(self.installed()))
    }

    /// Returns the folder of added plugins. `None` if no folder is set and the user has no home.
    pub(crate) fn installed(&self) -> Option<Installed> {
        let named = self.plugin_dir.clone();
        let named = named.filter(|folder| !folder.as_os_str().is_empty());
        named.map(Installed::at).or_else(|| Installed::of_user(|name| std::env::var_os(name)))
    }

    /// The signal that stops operations.
    pub(crate) fn stop(&self) -> &Cancel {
        &self.cancel
    }

    /// The runtime of downloads and waits.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// The bars, if there are any.
    pub(crate) fn bars(&self) -> &Progress {
        &self.progress
    }

    /// Settings for registries.
    pub(crate) fn registry_settings(&self) -> &Settings {
        &self.registry
    }

    /// Images that are moved in parallel.
    pub(crate) fn images_at_once(&self) -> usize {
        self.image_parallel.into()
    }

    /// Component files of this session.
    pub(crate) fn plugin_files(&self) -> &[PathBuf] {
        &self.plugins
    }

    /// Returns the options that name files and apply to every command: `(name, path)`. The first two are needed only
    /// for plugins that are not built in.
    pub(crate) fn file_options(&self, built_in: bool) -> Vec<(&'static str, &Path)> {
        let mut files: Vec<(&'static str, &Path)> = Vec::new();
        if !built_in {
            files.extend(self.plugins.iter().map(|path| ("plugin", path.as_path())));
            files.extend(self.plugin_dir.iter().map(|path| ("plugin-dir", path.as_path())));
        }
        let Settings { authfile, ca_bundle, .. } = &self.registry;
        files.extend(authfile.iter().map(|path| ("authfile", path.as_path())));
        files.extend(ca_bundle.iter().map(|path| ("ca-bundle", path.as_path())));
        files.extend(self.netrc_file.iter().map(|path| ("netrc-file", path.as_path())));
        files
    }
}
