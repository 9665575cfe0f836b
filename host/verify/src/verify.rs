//! Checking that a destination holds what a receipt promises.
//!
//! The host looks first, at everything it understands; then the plugin looks, in a fresh instance
//! that can only read; the report is the union, and a disagreement of the two is a finding of its
//! own. *Unchecked* is never counted as verified.

use crate::look::document::AS_AT_SOURCE;
use crate::receipt::format::Format;
use crate::receipt::index_children::Beneath;
use crate::verdict::claims::Claims;
use crate::verdict::object::{CheckedObject, Outcomes, Status, Verification};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::Digest;
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_net::docker::failure::DAMAGED;
use occystrap_net::registry::{CHANGED_ANSWER, DELETE_FIRST};
use occystrap_output::destination::Grant;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::plugin::bindings::verifier::{self, Finding, Problem};
use occystrap_output::receipt::Receipt;
use occystrap_output::write::target::Target;

/// Verify a receipt against its destination. Errors only when the user interrupts: everything else
/// is a finding. `looked` is what came of manifests that have receipts of their own: an index that lists
/// them need not have them read again.
pub fn verify(
    receipt: &Receipt,
    target: &Target,
    level: Level,
    looked: &Outcomes,
    repair: Option<&str>,
    context: &Context,
) -> Result<Verification> {
    let watch = crate::look::steady::watch(&target.endpoint);
    let mut seen = occystrap_images::steady::check(watch.as_ref(), &context.cancel, || {
        verify_once(receipt, target, level, looked, repair, context)
    })?;
    crate::look::since::judge(receipt, target, &mut seen.objects);
    Ok(seen)
}

fn verify_once(
    receipt: &Receipt,
    target: &Target,
    level: Level,
    looked: &Outcomes,
    repair: Option<&str>,
    context: &Context,
) -> Result<Verification> {
    let grant = match target.open(context) {
        Ok(grant) => grant,
        Err(error) => return Ok(Verification::unreachable(level, receipt, target, &error, repair)),
    };
    let memory = HashMemo::showing(&context.progress);
    let format = Format::of(target);
    let claims = crate::receipt::manifest_chain::claims(receipt, &format, &grant, level, &memory);
    // A receipt covers artifacts as well, whose manifests may be where only a plugin finds them.
    let trusted = claims.clone().or_artifact();
    let mut objects =
        crate::look::objects::of(receipt, target, &grant, &trusted, level, &memory, context)?;
    crate::look::elsewhere::of_receipt(receipt, &grant, &memory, &mut objects);
    let little = says_little(receipt, &format, &claims);
    objects.extend(little.iter().map(|why| CheckedObject::unchecked(grant.whole(), why)));
    if receipt.image.part.is_index()
        && let Some(store) =
            crate::receipt::index_children::store(&format, &grant, &memory, context)
    {
        Beneath { receipt, grant: &grant, memory: &memory, looked }.judge(
            Some(&*store),
            level,
            &mut objects,
        )?;
    }
    // A plugin cannot tell what it may not read from what is damaged, nor what a receipt leaves out from what an
    // image has too much. Everything that is left in the receipt the host has looked at.
    let was_cut = little.is_some() && !receipt.is_fresh;
    if !was_cut && !objects.iter().any(|object| object.message == crate::look::check::DENIED) {
        ask_plugin(receipt, target, &grant, level, &memory, &mut objects, context)?;
    }
    // Where each thing is as it was promised, the manifest may still lead to another image. A fast look at
    // a web server asks for sizes alone.
    let is_read = level == Level::Full || !matches!(grant, Grant::Web(_));
    let is_sound = |object: &CheckedObject| object.status == Status::Ok || object.is_elsewhere;
    if is_read && objects.iter().all(is_sound) {
        crate::receipt::manifest_chain::judge(receipt, &format, &grant, &memory, &mut objects);
    }
    if !claims.is_artifact() {
        crate::verdict::claims::judge_listed(receipt, &claims, &mut objects);
    }
    advise(&grant, repair, &mut objects);
    Ok(Verification { level, objects, is_artifact: claims.is_artifact() })
}

