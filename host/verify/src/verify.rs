//! Checks that a destination holds what a receipt promises.
//!
//! The host first checks everything that it understands. Then the plugin checks, in a fresh instance that can only read.
//! The report has the findings of both, and a disagreement is a finding of its own. An object that is *unchecked* never
//! counts as verified.

use crate::look::{since, steady};
use crate::receipt::format::DestinationFormat;
use crate::receipt::index_children::{self, Beneath};
use crate::receipt::{completeness, manifest_chain, objects as of_receipt};
use crate::verdict::claims::compare_listed;
use crate::verdict::flaw::{Hint, Reason, Status};
use crate::verdict::object::{CheckedObject, Verification};

use crate::verdict::outcome::Outcomes;
use occystrap_base::error::{Error, FaultOrigin, Kind, Result};
use occystrap_base::limits;
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_output::destination::ReadAccess;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::plugin::bindings::verifier::{self, Finding, Problem};
use occystrap_output::receipt::Receipt;
use occystrap_output::write::target::{Endpoint, Target};

/// Verifies a receipt against its destination. `looked` has the verdicts on manifests with receipts of their own: an index
/// that lists them need not have them read again. `repair` is the command that writes the image again. `memory` has what a
/// check before the commit found, where this run has just written the image. Errors only when the user interrupts:
/// everything else is a finding.
pub fn verify(
    receipt: &Receipt,
    target: &Target,
    level: Level,
    looked: &Outcomes,
    repair: Option<&str>,
    memory: Option<&HashMemo>,
    context: &Context,
) -> Result<Verification> {
    // No other destination is checked before the commit.
    if let (Some(memory), Endpoint::Repository(..)) = (memory, &target.endpoint) {
        return verify_once(receipt, target, level, looked, repair, memory, context);
    }
    let watch = steady::watch(&target.endpoint);
    let mut seen = occystrap_images::steady::check(watch.as_ref(), &context.cancel, || {
        let memory = HashMemo::showing(&context.progress);
        verify_once(receipt, target, level, looked, repair, &memory, context)
    })?;
    since::excuse_replaced(receipt, target, &mut seen.objects);
    Ok(seen)
}

fn verify_once(
    receipt: &Receipt,
    target: &Target,
    level: Level,
    looked: &Outcomes,
    repair: Option<&str>,
    memory: &HashMemo,
    context: &Context,
) -> Result<Verification> {
    let access = match target.open_to_read(context) {
        Ok(access) => access,
        Err(error) => return Ok(Verification::unreachable(level, receipt, target, &error, repair)),
    };
    let format = DestinationFormat::of(target);
    let claims = manifest_chain::claims(receipt, &format, &access, level, memory);
    // A receipt covers artifacts as well, whose manifests may be where only a plugin finds them.
    let trusted = claims.clone().or_artifact();
    let mut objects = of_receipt::of(receipt, target, &access, &trusted, level, memory, context)?;
    manifest_chain::excuse_elsewhere(receipt, &access, memory, &mut objects);
    let missing = completeness::missing(receipt, &format, &claims);
    let was_cut = missing.is_some() && !receipt.is_fresh;
    objects.extend(missing.map(|missing| {
        CheckedObject::unchecked(access.whole(), Reason::ReceiptSaysLittle { missing })
    }));
    if receipt.image.part.is_index()
        && let Some(store) = index_children::store(&format, &access, memory, context)
    {
        let beneath = Beneath { receipt, access: &access, memory, looked };
        beneath.check(Some(&*store), level, &mut objects)?;
    }
    // A plugin cannot distinguish a file that it may not read from a damaged one, nor an entry that a receipt leaves out
    // from one that the image has too many. The host has checked everything that is left in the receipt.
    let is_denied = |object: &CheckedObject| object.reason == Some(Reason::Denied);
    if !was_cut && !objects.iter().any(is_denied) {
        ask_plugin(receipt, target, &access, level, memory, &mut objects, context)?;
    }
    // Where every object is as promised, the manifest may still lead to another image. A fast verification asks a web
    // server for sizes alone.
    let is_read = level == Level::Full || !matches!(access, ReadAccess::Web(_));
    let is_sound = |object: &CheckedObject| object.status == Status::Ok || object.is_elsewhere;
    if is_read && objects.iter().all(is_sound) {
        manifest_chain::check(receipt, &format, &access, memory, &mut objects);
    }
    if !claims.is_artifact() {
        compare_listed(receipt, &claims, &mut objects);
    }
    advise(&access, repair, &mut objects);
    Ok(Verification { level, objects, is_artifact: claims.is_artifact() })
}

