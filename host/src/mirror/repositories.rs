//! The repositories that the images of a run come from and go to: which are new, which blobs the ledger knows in them, and
//! when the run is done with one.
//!
//! What a run learns of a repository is forgotten when all its images have ended, so that memory does not grow with the
//! number of images. A blob of such a repository is still mounted elsewhere: the ledger knows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::host_and_repository;
use super::services::Services;
use super::tags::AT_A_TIME;
use occystrap_base::error::Result;
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::holding::BlobState;
use occystrap_mirror::ledger::{LONGEST_PAGE, Ledger};
use occystrap_net::registry::{BlobProof, KnownBlob, Repository};
use occystrap_net::uri::Uri;

/// Host and name of a repository.
type Name = (String, String);

/// The state of a repository.
#[derive(Default)]
struct State {
    /// Images that have not ended.
    left: usize,
    /// Whether its registry had nothing in it when the run began.
    is_new: bool,
    /// Whether the client knows the blobs that the ledger knows.
    is_seeded: bool,
}

/// The repositories of a run.
pub struct Repositories<'r, L> {
    ledger: &'r L,
    services: &'r Services<'r>,
    states: Mutex<HashMap<Name, State>>,
}

impl<'r, L: Ledger> Repositories<'r, L> {
    /// Counts the images of each repository, and asks the registries which destinations have nothing yet. Those of which
    /// the ledger knows a blob are not asked for.
    pub fn of(items: &[MirrorItem<'_>], ledger: &'r L, services: &'r Services<'r>) -> Result<Self> {
        let mut states: HashMap<Name, State> = HashMap::new();
        let mut destinations = BTreeMap::new();
        for item in items {
            states.entry(source(item)).or_default().left += 1;
            if let Some(name) = destination(item) {
                states.entry(name.clone()).or_default().left += 1;
                destinations.entry(name).or_insert(&*item.destination.uri);
            }
        }
        let mut unknown = Vec::new();
        for (name, uri) in destinations {
            if ledger.links(&name.0, &name.1, None, 1)?.is_empty() {
                unknown.push((name, uri));
            }
        }
        let found = services.each(unknown, AT_A_TIME, |(name, uri)| {
            let repository = at(uri, services);
            async move {
                let repository = repository?;
                // A registry that refuses the list is asked for each image.
                let is_new = matches!(repository.tags().await, Ok(None));
                if is_new {
                    repository.note_new();
                }
                Ok(is_new.then_some(name))
            }
        })?;
        for name in found.into_iter().filter_map(Result::transpose) {
            states.entry(name?).or_default().is_new = true;
        }
        Ok(Self { ledger, services, states: Mutex::new(states) })
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Name, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the destination of an item was in a repository with nothing when the run began.
    #[must_use]
    pub fn is_new(&self, item: &MirrorItem<'_>) -> bool {
        destination(item).is_some_and(|name| self.states().get(&name).is_some_and(|it| it.is_new))
    }

    /// Tells the client of the destination which blobs the ledger knows in its repository. They are not sent again, and
    /// are verified again.
    pub fn seed(&self, item: &MirrorItem<'_>) -> Result<()> {
        let Some(name) = destination(item) else { return Ok(()) };
        // Other images of the repository wait until it is done.
        let mut states = self.states();
        let state = states.entry(name.clone()).or_default();
        if std::mem::replace(&mut state.is_seeded, true) {
            return Ok(());
        }
        let repository = at(&item.destination.uri, self.services)?;
        let mut after = None;
        loop {
            let links = self.ledger.links(&name.0, &name.1, after.as_ref(), LONGEST_PAGE)?;
            for link in links.iter().filter(|link| link.state != BlobState::Bad) {
                let blob = KnownBlob { size: link.size, proof: BlobProof::Sent, diff_id: None };
                repository.note_blob(link.digest, blob);
            }
            if !links.is_empty() {
                repository.note_recorded();
            }
            match links.last() {
                Some(last) if links.len() == LONGEST_PAGE => after = Some(last.digest),
                _ => return Ok(()),
            }
        }
    }

    /// Notes that an item has ended. What was learned of a repository without other items is forgotten.
    pub fn ended(&self, item: &MirrorItem<'_>) -> Result<()> {
        if self.is_last(source(item)) {
            self.services.source(&item.source)?.forget();
        }
        if destination(item).is_some_and(|name| self.is_last(name)) {
            at(&item.destination.uri, self.services)?.forget();
        }
        Ok(())
    }

    /// Counts an item that has ended. Returns whether it was the last one of its repository.
    fn is_last(&self, name: Name) -> bool {
        let mut states = self.states();
        let Some(state) = states.get_mut(&name) else { return false };
        state.left = state.left.saturating_sub(1);
        state.left == 0
    }
}

fn source(item: &MirrorItem<'_>) -> Name {
    (item.source.host.clone(), item.source.repository.clone())
}

/// Returns the repository of a destination; `None` where that is no registry.
fn destination(item: &MirrorItem<'_>) -> Option<Name> {
    let uri = &item.destination.uri;
    uri.starts_with("registry://").then(|| host_and_repository(uri))
}

fn at(uri: &str, services: &Services<'_>) -> Result<Repository> {
    services.repository(&Uri::parse(uri)?)
}