/// What the plugin that wrote says of it, beside what the host has found.
fn ask_plugin(
    receipt: &Receipt,
    target: &Target,
    grant: &Grant,
    level: Level,
    memory: &HashMemo,
    objects: &mut Vec<CheckedObject>,
    context: &Context,
) -> Result<()> {
    let plugin = &target.plugin;
    let said = plugin.verify(grant, memory, &context.cancel).and_then(|session| {
        let level = match level {
            Level::Fast => verifier::Level::Fast,
            Level::Full => verifier::Level::Full,
        };
        session.verify(&receipt.for_guest(), level)
    });
    match said {
        Ok(findings) => union(objects, findings, &plugin.description().name, grant),
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        // What could not be looked at, and why, the host has said already.
        Err(error) if objects.iter().any(|object| said_already(object, &error)) => {}
        Err(error) => objects.push(CheckedObject::of_plugin(grant.whole(), &error)),
    }
    Ok(())
}

/// What helps against what is wrong: the command that does it again, or, where that would not, a hint.
fn advise(grant: &Grant, repair: Option<&str>, objects: &mut [CheckedObject]) {
    for object in objects.iter_mut().filter(|object| object.status.is_bad()) {
        // What a registry has under a digest it takes to be that: it is not sent again.
        let kept =
            matches!(grant, Grant::Repository(_)) && matches!(object.kind, "config" | "layer");
        match object.status {
            Status::Unreadable if object.hint.as_deref() == Some(DAMAGED) => {}
            // Its bytes are those of its digest: only the config promises others.
            Status::DigestMismatch if object.kind == "layer" && kept && object.host_only => {
                object.hint = Some(ANOTHER_LAYER.to_owned());
            }
            Status::SizeMismatch if kept => object.hint = Some(DELETE_FIRST.to_owned()),
            Status::DigestMismatch if kept && has_other_bytes(object) => {
                object.hint = Some(DELETE_FIRST.to_owned());
            }
            // The command would get the same answers, or write the same bytes.
            _ if matches!(object.hint.as_deref(), Some(CHANGED_ANSWER | AS_AT_SOURCE)) => {}
            _ => object.repair = repair.map(str::to_owned),
        }
    }
}

/// Whether the bytes of a thing were hashed, and are not those of its digest.
fn has_other_bytes(object: &CheckedObject) -> bool {
    let digest = |side: &Option<String>| side.as_ref().and_then(|side| side.parse::<Digest>().ok());
    match (object.digest, digest(&object.expected), digest(&object.found)) {
        (Some(named), Some(expected), Some(found)) => named == expected && expected != found,
        _ => false,
    }
}

/// Why a receipt is not worth a verdict: it was cut, or never was one of ours.
pub(crate) fn says_little(receipt: &Receipt, format: &Format, claims: &Claims) -> Option<String> {
    if let Err(why) = crate::receipt::completeness::says_enough(receipt, format) {
        return Some(why);
    }
    let layers = receipt.expectations.iter().filter(|one| one.role.is_layer());
    let (named, are) = (layers.count(), claims.layers()?);
    (named < are).then(|| {
        format!("the receipt does not say enough: it names {named} layers, the config {are}")
    })
}

/// What to do about a blob that is whole, and is not what the config speaks of.
const ANOTHER_LAYER: &str = "the bytes are those of the digest, and not what the config promises: with --layer-cache, push the image again without it; else look at the source with 'occystrap check'";

/// Whether a finding of the host says what an error of the plugin's session says.
fn said_already(object: &CheckedObject, error: &Error) -> bool {
    let message = error.to_string();
    match object.status {
        Status::Ok => false,
        Status::Unchecked => error.is_unconfirmed(),
        _ => {
            object.message == message
                || (error.difference().is_some() && message.contains(&object.message))
        }
    }
}

/// Put what the plugin found beside what the host found.
fn union(objects: &mut Vec<CheckedObject>, findings: Vec<Finding>, plugin: &str, grant: &Grant) {
    let host_found = objects.iter().any(|object| object.status.is_bad() && !object.host_only);
    if findings.is_empty() && host_found {
        let message = format!("plugin '{plugin}' found nothing wrong where the host did");
        objects.push(CheckedObject::of_plugin(grant.whole(), &Error::new(Kind::Plugin, message)));
    }
    for finding in findings.into_iter().take(limits::RECEIPT_ITEMS) {
        let location = grant.display(&finding.subject);
        match objects.iter_mut().find(|object| object.location == location) {
            // The host has said it already, in its own words.
            Some(object) if object.status.is_bad() => {}
            // A plugin sees only that it is not there.
            Some(object) if object.is_elsewhere && matches!(finding.problem, Problem::Missing) => {}
            Some(object) => object.accuse(plugin, finding),
            None => {
                let mut object = CheckedObject::at(location);
                object.accuse(plugin, finding);
                objects.push(object);
            }
        }
    }
}
