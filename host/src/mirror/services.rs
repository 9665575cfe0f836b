//! What all items of a run share: clients of registries, plugins, and the context.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::exported::loaded::LoadedExport;
use super::layouts::Layouts;
use crate::Session;
use crate::api::Clients;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;
use occystrap_mirror::ledger::Holdings;
use occystrap_mirror::ledger::holding::{BlobState, HeldBlob};
use occystrap_net::context::Context;
use occystrap_net::registry::{BlobRecord, Reference, RegistryClient, Repository};
use occystrap_net::uri::Uri;
use occystrap_output::plugin::Catalog;

/// What all items of a run share.
pub struct Services<'s> {
    /// The session.
    pub session: &'s Session,
    /// Clients of registries, which share connections, logins and what is known of blobs.
    pub clients: Clients,
    /// Output plugins.
    pub catalog: Catalog,
    /// The context.
    pub context: Context,
    /// Requests at a time that every host allows; `None` where no host has a limit.
    connections: Option<usize>,
    /// The command that tries an image again, for hints.
    pub again: String,
    /// The tags of layouts.
    pub layouts: Layouts,
    /// The export that images are loaded from; `None` where they come from their registries.
    pub exported: Option<Arc<LoadedExport>>,
    /// The tags `sha256-...` of repositories of which all tags were listed, by `HOST/REPOSITORY`.
    digest_tags: Mutex<HashMap<String, Arc<BTreeSet<String>>>>,
}

/// The ledger, as a record of blobs.
struct LedgerRecord<L>(Arc<L>);

impl<L: Holdings + Send + Sync> BlobRecord for LedgerRecord<L> {
    fn repository_with(&self, host: &str, except: &str, digest: Digest) -> Option<String> {
        let found = self.0.repos_to_mount(host, &digest, 2).ok()?;
        found.into_iter().find(|name| name != except)
    }

    fn is_bad(&self, host: &str, digest: Digest) -> bool {
        // A ledger that cannot be read ends the run elsewhere; until then every blob is read.
        self.0
            .blob(host, &digest)
            .map_or(true, |blob| blob.is_some_and(|blob| blob.state == BlobState::Bad))
    }

    fn landed(&self, host: &str, repository: &str, digest: Digest, size: u64) {
        let (host, repo) = (host.to_owned(), repository.to_owned());
        // The item is recorded as well when it ends, and then an error of the ledger ends the run.
        if let Err(error) = self.0.note_blobs(&[HeldBlob { host, repo, digest, size }]) {
            tracing::warn!("{error}");
        }
    }
}

impl<'s> Services<'s> {
    /// Prepares the services of one run. `connections` is the limit of [`Services::at_once`].
    pub fn new(session: &'s Session, connections: Option<usize>, again: String) -> Result<Self> {
        let clients = session.clients();
        let (catalog, context) = (session.catalog()?, session.context()?);
        let (layouts, digest_tags) = (Layouts::default(), Mutex::default());
        let exported = None;
        Ok(Self {
            session,
            clients,
            catalog,
            context,
            connections,
            again,
            layouts,
            exported,
            digest_tags,
        })
    }

    /// Notes all tags of a repository. Those that belong to other images, by their digests, are kept.
    pub fn note_tags(&self, place: String, tags: &[String]) {
        let kept = tags.iter().filter(|tag| tag.starts_with("sha256-")).cloned().collect();
        let mut known = self.digest_tags.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(place, Arc::new(kept));
    }

    /// Returns the tags `sha256-...` of a repository; `None` where its tags were not listed.
    pub fn digest_tags(&self, place: &str) -> Option<Arc<BTreeSet<String>>> {
        self.digest_tags.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned()
    }

    /// Returns a client. All clients share what the run knows of blobs and of registries.
    fn client(&self) -> Result<RegistryClient> {
        self.clients.of(&Uri::parse("registry://localhost/any")?)
    }

