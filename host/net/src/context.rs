//! What every part of one run needs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::http::Counters;
use crate::web::Access;
use occystrap_base::cancel::Cancel;
use occystrap_base::parallel::cores;
use occystrap_base::terminal::progress::Progress;
use occystrap_base::warnings::Warnings;

/// Settings and services of a run. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Where downloads run.
    pub runtime: tokio::runtime::Handle,
    /// Hears of Ctrl-C.
    pub cancel: Cancel,
    /// What the user sees of the work.
    pub progress: Progress,
    /// Requests that were tried again, and pauses that a server asked for.
    pub counters: Arc<Counters>,
    /// How many layers are fetched side by side.
    pub parallel: usize,
    /// Where downloads wait for their turn.
    pub temp_dir: PathBuf,
    /// Where a source that comes as one stream is taken apart: the destination's own file system,
    /// where it has one, so that a layer that is there already needs only its name.
    pub spool: PathBuf,
    /// Whether to wait until the destination is on the disk.
    pub durable: bool,
    /// Which places on the web plugins may ask.
    pub web: Access,
    /// What the user was warned about, of the image that is moved.
    pub warnings: Warnings,
}

impl Context {
    /// The same, for one of several things that are worked on.
    #[must_use]
    pub fn about(&self, name: &str) -> Self {
        Self { progress: self.progress.about(name), ..self.clone() }
    }

    /// The same, where there are several.
    #[must_use]
    pub fn about_one_of(&self, several: bool, name: &str) -> Self {
        if several { self.about(name) } else { self.clone() }
    }

    /// How much can be computed at once.
    #[must_use]
    pub fn cores(&self) -> usize {
        cores()
    }
}
