//! Storing images of upstream registries downstream: in tasks of their own, which no client waits for, except where filters
//! make an image that nothing knows before.
//!
//! Of an index, only the images that clients pulled are stored, and an index that lists these under the tag. When all are
//! there, it is the index of the upstream registry, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use hyper::StatusCode;
use tokio::sync::watch;

use super::event::ProxyEvent;
use super::fetch::Fetch;
use super::known::{MOST, blobs};
use super::moving::{Moved, Order, Origin, move_downstream};
use super::shared::{Shared, broke_down};
use super::upstream::Through;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Descriptor, Digest, ImageName, Manifest};
use occystrap_images::source::content_store::parse_index;
use occystrap_images::source::held::HeldImage;
use occystrap_images::source::received::ReceivedStore;
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::route::Target;

/// Blobs of one image that are fetched at the same time.
const AT_A_TIME: usize = 4;

/// Time after which a client may ask again for an image that is being filtered.
const FILTER_WAIT: Duration = Duration::from_secs(10);

/// Starts to fetch a blob, or joins the fetch that has begun.
pub fn fetch(shared: &Arc<Shared>, through: &Through, what: &Descriptor) -> Result<Arc<Fetch>> {
    let upstream = through.repository(&shared.clients, &shared.context)?;
    let listener = Arc::clone(shared);
    let failed = move |error: &Error| listener.tell(ProxyEvent::Warning(error.to_string()));
    shared.through.fetches.start(&through.key(), what, &upstream, &shared.blobs, failed)
}

/// Stores an image that a client gets, if it is not stored yet.
pub fn keep(shared: &Arc<Shared>, through: &Through, manifest: &Manifest) {
    let key = through.key();
    if manifest.is_index() {
        let Ok(index) = parse_index(&manifest.bytes, "") else { return };
        let mut state = shared.through.stores.state();
        for entry in &index.manifests {
            if let Ok(what) = entry.promised("") {
                state.indexes.insert((key.clone(), what.digest), manifest.clone());
            }
        }
        return;
    }
    let id = (key.clone(), manifest.digest);
    {
        let mut state = shared.through.stores.state();
        let tags = shared.through.tags_of(&key, manifest.digest);
        let is_stored =
            |tag: Option<String>| state.stored.contains(&(key.clone(), manifest.digest, tag));
        let is_known = match tags.is_empty() {
            true => is_stored(None),
            false => tags.iter().all(|tag| is_stored(Some(tag.clone()))),
        };
        if is_known || !state.running.insert(id.clone()) {
            return;
        }
    }
    let (shared, through, manifest) = (Arc::clone(shared), through.clone(), manifest.clone());
    tokio::spawn(async move {
        let Ok(queued) = Arc::clone(&shared.queue).acquire_owned().await else { return };
        if let Err(refusal) = store(&shared, &through, &manifest).await {
            let image = through.image(&manifest.digest.to_string()).display();
            shared.tell(ProxyEvent::Warning(format!("{image}: not stored: {}", refusal.message)));
        }
        shared.through.stores.state().running.remove(&id);
        drop(queued);
    });
}

/// Fetches what belongs to an image, and stores it, then its tags or the index that lists it.
async fn store(
    shared: &Arc<Shared>,
    through: &Through,
    manifest: &Manifest,
) -> Result<(), Refusal> {
    let key = through.key();
    fetch_all(shared, through, manifest).await?;
    let tags = shared.through.tags_of(&key, manifest.digest);
    let targets: Vec<Target> = match tags.is_empty() {
        true => vec![Target::Digest(manifest.digest)],
        false => tags.into_iter().map(Target::Tag).collect(),
    };
    for target in targets {
        let tag = target.tag().map(str::to_owned);
        let image = held(shared, through, std::slice::from_ref(manifest), manifest, tag.clone())?;
        move_held(shared, through, image, target, false).await?;
        shared.through.stores.state().stored.insert((key.clone(), manifest.digest, tag));
        shared.blobs.note_landed(&key, blobs(manifest).into_iter().map(|what| what.digest));
    }
    let index = shared.through.stores.state().indexes.get(&(key, manifest.digest)).cloned();
    match index {
        Some(index) => store_index(shared, through, &index).await,
        None => Ok(()),
    }
}

/// Stores an index under its tags, with the images that are stored.
async fn store_index(
    shared: &Arc<Shared>,
    through: &Through,
    index: &Manifest,
) -> Result<(), Refusal> {
    let key = through.key();
    let tags = shared.through.tags_of(&key, index.digest);
    let listed = parse_index(&index.bytes, "");
    let listed = listed.map_err(|error| shared.refusal(&error, Code::ManifestInvalid))?;
    let digests: Vec<Digest> = listed
        .manifests
        .iter()
        .filter_map(|entry| entry.promised("").ok().map(|what| what.digest))
        .collect();
    let mut parts = vec![index.clone()];
    for digest in digests {
        let is_stored = {
            let state = shared.through.stores.state();
            state.stored.iter().any(|(of, known, _)| *of == key && *known == digest)
        };
        if is_stored && let Some(known) = shared.through.manifests.by_digest(&key, digest) {
            parts.push(known.manifest);
        }
    }
    for tag in tags {
        let image = held(shared, through, &parts, index, Some(tag.clone()))?;
        move_held(shared, through, image, Target::Tag(tag), true).await?;
    }
    Ok(())
}

