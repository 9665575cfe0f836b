//! `occystrap check`: whether an image is right, whoever made it.
//!
//! All rules are looked at, and all findings told, whatever was found before. Fast, only manifest and
//! config are read; in full, every layer is read once, and every member of it looked at. What could
//! not be looked at is never counted as right.

mod attestation;
mod compatibility;
mod config;
mod config_type;
mod elsewhere;
mod finding;
mod index;
mod layers;
mod manifest;
mod member;
mod presence;
mod replay;
mod report;
mod text;
mod time;
mod whiteout;

use std::path::PathBuf;
use std::time::Instant;

use crate::level::Level;
use crate::source::Source;
use crate::source::view::{Flaw, FlawIn, View, ViewKind};
use crate::steady;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_net::context::Context;

pub use finding::{Finding, Findings, MOST_KEPT, Severity};
pub use report::{Checked, Report};

/// What of a source is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// How far each image is looked at.
    pub level: Level,
    /// Every platform and the indexes that list them, not the one platform that was asked for.
    pub all_platforms: bool,
}

/// Check every image of a source. What goes wrong with one is a finding. Errors when the source makes
/// no sense, or cannot have what was asked for, and when the user interrupts.
pub fn check(source: &Source, extent: Extent, context: &Context) -> Result<Report> {
    let started = Instant::now();
    let watch = source.watch();
    let images = steady::look(watch.as_ref(), &context.cancel, || look(source, extent, context))?;
    Ok(Report::new(&source.display, images, started.elapsed()))
}

/// Looks at every image of a source once.
fn look(source: &Source, extent: Extent, context: &Context) -> Result<Vec<Checked>> {
    let Extent { level, all_platforms } = extent;
    let views = match level {
        _ if all_platforms => source.all_views(context),
        Level::Full => source.exported(context).and_then(|exported| match exported {
            Some(view) => Ok(vec![view]),
            None => source.views(context),
        }),
        Level::Fast => source.views(context),
    };
    let mut images = Vec::new();
    match views {
        Ok(views) => {
            for view in &views {
                let mut findings = image(view, level, context)?;
                served(source.resolved(view, context), &mut findings)?;
                images.push(Checked::new(view, level, findings));
            }
        }
        Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Usage) => return Err(error),
        Err(error) => images.push(Checked::unseen(level, unseen(&error))),
    }
    Ok(images)
}

/// Findings of both looks count where they are the same: they name no file.
impl steady::Look for Checked {
    type Wrong = Finding;

    fn wrong(&self) -> Vec<Finding> {
        self.findings.all().filter(|finding| finding.severity == Severity::Error).cloned().collect()
    }

    fn file(_: &Finding) -> Option<PathBuf> {
        None
    }

    fn doubt(&mut self, counts: &dyn Fn(&Finding) -> bool) {
        self.findings.doubt(counts);
    }
}

/// Whether each client of a registry gets the manifest. `None` where it was not the name of this view
/// that was asked for.
fn served(resolved: Option<Result<()>>, findings: &mut Findings) -> Result<()> {
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

fn unseen(error: &Error) -> Findings {
    let mut findings = Findings::default();
    findings.push(Finding::unread("source", error));
    findings
}

/// All rules of one image, or of what stands beside images.
fn image(view: &View, level: Level, context: &Context) -> Result<Findings> {
    let mut findings = Findings::default();
    manifest::check(view, &mut findings);
    if view.absent().is_some() || view.role == ViewKind::Index {
        // Of a manifest that is missing nobody expects more.
        let unread =
            |flaw: &Flaw| flaw.part == FlawIn::Manifest && flaw.error.kind() != Kind::NotFound;
        if view.flaws.iter().any(unread) {
            let message = "config and layers were not looked at: nothing says which they are";
            findings.push(Finding::new(Severity::Unchecked, "image", message));
        }
        return Ok(findings);
    }
    config::check(view, &mut findings);
    compatibility::check(view, &mut findings);
    compatibility::check_kept(view, &mut findings);
    elsewhere::check(view, &mut findings);
    match (level, view.role) {
        (Level::Fast, _) => presence::check(view, &mut findings, context)?,
        (Level::Full, ViewKind::Attestation | ViewKind::Artifact) => {
            attestation::check(view, &mut findings, context)?
        }
        (Level::Full, _) => layers::check(view, &mut findings, context)?,
    }
    Ok(findings)
}
