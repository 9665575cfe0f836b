//! Writing to a registry: blobs go side by side, and manifests wait for the commit.
//!
//! A blob that no manifest names is invisible, so blobs are pushed as the plugin asks. A manifest
//! is what makes an image appear, so it is sent when the host has accepted the session's receipt.

use bytes::Bytes;

use super::delivery::{Delivery, delivery};
pub use super::journal::Pushed;
use super::layer_blob::LayerBlob;
use super::remote::BlockingRepository;
pub use super::transfers::Transfer;
use super::transfers::Transfers;
use occystrap_base::error::{Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::{Descriptor, Digest, Manifest};
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_layer::image::Content;
use occystrap_net::context::Context;
use occystrap_net::registry::{Body, PushOptions, Repository};
use occystrap_net::web::Elsewhere;

/// The writes of one session to one repository.
pub struct Push {
    remote: BlockingRepository,
    /// Transfers of blobs.
    transfers: Transfers,
    /// The one tag that the user named; `None` for what an index will list.
    tag: Option<String>,
    /// In the order in which the plugin gave them: reference and manifest.
    manifests: Vec<(String, Manifest)>,
    /// A layer stays elsewhere, by a URL in the manifest.
    leaves_layers: bool,
}

impl Push {
    /// Starts to write to a repository.
    #[must_use]
    pub fn new(remote: BlockingRepository, tag: Option<String>, context: &Context) -> Self {
        let transfers = Transfers::new(context);
        Self { remote, transfers, tag, manifests: Vec::new(), leaves_layers: false }
    }

    /// Returns the repository.
    #[must_use]
    pub fn remote(&self) -> &BlockingRepository {
        &self.remote
    }

    /// Starts to push a layer. Of one that stays elsewhere nothing is sent.
    pub fn layer(&mut self, layer: LayerBlob, chunk_size: Option<u64>) -> Transfer {
        let diff_id = layer.diff_id();
        let progress = layer.progress();
        self.leaves_layers |= layer.stays_elsewhere();
        let content = move || match layer.into_content()? {
            (blob, Content::File(section)) => Ok((blob, Some(Body::File(section)))),
            (blob, Content::Registry(from)) => Ok((blob, Some(Body::Download(from)))),
            (blob, Content::Elsewhere(_)) => Ok((blob, None)),
        };
        self.start(content, Some(diff_id), chunk_size, progress)
    }

    /// Starts to push a config.
    pub fn config(&mut self, blob: Descriptor, bytes: Bytes) -> Transfer {
        let content = move || Ok((blob, Some(Body::Bytes(bytes))));
        self.start(content, None, None, LayerProgress::hidden())
    }

    fn start(
        &mut self,
        content: impl FnOnce() -> Result<(Descriptor, Option<Body>)> + Send + 'static,
        diff_id: Option<Digest>,
        chunk_size: Option<u64>,
        progress: LayerProgress,
    ) -> Transfer {
        let repository = self.remote.repository().clone();
        self.transfers.start(content, diff_id, progress, move |blob, body, progress| async move {
            let least = limits::SMALLEST_CHUNK.max(blob.size / limits::CHUNKS);
            let options = PushOptions { chunk_size: chunk_size.map(|size| size.max(least)) };
            send(&repository, &blob, &body, &options, &progress).await
        })
    }

    /// Returns whether a manifest may be pushed under this name: the tag that the user named, or its own
    /// digest.
    #[must_use]
    pub fn allows(&self, reference: &str, digest: Digest) -> bool {
        self.tag.as_deref() == Some(reference) || reference == digest.to_string()
    }

    /// Returns the one tag that the user named; `None` for what an index will list.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Keeps a manifest until the commit, in the place of one that had its name.
    pub fn hold(&mut self, reference: String, manifest: Manifest) {
        self.manifests.retain(|(known, _)| *known != reference);
        self.manifests.push((reference, manifest));
    }

    /// Returns how many manifests are kept.
    #[must_use]
    pub fn held(&self) -> usize {
        self.manifests.len()
    }

    /// Sends the manifests.
    pub fn commit(self) -> Result<()> {
        for (reference, manifest) in self.manifests {
            let names_urls = Elsewhere::is_in(&manifest.bytes);
            let pushed =
                self.remote.push_manifest(&reference, &manifest.media_type, manifest.bytes);
            pushed.map_err(|error| match error.kind() {
                Kind::Destination if names_urls => error.hint(urls_refused(self.leaves_layers)),
                // docker-registry answers 500 to a URL that it does not take.
                Kind::Network if names_urls && error.hint_text().is_none() => {
                    error.hint(urls_refused(self.leaves_layers))
                }
                _ => error,
            })?;
        }
        Ok(())
    }
}

/// Returns what helps where a registry refuses a manifest with URLs. docker-registry refuses all URLs that its
/// operator has not allowed, also where it has the layer; other registries want every layer. `left` says
/// whether a layer stayed at its URL.
fn urls_refused(left: bool) -> String {
    let store = match left {
        true => "; other registries want the layer: --foreign-layers fetch stores it there",
        false => "",
    };
    format!(
        "the manifest names a layer by URL: a docker-registry takes URLs that 'validation.manifests.urls.allow' of \
         its configuration allows{store}; --compression zstd writes a manifest without URLs, with another digest"
    )
}

/// Pushes what is not there.
async fn send(
    to: &Repository,
    blob: &Descriptor,
    body: &Body,
    options: &PushOptions,
    progress: &LayerProgress,
) -> Result<()> {
    let source = match body {
        Body::Download(from) => Some(from),
        _ => None,
    };
    // A blob that another image of this run is sending is mounted then.
    let _turn = to.send_turn(blob.digest).await;
    match delivery(to, blob, source).await? {
        Delivery::Present => return Ok(()),
        Delivery::Mountable(from) if to.mount_blob(blob.digest, blob.size, &from).await? => {
            return Ok(());
        }
        Delivery::Mountable(_) | Delivery::Sent => {}
    }
    progress.begin("push", blob.size);
    to.push_blob(blob, body, options, |bytes| progress.set(bytes)).await?;
    to.note_sent(blob.digest, blob.size);
    Ok(())
}