/// Fetches the blobs of an image that are not stored yet.
async fn fetch_all(
    shared: &Arc<Shared>,
    through: &Through,
    manifest: &Manifest,
) -> Result<(), Refusal> {
    let key = through.key();
    let downstream = shared.repository(&through.name)?;
    let fetched = stream::iter(blobs(manifest)).map(|what| {
        let (key, downstream) = (&key, &downstream);
        async move {
            if shared.blobs.get(key, what.digest).is_some()
                || downstream.stat_blob(what.digest).await?.is_some()
            {
                return Ok(());
            }
            fetch(shared, through, &what)?.end().await
        }
    });
    fetched
        .buffer_unordered(AT_A_TIME)
        .try_collect::<()>()
        .await
        .map_err(|error| shared.refusal(&error, Code::BlobUnknown))
}

/// Returns an image whose manifests and blobs are here, or stored already.
fn held(
    shared: &Shared,
    through: &Through,
    parts: &[Manifest],
    root: &Manifest,
    tag: Option<String>,
) -> Result<Arc<HeldImage>, Refusal> {
    let key = through.key();
    let others = shared.repository(&through.name)?;
    let found = parts
        .iter()
        .flat_map(blobs)
        .filter_map(|what| Some((what.digest, shared.blobs.get(&key, what.digest)?)));
    let store = ReceivedStore {
        place: through.image(&root.digest.to_string()).display(),
        blobs: found.collect(),
        manifests: parts.iter().map(|part| (part.digest, part.clone())).collect(),
        others: Some(others),
    };
    let name = ImageName { repository: through.name.clone(), tag };
    Ok(Arc::new(store.image(name, root.digest, true)))
}

/// Moves an image when a place is free, on a thread that may wait.
async fn move_in_turn(
    shared: &Arc<Shared>,
    order: Order,
    digest: Digest,
) -> Result<Moved, Refusal> {
    let working = Arc::clone(&shared.working).acquire_owned().await;
    let shared = Arc::clone(shared);
    let moved = tokio::task::spawn_blocking(move || {
        let _working = working;
        move_downstream(&shared, order, digest)
    });
    moved.await.unwrap_or_else(|_| Err(broke_down()))
}

/// Moves an image that is held here, without filters.
async fn move_held(
    shared: &Arc<Shared>,
    through: &Through,
    image: Arc<HeldImage>,
    target: Target,
    is_partial: bool,
) -> Result<Moved, Refusal> {
    let (repository, digest) = (through.name.clone(), image.root);
    let origin = Origin::Held(image);
    let order = Order { origin, repository, target, is_filtered: false, is_partial };
    move_in_turn(shared, order, digest).await
}

/// Returns the manifest of a tag after the filters. They run in a task of their own; a client that would wait too long gets a
/// 503, and finds the image the next time.
pub async fn filtered(
    shared: &Arc<Shared>,
    through: &Through,
    tag: &str,
    digest: Digest,
) -> Result<Manifest, Refusal> {
    let key = through.key();
    let mut result = {
        let id = (format!("{key}:{tag}"), digest);
        let mut state = shared.through.stores.state();
        // What failed is tried again, and what is done is known.
        let known = state
            .filtering
            .get(&id)
            .filter(|known| known.borrow().as_ref().is_none_or(Result::is_ok));
        match known {
            Some(known) => known.clone(),
            None => {
                let (tell, result) = watch::channel(None);
                if state.filtering.len() > MOST {
                    state.filtering.retain(|_, known| known.borrow().is_none());
                }
                state.filtering.insert(id, result.clone());
                let (shared, through, tag) = (Arc::clone(shared), through.clone(), tag.to_owned());
                tokio::spawn(async move {
                    let moved = filter(&shared, &through, tag, digest).await;
                    let _ = tell.send(Some(moved.map(|moved| moved.landed_as)));
                });
                result
            }
        }
    };
    let ended =
        tokio::time::timeout(shared.options.answer_within, result.wait_for(Option::is_some));
    let landed = match ended.await {
        Ok(Ok(result)) => result.clone(),
        Ok(Err(_)) => None,
        Err(_) => {
            let message = "the image is being filtered: it is there in a while";
            return Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, message, FILTER_WAIT));
        }
    };
    let landed_as = landed.ok_or_else(broke_down)??;
    let manifest = shared.repository(&through.name)?.manifest(&landed_as.to_string()).await;
    manifest.map_err(|error| shared.refusal(&error, Code::ManifestUnknown))
}

async fn filter(
    shared: &Arc<Shared>,
    through: &Through,
    tag: String,
    digest: Digest,
) -> Result<Moved, Refusal> {
    let _queued = Arc::clone(&shared.queue).acquire_owned().await;
    let order = Order {
        origin: Origin::Registry(through.image(&digest.to_string())),
        repository: through.name.clone(),
        target: Target::Tag(tag),
        is_filtered: true,
        is_partial: false,
    };
    move_in_turn(shared, order, digest).await
}
