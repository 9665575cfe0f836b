//! One push: from the manifest that a client sent to a verdict on the copy downstream.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hyper::StatusCode;

use super::gather::{Gathered, gather};
use super::serve::ProxyEvent;
use super::shared::Shared;
use crate::pipeline::{self, ReceiptStore};
use occystrap_base::error::{Error, FaultOrigin, Kind};
use occystrap_base::oci::{Digest, Manifest};
use occystrap_images::source::Source;
use occystrap_layer::image::Whole;
use occystrap_output::receipt::{Bundle, Receipt};
use occystrap_serve::backend::Landed;
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::route::Target;
use occystrap_verify::report::{ImageStatus, Run};

/// A manifest that a client pushed.
pub struct Push {
    /// The repository, as the client names it.
    pub repository: String,
    /// The tag or the digest.
    pub target: Target,
    /// The manifest.
    pub manifest: Manifest,
}

/// Moves a pushed image downstream and verifies it there. It waits for servers, and belongs on a thread that may wait.
pub fn land(shared: &Shared, push: &Push) -> Result<Landed, Refusal> {
    let started = Instant::now();
    let Push { repository, target, manifest } = push;
    let reference = shared.options.downstream.repository(repository)?;
    let others = shared.repository(&reference)?;
    let Gathered { image, subject } = gather(shared, repository, target.tag(), manifest, &others)?;
    if let Some(subject) = subject
        && shared
            .remembered
            .by_digest(repository, subject)
            .is_some_and(|pushed| pushed.is_changed())
    {
        let message = format!(
            "the filters changed the image {subject}: what refers to it would be about another image"
        );
        return Err(Refusal::bad(Code::Unsupported, message));
    }
    // Filters read and change images alone.
    let opened = image
        .open(image.root)
        .map_err(|error| shared.refusal(&error, Code::ManifestBlobUnknown))?;
    let is_artifact = matches!(&opened, Whole::Image(image) if image.artifact.is_some());
    let is_filtered = shared.has_filters() && !is_artifact;
    let destination = shared.options.downstream.uri(repository, target.tag());
    let prepared = shared.process(&destination, is_filtered).prepare_with(
        &shared.session,
        &shared.clients,
        &shared.catalog,
    );
    let (mut request, context) = prepared.map_err(|error| shared.refusal(&error, Code::Unknown))?;
    let context = context.with_own_counters();
    let display = image.store.place().to_owned();
    request.source = Source::held(image, display, None);
    request.all_platforms = true;
    request.proves_before_tag = true;
    request.is_untagged = target.tag().is_none();
    request.layer_cache = is_filtered.then(|| shared.layer_cache.clone());
    request.receipts = ReceiptStore::Memory(Mutex::default());
    let mut run = pipeline::process(&request, &context);
    let is_wrong = |error: &Error| error.origin() == Some(FaultOrigin::WrongAtDestination);
    if run.images().iter().filter_map(|image| image.error.as_ref()).any(is_wrong) {
        // The registry has lost a blob that was there before. Now it is asked for each of them.
        others.forget_blobs();
        run = pipeline::process(&request, &context);
    }
    let receipts = match request.receipts {
        ReceiptStore::Memory(kept) => kept.into_inner().unwrap_or_else(PoisonError::into_inner),
        _ => Vec::new(),
    };
    let landed = verdict(shared, &run, &receipts, manifest.digest);
    let kept = keep(shared, push, &receipts);
    let took = started.elapsed();
    run.images().iter().for_each(|image| shared.counts.image(image.status, took));
    shared.tell(ProxyEvent::Moved { run, receipt: kept.err() });
    let (landed_as, warning) = landed?;
    shared.remembered.note(repository, target.tag(), manifest.clone(), landed_as);
    let is_listed = |subject: &Digest| {
        let listed = others.wait(others.listed_referrers(*subject, None)).ok().flatten();
        listed.is_some_and(|listed| listed.iter().any(|one| one.digest == landed_as))
    };
    Ok(Landed {
        digest: manifest.digest,
        subject: subject.filter(is_listed),
        landed_as: (landed_as != manifest.digest).then_some(landed_as),
        warning,
    })
}

/// Returns the digest under which an image landed, and a warning. Errors when it did not land, or is not as it should be
/// there.
fn verdict(
    shared: &Shared,
    run: &Run,
    receipts: &[Receipt],
    pushed: Digest,
) -> Result<(Digest, Option<String>), Refusal> {
    let images = run.images();
    let hidden = |text: &str| shared.options.downstream.hidden(text);
    // The error of an image that an index lists is the cause; that of the index follows from it.
    if let Some(error) = images
        .iter()
        .filter(|image| matches!(image.status, ImageStatus::Error | ImageStatus::Failed))
        .find_map(|image| image.error.as_ref())
    {
        let is_downstream = matches!(
            error.origin(),
            Some(FaultOrigin::WrongAtDestination | FaultOrigin::UnreadAtDestination)
        );
        return Err(match error.kind() {
            Kind::NotFound if !is_downstream => {
                Refusal::bad(Code::ManifestBlobUnknown, hidden(&error.to_string()))
            }
            Kind::Source | Kind::Usage if !is_downstream => {
                Refusal::bad(Code::ManifestInvalid, hidden(&error.to_string()))
            }
            Kind::Network | Kind::Interrupted if !is_downstream => {
                shared.refusal(error, Code::Unknown)
            }
            _ => Refusal::new(StatusCode::BAD_GATEWAY, Code::Unknown, hidden(&error.to_string())),
        });
    }
    let first_problem = |status: ImageStatus| {
        let mut of_status = images.iter().filter(|image| image.status == status);
        let problem = of_status.find_map(|image| image.problems(1).pop());
        problem.map_or_else(String::new, |problem| format!(": {}", hidden(&problem.message)))
    };
    if images.iter().any(|image| image.status == ImageStatus::Failed) {
        let message = format!("the verification FAILED{}", first_problem(ImageStatus::Failed));
        return Err(Refusal::new(StatusCode::BAD_GATEWAY, Code::Unknown, message));
    }
    let landed_as = receipts.last().and_then(Receipt::manifest_digest).unwrap_or(pushed);
    if images.iter().any(|image| image.status == ImageStatus::Unconfirmed) {
        let message = format!(
            "the image was written, and could not be verified{}",
            first_problem(ImageStatus::Unconfirmed)
        );
        return match shared.options.strict {
            true => Err(Refusal::later(
                StatusCode::SERVICE_UNAVAILABLE,
                message,
                std::time::Duration::from_secs(30),
            )),
            false => Ok((landed_as, Some(message))),
        };
    }
    Ok((landed_as, None))
}

/// Writes the receipts of a push, where the user wants them.
fn keep(shared: &Shared, push: &Push, receipts: &[Receipt]) -> Result<(), Error> {
    let Some(folder) = &shared.options.receipts else { return Ok(()) };
    if receipts.is_empty() {
        return Ok(());
    }
    // A colon and an '@' are in no name of a repository, so no file stands where a folder is needed.
    let file = match &push.target {
        Target::Tag(tag) => format!("{}:{tag}.json", push.repository),
        Target::Digest(digest) => format!("{}@{digest}.json", push.repository),
    };
    let path = folder.join(file);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|cause| {
            Error::io(Kind::Destination, "create the folder", parent.display(), &cause)
        })?;
    }
    Bundle::new(receipts.to_vec()).write(&path)
}
