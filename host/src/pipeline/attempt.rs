//! One attempt: an image or an index is written, its receipt is kept, and the destination is verified.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::request::Request;
use occystrap_base::error::{Error, FaultOrigin, Kind, Result};
use occystrap_base::oci::{ImageName, PlatformPart};
use occystrap_layer::image::{Content, Image};
use occystrap_net::context::Context;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::remote::RepositoryReader;
use occystrap_output::receipt::{Expectation, ImageIdentity, Receipt, RepeatCommand, Role};
use occystrap_output::write;
use occystrap_output::write::item::Item;
use occystrap_output::write::target::Endpoint;
use occystrap_verify::look::registry::{QueriedRepository, blobs_before_commit};
use occystrap_verify::report::{ImageReport, error_of};
use occystrap_verify::verdict::flaw::Reason;
use occystrap_verify::verdict::object::{Status, Verification};

use occystrap_verify::verdict::outcome::Outcomes;
use occystrap_verify::verify;

/// An image or an index to move.
pub struct Job<'a> {
    /// What the plugin is given.
    pub item: Item<'a>,
    /// How the receipt names it.
    pub identity: ImageIdentity,
    /// The command that moves it again, where there is one.
    pub repeat: Option<RepeatCommand>,
    /// Verdicts on the images that an index lists; empty for an image.
    outcomes: Outcomes,
    /// What the user is warned of when it has landed.
    warnings: Vec<String>,
}

impl<'a> Job<'a> {
    /// Returns the job for an image.
    pub fn image(item: Item<'a>, identity: ImageIdentity, repeat: Option<RepeatCommand>) -> Self {
        Self { item, identity, repeat, outcomes: Outcomes::new(), warnings: Vec::new() }
    }

    /// Returns the job for an index. `outcomes` are the verdicts on what it lists, and `warnings` are shown when it has
    /// landed.
    pub fn index(
        item: Item<'a>,
        identity: ImageIdentity,
        repeat: Option<RepeatCommand>,
        outcomes: Outcomes,
        warnings: Vec<String>,
    ) -> Self {
        Self { item, identity, repeat, outcomes, warnings }
    }
}

/// Returns how the receipt of an image names it.
pub fn identity(image: &Image, name: &ImageName, part: PlatformPart) -> ImageIdentity {
    let (name, tag) = (name.repository.clone(), name.tag.clone());
    let artifact = image.artifact.is_some() && part.is_whole();
    ImageIdentity { name, tag, id: image.id, part, artifact, left_out: Vec::new() }
}

/// Writes an image or an index, keeps its receipt and verifies that it landed. Returns the report, and the receipt
/// where something was written. `keep` gets the receipt before the verification, which the user may interrupt.
pub fn attempt(
    request: &Request,
    job: Job,
    started: Instant,
    keep: impl FnOnce(&Receipt) -> Result<()>,
    context: &Context,
) -> (ImageReport, Option<Receipt>) {
    let Job { item, identity, repeat, outcomes, warnings } = job;
    let context = &context.clone().with_own_warnings();
    let (source, target) = (&request.source.display, &request.target);
    let platform = match (&identity.part, item.image()) {
        (PlatformPart::Referrer(_), _) => None,
        (PlatformPart::Platform(platform), _) => Some(platform.clone()),
        (_, image) => image.map(|image| image.platform.to_string()),
    };
    let mut report =
        request.report(&identity.image_name(), identity.part.clone(), platform.as_deref());
    tracing::info!("{}: {} layers, to {}", report.name(), item.layers().len(), target.display);
    let note = item.image().and_then(|image| image.note.as_deref());
    let verified_in = Cell::new(Duration::ZERO);
    let memory = request.proves_before_tag.then(|| HashMemo::showing(&context.progress));
    let check = |expectations: &[Expectation], remote: &RepositoryReader| {
        if request.referrers.is_some() {
            check_kept(item, expectations)?;
        }
        let Some(memory) = &memory else { return Ok(()) };
        let began = Instant::now();
        let proved = prove_blobs(request, item, expectations, remote, memory, context);
        verified_in.set(verified_in.get() + began.elapsed());
        proved
    };
    let check: Option<write::BeforeCommit> = Some(&check);
    let written = write::write(item, &identity, source, target, check, context);
    let written = written.and_then(|mut receipt| {
        receipt.filters = request.filters.texts().map(str::to_owned).collect();
        receipt.again = repeat;
        let kept = keep(&receipt);
        let began = Instant::now();
        let proof = prove(request, &receipt, &outcomes, memory.as_ref(), context);
        verified_in.set(verified_in.get() + began.elapsed());
        let proof = proof?;
        // These files are open, and the receipts of all platforms are kept until the end.
        receipt.published.clear();
        Ok((receipt, kept, proof))
    });
    let receipt = match written {
        Ok((receipt, kept, proof)) => {
            warnings.iter().for_each(|line| context.warnings.say(line));
            report.landed(&receipt, proof, note);
            if let Err(error) = kept {
                report.without_receipt(error);
            }
            Some(receipt)
        }
        Err(error) => {
            report.error = Some(error);
            None
        }
    };
    report.warnings = context.warnings.lines();
    report.verified_in = verified_in.get();
    let report = report.finish(started.elapsed(), context);
    report.log();
    (report, receipt)
}

