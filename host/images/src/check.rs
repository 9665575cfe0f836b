//! `occystrap check`: whether an image is correct, whatever tool made it.
//!
//! All rules are checked and all findings are reported, whatever was found before. A fast check reads only manifest
//! and config; a full check reads every layer once and checks each of its members. What it refuses: to count something
//! that could not be read as correct.

mod attributes;
mod compatibility;
mod config;
mod config_type;
mod finding;
mod index;
mod layers;
mod links;
mod manifest;
mod member;
mod presence;
mod referrers;
mod replay;
mod report;
mod rules;
mod text;
mod time;

use std::path::PathBuf;
use std::time::Instant;

use crate::level::Level;
use crate::source::Source;
use crate::source::view::{FlawIn, View, ViewFlaw, ViewKind};
use crate::steady;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_net::context::Context;

pub use finding::{Finding, Findings, MOST_KEPT, Severity, finding_line};
pub use layers::{LayerMembers, as_layer};
pub use report::{CheckReport, CheckedImage};
pub use rules::{Gate, RULES};

/// The part of a source that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckScope {
    /// How much of each image is read.
    pub level: Level,
    /// Whether all platforms and the indexes that list them are checked, instead of the requested platform alone.
    pub all_platforms: bool,
}

/// Checks every image of a source. A problem of an image is a finding; `gate` says which of them make the check fail. Errors when the source cannot have what was
/// requested (a usage error), and when the user interrupts.
pub fn check(
    source: &Source,
    scope: CheckScope,
    gate: &Gate,
    context: &Context,
) -> Result<CheckReport> {
    let started = Instant::now();
    let watch = source.watch();
    let images =
        steady::check(watch.as_ref(), &context.cancel, || check_once(source, scope, context))?;
    let referrers = referrers::count(source, &images, context)?;
    Ok(CheckReport::new(&source.display, images, referrers, gate, started.elapsed()))
}

/// A checked image, and what the caller of [`examine`] made of its members.
pub struct Examined<T> {
    /// The result of the check.
    pub checked: CheckedImage,
    /// What the caller made.
    pub made: T,
}

/// Checks every image of a source as a full check does, and lets `make` use the members of its layers, so that the
/// layers are read once for both; its first argument is the number of the image, from 0. Errors when the source cannot be read, as `make` does, and when the user interrupts.
pub fn examine<T>(
    source: &Source,
    context: &Context,
    mut make: impl FnMut(usize, View, &LayerMembers, &CheckedImage) -> Result<T>,
) -> Result<Vec<Examined<T>>> {
    let watch = source.watch();
    steady::check(watch.as_ref(), &context.cancel, || {
        let scope = CheckScope { level: Level::Full, all_platforms: false };
        let views = views(source, scope, context)?.into_iter().enumerate();
        let examined = views.map(|(index, view)| {
            let (checked, members) = check_view(source, &view, Level::Full, context)?;
            let made = make(index, view, &members, &checked)?;
            Ok(Examined { checked, made })
        });
        examined.collect()
    })
}

/// Reads what a check needs of every image, without its layers.
fn views(source: &Source, scope: CheckScope, context: &Context) -> Result<Vec<View>> {
    match scope.level {
        _ if scope.all_platforms => source.all_views(context),
        Level::Full => source.exported(context).and_then(|exported| match exported {
            Some(view) => Ok(vec![view]),
            None => source.views(context),
        }),
        Level::Fast => source.views(context),
    }
}

/// Checks one image, index, attestation or artifact of a source.
fn check_view(
    source: &Source,
    view: &View,
    level: Level,
    context: &Context,
) -> Result<(CheckedImage, LayerMembers)> {
    let (mut findings, members) = check_image(view, level, context)?;
    check_served(source.resolved(view, context), &mut findings)?;
    Ok((CheckedImage::new(view, level, findings), members))
}

/// Checks every image of a source once.
fn check_once(source: &Source, scope: CheckScope, context: &Context) -> Result<Vec<CheckedImage>> {
    let level = scope.level;
    let mut images = Vec::new();
    match views(source, scope, context) {
        Ok(views) => {
            for view in &views {
                images.push(check_view(source, view, level, context)?.0);
            }
        }
        Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Usage) => return Err(error),
        Err(error) => images.push(CheckedImage::unread(level, unread(&error))),
    }
    Ok(images)
}

/// A finding names no file, so that findings of two reads count if they are equal.
impl steady::CheckResult for CheckedImage {
    type Wrong = Finding;

    fn wrong(&self) -> Vec<Finding> {
        self.findings.all().filter(|finding| finding.severity == Severity::Error).cloned().collect()
    }

    fn file(_: &Finding) -> Option<PathBuf> {
        None
    }

    fn mark_unchecked(&mut self, counts: &dyn Fn(&Finding) -> bool) {
        self.findings.mark_unchecked(counts);
    }
}

impl<T> steady::CheckResult for Examined<T> {
    type Wrong = Finding;

    fn wrong(&self) -> Vec<Finding> {
        self.checked.wrong()
    }

    fn file(_: &Finding) -> Option<PathBuf> {
        None
    }

    fn mark_unchecked(&mut self, counts: &dyn Fn(&Finding) -> bool) {
        self.checked.mark_unchecked(counts);
    }
}

/// Reports whether each client of a registry gets the manifest. `resolved` is `None` if the registry was not asked for
/// the name of this view.
fn check_served(resolved: Option<Result<()>>, findings: &mut Findings) -> Result<()> {
    match resolved {
        None => {}
        Some(Ok(())) => {
            findings
                .pass(manifest::SERVED, "HEAD and GET, by tag and by digest, lead to the manifest");
        }
        Some(Err(error)) if error.kind() == Kind::Interrupted => return Err(error),
        Some(Err(error)) => findings.push(Finding::unread(manifest::SERVED, &error)),
    }
    Ok(())
}

/// Returns the findings of a source that could not be read at all.
fn unread(error: &Error) -> Findings {
    let mut findings = Findings::default();
    findings.push(Finding::unread("source", error));
    findings
}

/// Checks all rules of one image, index, attestation or artifact. Returns also the members of the layers, if they were
/// read.
fn check_image(view: &View, level: Level, context: &Context) -> Result<(Findings, LayerMembers)> {
    let (mut findings, mut members) = (Findings::default(), LayerMembers::default());
    manifest::check(view, &mut findings);
    if view.absent().is_some() || view.role == ViewKind::Index {
        // A manifest that is missing is a finding already.
        let unread =
            |flaw: &ViewFlaw| flaw.part == FlawIn::Manifest && flaw.error.kind() != Kind::NotFound;
        if view.flaws.iter().any(unread) {
            let message =
                "config and layers were not checked: the manifest that names them was not read";
            findings.push(Finding::new(Severity::Unchecked, "image", message));
        }
        return Ok((findings, members));
    }
    config::check(view, &mut findings);
    compatibility::check(view, &mut findings);
    compatibility::check_stored(view, &mut findings);
    presence::check_elsewhere(view, &mut findings);
    match (level, view.role) {
        (Level::Fast, _) => presence::check(view, &mut findings, context)?,
        (Level::Full, ViewKind::Attestation | ViewKind::Artifact) => {
            layers::check_digests(view, &mut findings, context)?
        }
        (Level::Full, _) => members = layers::check(view, &mut findings, context)?,
    }
    Ok((findings, members))
}
