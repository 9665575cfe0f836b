//! Context of a run: its settings and the services that all its parts share, and clients of servers for threads that
//! wait.
//!
//! What it refuses: permissions. A context gives nothing the right to write anywhere; grants do that.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::http::Counters;
use crate::web::Access;
use occystrap_base::cancel::Cancel;
use occystrap_base::parallel::cores;
use occystrap_base::terminal::progress::Progress;
use occystrap_base::warnings::Warnings;

/// Settings and services of a run. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Runtime on which requests run.
    pub runtime: Handle,
    /// Signal to stop, which Ctrl-C sets.
    pub cancel: Cancel,
    /// Progress bars.
    pub progress: Progress,
    /// Counts of requests that were made again, and of answers that said "too many requests".
    pub counters: Arc<Counters>,
    /// Number of layers that are fetched at the same time.
    pub parallel: usize,
    /// Directory for downloads until they are used.
    pub temp_dir: PathBuf,
    /// Directory for the layers of a source that arrives as one stream. It is in the destination's file system, where
    /// the destination has one: a layer there becomes part of the destination by a link, without being copied.
    pub import_dir: PathBuf,
    /// Whether to wait until the destination's files are on the disk (fsync).
    pub durable: bool,
    /// Web servers that plugins may send requests to.
    pub web: Access,
    /// Warnings about the image that is being moved.
    pub warnings: Warnings,
    /// What follows the name of the image in warnings: such as ` (linux/arm64)` for one of several platforms.
    pub part: String,
}

impl Context {
    /// Creates a context with these defaults: no progress bars, one layer at a time, files in the system's temporary
    /// directory, no fsync, no access to web servers.
    #[must_use]
    pub fn new(runtime: &Handle) -> Self {
        Self {
            runtime: runtime.clone(),
            cancel: Cancel::default(),
            progress: Progress::hidden(),
            counters: Arc::default(),
            parallel: 1,
            temp_dir: std::env::temp_dir(),
            import_dir: std::env::temp_dir(),
            durable: false,
            web: Access::default(),
            warnings: Warnings::default(),
            part: String::new(),
        }
    }

    /// Sets the signal to stop.
    #[must_use]
    pub fn with_cancel(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    /// Sets the progress bars.
    #[must_use]
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Sets how many layers are fetched at the same time.
    #[must_use]
    pub fn with_parallel(self, parallel: usize) -> Self {
        Self { parallel, ..self }
    }

    /// Sets the directory for temporary files, for [`Self::temp_dir`] and [`Self::import_dir`] alike.
    #[must_use]
    pub fn with_temp_dir(self, temp_dir: impl Into<PathBuf>) -> Self {
        let temp_dir = temp_dir.into();
        Self { import_dir: temp_dir.clone(), temp_dir, ..self }
    }

    /// Sets [`Self::import_dir`] alone.
    #[must_use]
    pub fn with_import_dir(self, import_dir: impl Into<PathBuf>) -> Self {
        Self { import_dir: import_dir.into(), ..self }
    }

    /// Sets the web servers that plugins may send requests to.
    #[must_use]
    pub fn with_web(self, web: Access) -> Self {
        Self { web, ..self }
    }

    /// Returns a context with counts that start at zero. What is counted of the whole run goes on.
    #[must_use]
    pub fn with_own_counters(self) -> Self {
        Self { counters: Arc::new(self.counters.beside()), ..self }
    }

    /// Returns a context with an empty list of warnings.
    #[must_use]
    pub fn with_own_warnings(self) -> Self {
        Self { warnings: Warnings::default(), ..self }
    }

    /// Sets what follows the name of the image in warnings.
    #[must_use]
    pub fn with_part(self, part: impl std::fmt::Display) -> Self {
        Self { part: part.to_string(), ..self }
    }

    /// Returns the name of the image for warnings, with its part.
    #[must_use]
    pub fn called(&self, name: impl std::fmt::Display) -> String {
        format!("{name}{}", self.part)
    }

    /// Returns a context that can be cancelled alone, and is cancelled with this one ([`Cancel::child`]).
    #[must_use]
    pub fn child(&self) -> Self {
        self.clone().with_cancel(self.cancel.child())
    }

    /// Returns a context whose progress bars show `name` in front of their labels.
    #[must_use]
    pub fn about(&self, name: &str) -> Self {
        self.clone().with_progress(self.progress.about(name))
    }

    /// Returns [`Self::about`] where several images are moved, and the same context for one.
    #[must_use]
    pub fn about_one_of(&self, several: bool, name: &str) -> Self {
        if several { self.about(name) } else { self.clone() }
    }

    /// Returns how many computations can run at the same time.
    #[must_use]
    pub fn cores(&self) -> usize {
        cores()
    }
}

/// Client of a server, which it dereferences to, with the runtime on which its requests run: for threads that wait for the answers, such as those
/// of plugins and of checks. Cheap to clone where the client is.
#[derive(Debug, Clone)]
pub struct Blocking<T> {
    client: T,
    runtime: Handle,
}

impl<T> Blocking<T> {
    /// Creates one from a client and the runtime of a run.
    #[must_use]
    pub fn new(client: T, context: &Context) -> Self {
        Self { client, runtime: context.runtime.clone() }
    }

    /// Returns the runtime.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits on this thread until a request is answered. It panics on a thread of the runtime, as
    /// [`Handle::block_on`] does.
    pub fn wait<R>(&self, request: impl Future<Output = R>) -> R {
        self.runtime.block_on(request)
    }
}

impl<T> Deref for Blocking<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.client
    }
}