/// Checks that an image keeps the digest that its referrers name.
fn check_kept(item: Item, expectations: &[Expectation]) -> Result<()> {
    let before = item.image().and_then(|image| image.manifest.as_ref());
    let now = expectations.iter().find(|one| one.role == Role::Manifest);
    match (before.map(|manifest| manifest.digest), now.and_then(|one| one.digest)) {
        (Some(before), Some(now)) if before != now => {
            let error = Error::mismatch("the manifest that the referrers name", before, now);
            Err(error
                .hint("its layers are compressed here, which changes it: move it without referrers")
                .within("the image was not tagged"))
        }
        _ => Ok(()),
    }
}

/// Verifies the blobs of an image before a manifest names them, but for layers that need not be there because the image
/// says where else they are. Errors name the first that is not as promised.
fn prove_blobs(
    request: &Request,
    item: Item,
    expectations: &[Expectation],
    remote: &RepositoryReader,
    memory: &HashMemo,
    context: &Context,
) -> Result<()> {
    let Some(level) = request.level else { return Ok(()) };
    let asked = QueriedRepository { remote, memory, context, named: None };
    let is_elsewhere = |digest| {
        let mut elsewhere = item.layers().iter();
        elsewhere.any(|layer| {
            layer.digest == Some(digest) && matches!(layer.content, Content::Elsewhere(_))
        })
    };
    let mut wrong = blobs_before_commit(expectations, level, &asked)?;
    wrong.retain(|object| {
        object.status != Status::Missing || !object.digest.is_some_and(is_elsewhere)
    });
    match wrong.first() {
        Some(wrong) => {
            let error = error_of(wrong).within("the image was not tagged");
            Err(match (wrong.status, &wrong.reason) {
                (status, _) if status.is_bad() => {
                    error.with_origin(FaultOrigin::WrongAtDestination)
                }
                (_, Some(Reason::Failed(cause))) if cause.kind() == Kind::Network => {
                    error.with_origin(FaultOrigin::UnreadAtDestination)
                }
                _ => error,
            })
        }
        None => Ok(()),
    }
}

/// Verifies what was just written, in a fresh instance of the plugin that can only read. Returns `None` where the user
/// wants no verification.
fn prove(
    request: &Request,
    receipt: &Receipt,
    outcomes: &Outcomes,
    memory: Option<&HashMemo>,
    context: &Context,
) -> Result<Option<Verification>> {
    let Some(level) = request.level else { return Ok(None) };
    let target = &request.target;
    tracing::info!("{}{}: written, verifying", receipt.image.image_name(), receipt.image.part);
    let repair = occystrap_output::write::repair_command::command(receipt, target);
    let repair = repair.as_deref();
    let prove = || {
        let proof = verify::verify(receipt, target, level, outcomes, repair, memory, context);
        proof.map_err(|error| error.with_effect("it was written, and is not verified"))
    };
    let mut proof = prove()?;
    let mut pauses = LATE.into_iter();
    while lacks_only_manifests(&proof)
        && matches!(target.endpoint, Endpoint::Repository(..))
        && let Some(pause) = pauses.next()
    {
        tracing::info!("the registry does not have the manifest yet: asking again in {pause:?}");
        pause_for(pause, context)?;
        memory.inspect(|memory| memory.forget_absent());
        proof = prove()?;
    }
    Ok(Some(proof))
}

/// Waits for a registry that does not have yet what it has just accepted: its replicas lag behind, or a cache has the
/// earlier answer.
const LATE: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Returns whether nothing is wrong but that manifests are not there.
fn lacks_only_manifests(proof: &Verification) -> bool {
    let mut bad = proof.objects.iter().filter(|object| object.status.is_bad()).peekable();
    bad.peek().is_some()
        && bad.all(|object| object.kind == "manifest" && object.status == Status::Missing)
}

fn pause_for(pause: Duration, context: &Context) -> Result<()> {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        context.cancel.check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
