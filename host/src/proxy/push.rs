//! One push: from the manifest that a client sent to the answer.

use super::gather::{Gathered, gather};
use super::moving::{Order, Origin, move_downstream};
use super::shared::Shared;
use occystrap_base::oci::{Digest, Manifest};
use occystrap_layer::image::Whole;
use occystrap_serve::backend::Landed;
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::route::Target;

/// A manifest that a client pushed.
pub struct Push {
    /// The repository, as the client names it.
    pub repository: String,
    /// The tag or the digest.
    pub target: Target,
    /// The manifest.
    pub manifest: Manifest,
}

/// Moves a pushed image downstream. It waits for servers, and belongs on a thread that may wait. Errors when it did not land,
/// or is not as it should be there.
pub fn land(shared: &Shared, push: Push) -> Result<Landed, Refusal> {
    let Push { repository, target, manifest } = push;
    let others = shared.repository(&repository)?;
    let tag = target.tag().map(str::to_owned);
    let Gathered { image, subject, sent } =
        gather(shared, &repository, tag.as_deref(), &manifest, &others)?;
    let changed = |subject: &Digest| {
        let pushed = shared.remembered.by_digest(&repository, *subject);
        pushed.is_some_and(|pushed| pushed.is_changed())
    };
    if let Some(subject) = subject.filter(changed) {
        let message = format!(
            "the filters changed the image {subject}: what refers to it would be about another image"
        );
        return Err(Refusal::bad(Code::Unsupported, message));
    }
    // Filters read and change images alone.
    let opened = image.open(image.root);
    let opened = opened.map_err(|error| shared.refusal(&error, Code::ManifestBlobUnknown))?;
    let is_artifact = matches!(&opened, Whole::Image(image) if image.artifact.is_some());
    let order = Order {
        origin: Origin::Held(image),
        repository: repository.clone(),
        target,
        is_filtered: shared.has_filters() && !is_artifact,
        is_partial: false,
    };
    let moved = move_downstream(shared, order, manifest.digest)?;
    shared.blobs.note_landed(&repository, sent);
    let (digest, landed_as) = (manifest.digest, moved.landed_as);
    shared.remembered.note(&repository, tag.as_deref(), manifest, landed_as);
    let is_listed = |subject: &Digest| {
        let listed = others.wait(others.listed_referrers(*subject, None)).ok().flatten();
        listed.is_some_and(|listed| listed.iter().any(|one| one.digest == landed_as))
    };
    Ok(Landed {
        digest,
        subject: subject.filter(is_listed),
        landed_as: (landed_as != digest).then_some(landed_as),
        warning: moved.warning,
    })
}