    /// Forgets what is known of blobs in the repository of a destination, so that its registry is asked for each.
    pub fn forget_blobs(&self, uri: &str) -> Result<()> {
        let uri = Uri::parse(uri)?;
        if uri.scheme == "registry" {
            self.repository(&uri)?.forget_blobs();
        }
        Ok(())
    }

    /// Returns the name that requests to a registry have.
    pub fn request_host(&self, host: &str) -> Option<String> {
        self.client().ok()?.request_host(host)
    }

    /// Returns which registries have the API for referrers, of those that were asked.
    pub fn referrer_apis(&self) -> Result<BTreeMap<String, bool>> {
        Ok(self.client()?.referrer_apis())
    }

    /// Lets pushes mount blobs that the ledger knows at the destination.
    pub fn consult<L: Holdings + Send + Sync + 'static>(&self, ledger: &Arc<L>) -> Result<()> {
        let record = Arc::new(LedgerRecord(Arc::clone(ledger)));
        let _ = self.client()?.with_record(record).for_many_images();
        Ok(())
    }

    /// Returns whether a destination holds the index of an image, and not one platform alone: its plugin writes OCI
    /// manifests. Errors when no plugin writes to its scheme.
    pub fn holds_indexes(&self, uri: &Uri) -> Result<bool> {
        Ok(self.catalog.for_scheme(&uri.scheme)?.description().oci_manifests)
    }

    /// Returns a repository to read from. `uri` is the URI that names it, with its options.
    pub fn repository(&self, uri: &Uri) -> Result<Repository> {
        let reference = Reference::parse(&uri.rest)?;
        self.clients.of(uri)?.repository(&reference, self.context.counters.clone())
    }

    /// Returns a repository to write to. `uri` is the URI that names it, with its options.
    pub fn repository_to_push(&self, uri: &Uri) -> Result<Repository> {
        let reference = Reference::parse(&uri.rest)?;
        self.clients.of(uri)?.repository_to_push(&reference, self.context.counters.clone())
    }

    /// Returns a repository of a source.
    pub fn source(&self, reference: &Reference) -> Result<Repository> {
        self.repository(&Uri::parse(&format!("registry://{reference}"))?)
    }

    /// Returns how much is done at a time where `usual` is usual: no more than the limit of each host allows, and at least 1.
    #[must_use]
    pub fn at_once(&self, usual: usize) -> usize {
        self.connections.map_or(usual, |limit| limit.min(usual)).max(1)
    }

    /// Waits for the end of requests.
    pub fn wait<T>(&self, requests: impl Future<Output = T>) -> T {
        self.context.runtime.block_on(requests)
    }

    /// Runs a request for each of `items`, at most `most` at a time, and no more than the hosts allow. The results have the
    /// order of the items. Errors when the user interrupts.
    pub fn each<T, R, F>(
        &self,
        items: impl IntoIterator<Item = T>,
        most: usize,
        mut request: impl FnMut(T) -> F,
    ) -> Result<Vec<R>>
    where
        F: Future<Output = R> + Send + 'static,
        R: Send + 'static,
    {
        let most = self.at_once(most);
        let mut items = items.into_iter().enumerate();
        let mut results: Vec<Option<R>> = Vec::new();
        self.wait(async {
            let mut tasks = JoinSet::new();
            loop {
                while tasks.len() < most {
                    let Some((index, item)) = items.next() else { break };
                    let answer = request(item);
                    results.push(None);
                    tasks.spawn(async move { (index, answer.await) });
                }
                match tasks.join_next().await {
                    None => return Ok(()),
                    Some(Ok((index, result))) => {
                        if let Some(slot) = results.get_mut(index) {
                            *slot = Some(result);
                        }
                    }
                    Some(Err(_)) => return Err(Error::interrupted()),
                }
                self.context.cancel.check()?;
            }
        })?;
        Ok(results.into_iter().flatten().collect())
    }
}