/// Adds what the plugin that wrote the image reports to the findings of the host.
fn ask_plugin(
    receipt: &Receipt,
    target: &Target,
    access: &ReadAccess,
    level: Level,
    memory: &HashMemo,
    objects: &mut Vec<CheckedObject>,
    context: &Context,
) -> Result<()> {
    let plugin = &target.plugin;
    let said = plugin.verify(access, memory, &context.cancel).and_then(|session| {
        let level = match level {
            Level::Fast => verifier::Level::Fast,
            Level::Full => verifier::Level::Full,
        };
        session.verify(&receipt.for_guest(), level)
    });
    match said {
        Ok(findings) => union(objects, findings, &plugin.description().name, access),
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        // The host has reported the same failure.
        Err(error) if objects.iter().any(|object| is_about(object, &error)) => {}
        Err(error) => objects.push(CheckedObject::of_plugin(access.whole(), &error)),
    }
    Ok(())
}

/// Adds what the user can do about each flaw: the command that writes the image again, or a hint where that command would
/// not help.
fn advise(access: &ReadAccess, repair: Option<&str>, objects: &mut [CheckedObject]) {
    for object in objects.iter_mut().filter(|object| object.status.is_bad()) {
        // A registry takes its bytes under a digest to be the right ones, so that pushing again does not send them.
        let kept = matches!(access, ReadAccess::Repository(_))
            && matches!(object.kind, "config" | "layer");
        let origin = object.hint.as_ref().and_then(Hint::origin);
        match object.status {
            Status::Unreadable if origin == Some(FaultOrigin::DamagedEngineStore) => {}
            // Its bytes are those of its digest: only the config promises others.
            Status::DigestMismatch if object.kind == "layer" && kept && object.host_only => {
                object.hint = Some(Hint::OtherLayer);
            }
            Status::SizeMismatch if kept => object.hint = Some(Hint::DeleteFirst),
            Status::DigestMismatch if kept && object.has_other_bytes() => {
                object.hint = Some(Hint::DeleteFirst);
            }
            // The command would get the same answers, or write the same bytes.
            _ if origin == Some(FaultOrigin::ChangedAnswer)
                || object.hint == Some(Hint::AsAtSource) => {}
            _ => object.repair = repair.map(str::to_owned),
        }
    }
}

/// Returns whether a finding of the host is about the failure that ended the session of the plugin.
fn is_about(object: &CheckedObject, error: &Error) -> bool {
    match (object.status, &object.reason) {
        (Status::Ok, _) => false,
        (Status::Unchecked, _) => error.is_unconfirmed(),
        (_, Some(Reason::Failed(known) | Reason::Quoted(known))) => {
            known == error
                || (error.difference().is_some()
                    && known.kind() == error.kind()
                    && known.difference() == error.difference())
        }
        _ => false,
    }
}

/// Adds the findings of the plugin to those of the host.
fn union(
    objects: &mut Vec<CheckedObject>,
    findings: Vec<Finding>,
    plugin: &str,
    access: &ReadAccess,
) {
    let host_found = objects.iter().any(|object| object.status.is_bad() && !object.host_only);
    if findings.is_empty() && host_found {
        let message = format!("plugin '{plugin}' found nothing wrong where the host did");
        objects.push(CheckedObject::of_plugin(access.whole(), &Error::new(Kind::Plugin, message)));
    }
    for finding in findings.into_iter().take(limits::RECEIPT_ITEMS) {
        let location = access.display(&finding.subject);
        match objects.iter_mut().find(|object| object.location == location) {
            // The host has reported it.
            Some(object) if object.status.is_bad() => {}
            // A plugin only sees that it is not there.
            Some(object) if object.is_elsewhere && matches!(finding.problem, Problem::Missing) => {}
            Some(object) => object.report_from_plugin(plugin, finding),
            None => {
                let mut object = CheckedObject::at(location);
                object.report_from_plugin(plugin, finding);
                objects.push(object);
            }
        }
    }
}
