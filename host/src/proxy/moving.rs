//! The move of one image downstream, and the verdict on its copy there. It waits for servers, and belongs on a thread that may
//! wait.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::event::ProxyEvent;
use super::shared::Shared;
use crate::pipeline::request::PlatformSelection;
use crate::pipeline::{self, ReceiptStore};
use occystrap_base::error::{Error, FaultOrigin, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_images::source::Source;
use occystrap_images::source::held::HeldImage;
use occystrap_net::uri::Uri;
use occystrap_output::receipt::{Bundle, Receipt};
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::route::Target;
use occystrap_verify::report::{ImageStatus, Run};

/// Time after which a client may push again what could not be verified.
const UNCONFIRMED_WAIT: Duration = Duration::from_secs(30);

/// Where an image comes from.
pub enum Origin {
    /// This program holds it.
    Held(Arc<HeldImage>),
    /// A registry has it.
    Registry(Uri),
}

/// An image to move.
pub struct Order {
    /// Where it comes from.
    pub origin: Origin,
    /// Its repository, as clients name it.
    pub repository: String,
    /// Its tag or digest there.
    pub target: Target,
    /// Whether it goes through the filters.
    pub is_filtered: bool,
    /// Whether an index of which something is not moved is written anew.
    pub is_partial: bool,
}

/// What became of an image that landed.
pub struct Moved {
    /// The digest under which it landed.
    pub landed_as: Digest,
    /// What the user is warned of.
    pub warning: Option<String>,
}

/// Moves an image downstream and verifies it there. `digest` is that of its manifest before filters. Errors when it did not
/// land, or is not as it should be there.
pub fn move_downstream(shared: &Shared, order: Order, digest: Digest) -> Result<Moved, Refusal> {
    let started = Instant::now();
    let Order { origin, repository, target, is_filtered, is_partial } = order;
    let repository = repository.as_str();
    let destination = shared.options.downstream.uri(repository, target.tag());
    let source = match &origin {
        // No URI leads to it: the source is set below.
        Origin::Held(_) => &destination,
        Origin::Registry(uri) => uri,
    };
    let prepared = shared.options.process(source, &destination, is_filtered).prepare_with(
        &shared.session,
        &shared.clients,
        &shared.catalog,
    );
    let (mut request, context) = prepared.map_err(|error| shared.refusal(&error, Code::Unknown))?;
    let context = context.with_own_counters();
    if let Origin::Held(image) = origin {
        let display = image.store.place().to_owned();
        request.source = Source::held(image, display, None);
    }
    request.all_platforms = true;
    request.platforms =
        is_partial.then(|| PlatformSelection { wanted: Vec::new(), rewrites_index: true });
    request.proves_before_tag = true;
    request.is_untagged = target.tag().is_none();
    request.layer_cache = is_filtered.then(|| shared.layer_cache.clone());
    request.receipts = ReceiptStore::Memory(Mutex::default());
    // The registry may have lost a blob that was there before.
    let run = pipeline::process_anew_if_wrong(&request, &context, || {
        shared.repository(repository).map(|known| known.forget_blobs())
    })?;
    let receipts = request.receipts.into_memory();
    let moved = verdict(shared, &run, &receipts, digest);
    let kept = keep(shared, repository, &target, &receipts);
    shared.counts.moved(&run, started.elapsed(), context.counters.sent());
    shared.tell(ProxyEvent::Moved { run, receipt: kept.err() });
    moved
}

fn verdict(
    shared: &Shared,
    run: &Run,
    receipts: &[Receipt],
    digest: Digest,
) -> Result<Moved, Refusal> {
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
    let landed_as = receipts.last().and_then(Receipt::manifest_digest).unwrap_or(digest);
    if images.iter().any(|image| image.status == ImageStatus::Unconfirmed) {
        let message = format!(
            "the image was written, and could not be verified{}",
            first_problem(ImageStatus::Unconfirmed)
        );
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        return match shared.options.strict {
            true => Err(Refusal::later(unavailable, message, UNCONFIRMED_WAIT)),
            false => Ok(Moved { landed_as, warning: Some(message) }),
        };
    }
    Ok(Moved { landed_as, warning: None })
}

/// Writes the receipts of an image, where the user wants them.
fn keep(shared: &Shared, repository: &str, target: &Target, receipts: &[Receipt]) -> Result<()> {
    let Some(folder) = &shared.options.receipts else { return Ok(()) };
    if receipts.is_empty() {
        return Ok(());
    }
    // A colon and an '@' are in no name of a repository, so no file stands where a folder is needed.
    let file = match target {
        Target::Tag(tag) => format!("{repository}:{tag}.json"),
        Target::Digest(digest) => format!("{repository}@{digest}.json"),
    };
    let path = folder.join(file);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|cause| {
            Error::io(Kind::Destination, "create the folder", parent.display(), &cause)
        })?;
    }
    Bundle::new(receipts.to_vec()).write(&path)
}
