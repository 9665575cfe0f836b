//! Verifying receipts of other users: the builder.

use std::path::PathBuf;
use std::time::Duration;

use super::session::{Session, Trust};
use occystrap_base::error::{Error, Result};
use occystrap_base::limits::Allowance;
use occystrap_output::plugin::Catalog;
use occystrap_verify::untrusted::{self, BatchLimits, Grants, ReceiptReport, ReceiptSummary};

/// Verification of receipts and plugins that are not trusted, many in parallel.
///
/// The verdict is that of the host: what the host has not seen itself is unconfirmed. Nothing is granted by default;
/// a receipt about a place that was not granted gets no verdict.
///
/// ```no_run
/// use occystrap::{Session, VerifyBatch};
/// # fn main() -> occystrap::Result<()> {
/// let summary = VerifyBatch::new(["/srv/receipts/a.json", "/srv/receipts/b.json"])
///     .root("/srv/images")
///     .run(&Session::new()?, |report| {
///         println!("{}: {:?}", report.receipt, report.status);
///         Ok(())
///     })?;
/// println!("{summary}");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct VerifyBatch {
    receipts: Vec<PathBuf>,
    roots: Vec<PathBuf>,
    registries: Vec<String>,
    allow_net: Vec<String>,
    bounds: BatchLimits,
}

impl VerifyBatch {
    /// Verifies the receipts in these files.
    #[must_use]
    pub fn new<P: Into<PathBuf>>(receipts: impl IntoIterator<Item = P>) -> Self {
        Self {
            receipts: receipts.into_iter().map(Into::into).collect(),
            roots: Vec::new(),
            registries: Vec::new(),
            allow_net: Vec::new(),
            bounds: BatchLimits::default(),
        }
    }

    /// Grants destinations in this folder, at any depth.
    #[must_use]
    pub fn root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.roots.push(folder.into());
        self
    }

    /// Grants repositories of this registry: its host and, if it has one, its port. The login of the session is sent
    /// there.
    #[must_use]
    pub fn registry(mut self, host: impl Into<String>) -> Self {
        self.registries.push(host.into());
        self
    }

    /// Grants destinations on this web server.
    #[must_use]
    pub fn allow_net(mut self, server: impl Into<String>) -> Self {
        self.allow_net.push(server.into());
        self
    }

    /// Sets the time that one receipt may take, 10 minutes by default.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.bounds.time = time;
        self
    }

    /// Sets the time that all receipts together may take, an hour by default.
    #[must_use]
    pub fn batch_time(mut self, time: Duration) -> Self {
        self.bounds.batch_time = time;
        self
    }

    /// Sets the number of receipts that are verified in parallel, one per processor by default. 0 counts as 1.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.bounds.workers = workers.max(1);
        self
    }

    /// Verifies the receipts and calls `each` with the report of each as soon as it is known. Problems of a receipt, of
    /// its destination or of its plugin are in its report. Errors when a grant is wrong, the session is cancelled, or
    /// `each` errors, which ends the batch.
    pub fn run(
        &self,
        session: &Session,
        each: impl FnMut(&ReceiptReport) -> Result<()>,
    ) -> Result<ReceiptSummary> {
        let unusable = |error: &Error| {
            tracing::warn!("{error}");
            Ok(())
        };
        self.run_with(session, unusable, each)
    }

    /// Runs like [`Self::run`], and calls `unusable` with the error of each plugin that cannot be used: the receipts of
    /// other plugins are verified nevertheless.
    pub(crate) fn run_with(
        &self,
        session: &Session,
        mut unusable: impl FnMut(&Error) -> Result<()>,
        each: impl FnMut(&ReceiptReport) -> Result<()>,
    ) -> Result<ReceiptSummary> {
        let mut context = session.context()?;
        context.web = session.web(&self.allow_net, Trust::Untrusted)?;
        if let Some(uri) = self.receipts.iter().find(|path| path.to_string_lossy().contains("://"))
        {
            let uri = occystrap_net::uri::Uri::hide(&uri.to_string_lossy());
            return Err(Error::usage(format!("'{uri}' is not a receipt")).hint(
                "--untrusted takes the files that 'occystrap process --receipt FILE' writes",
            ));
        }
        let mut grants = Grants::none().with_settings(session.registry_settings().clone());
        for folder in &self.roots {
            grants.root(folder)?;
        }
        self.registries.iter().for_each(|host| grants.registry(host));
        let engine = session.engine(Allowance::untrusted())?;
        let mut catalog = Catalog::new(engine, &[])?.with_installed(session.installed());
        for file in session.plugin_files() {
            if let Err(error) = catalog.add_file(file) {
                unusable(&error)?;
            }
        }
        untrusted::verify_batch(&self.receipts, &catalog, &grants, &self.bounds, &context, each)
    }
}
