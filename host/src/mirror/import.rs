//! An import: an export is checked, loaded into a registry, and verified there.
//!
//! ```text
//! files -> every digest -> base -> (image -> pipeline), as a run of the mirror
//! ```
//!
//! An import is a run whose file is made of the export: each image is named by its digest and goes to its repository below
//! the destination. So it is claimed, moved, verified before its tag and recorded as every image of a mirror, and an import
//! that was killed goes on.

pub mod base;
pub mod target;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use self::target::ImportTarget;
use super::exported::check::{CheckedExport, check};
use super::exported::document::{ExportReceipt, ExportedItem};
use super::exported::loaded::LoadedExport;
use super::exported::sums::is_plain;
use super::file::MirrorFile;
use super::services::Services;
use occystrap_base::error::{Error, Result};
use occystrap_images::source::exported::{ExportFiles, ExportedLayout, open_files};
use occystrap_mirror::expand::MirrorSource;
use occystrap_mirror::ledger::export::Exports;
use occystrap_net::context::Context;
use occystrap_net::uri::Uri;

/// An export that was checked, and the file of its import.
pub struct Import {
    /// The export.
    pub export: CheckedExport,
    /// Where it goes.
    pub target: ImportTarget,
    /// The file of the run.
    pub file: MirrorFile,
    /// URI of the layout.
    uri: Uri,
    files: ExportFiles,
}

impl Import {
    /// Opens an export and checks all of it. Errors with everything that is wrong.
    pub fn open(from: &Path, to: &str, context: &Context) -> Result<Self, Vec<Error>> {
        let one = |error: Error| vec![error];
        let target = ImportTarget::parse(to).map_err(one)?;
        let files = open_files(from, context).map_err(one)?;
        let export = check(&files, context).map_err(one)?;
        let scheme = if from.is_dir() { "oci-layout" } else { "tar" };
        let from = std::path::absolute(from).unwrap_or_else(|_| from.to_owned());
        let uri = Uri {
            scheme: scheme.to_owned(),
            credentials: None,
            rest: from.display().to_string(),
            options: Vec::new(),
        };
        let text = text(&export, &target).map_err(one)?;
        let file = MirrorFile::of_import(&export.document.mirror, export.id, text)?;
        Ok(Self { export, target, file, uri, files })
    }

    /// Returns the name of the mirror, where it can be that of a file; else another one.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = &self.export.document.mirror;
        if is_plain(name) { name } else { "mirror" }
    }

    /// Returns the number of referrers that are not loaded, because the destination cannot hold them.
    pub fn referrers_that_stay(&self) -> Result<usize> {
        if self.target.is_registry() {
            return Ok(0);
        }
        let numbers = 0..self.export.receipts.len();
        numbers.map(|number| Ok(self.export.receipts.get(number)?.referrers.len())).sum()
    }

    /// Checks that the destination has what the export builds on, and gives the run its source. Errors with the first thing
    /// that the destination lacks: nothing was written then.
    pub fn load(self, ledger: &impl Exports, services: &mut Services<'_>) -> Result<MirrorFile> {
        if !base::check_ledger(&self.export, ledger, &self.target)? {
            base::check_images(&self.export.document, &self.target, services)?;
        }
        let absent = base::find_layers(&self.export, &self.target, services)?;
        let numbers =
            self.numbers().map_err(|mut errors| errors.pop().unwrap_or_else(Error::interrupted))?;
        services.exported = Some(Arc::new(LoadedExport {
            uri: self.uri,
            layout: Arc::new(ExportedLayout::new(self.files, absent)),
            receipts: self.export.receipts,
            numbers,
        }));
        Ok(self.file)
    }

    /// Returns the number of each image in the document, by the name of its destination.
    fn numbers(&self) -> Result<HashMap<String, usize>, Vec<Error>> {
        let sources: Vec<MirrorSource<'_>> = self.file.sources()?;
        let named = sources.iter().enumerate().map(|(number, source)| {
            let item = source.item(None).map_err(|error| vec![error])?;
            Ok((item.destination.name, number))
        });
        named.collect()
    }
}

/// Returns the file of an import: one entry for each image, in the order of the document.
fn text(export: &CheckedExport, target: &ImportTarget) -> Result<String> {
    let mut text = "version: 1\nimages:\n".to_owned();
    for (number, item) in export.document.items.iter().enumerate() {
        let ExportedItem {
            source, repository, tag, digest, verify, on_conflict, rewrite_for, ..
        } = item;
        let ExportReceipt { referrers, .. } = export.receipts.get(number)?;
        let source = source.split('@').next().unwrap_or_default();
        let quoted = |text: String| serde_json::Value::String(text).to_string();
        let from = quoted(format!("{source}@{digest}"));
        let to = quoted(target.image(repository, tag.as_deref()));
        let has_referrers = !referrers.is_empty() && target.is_registry();
        let (verify, conflict) = (quoted(verify.clone()), quoted(on_conflict.clone()));
        text.push_str(&format!(
            "- from: {from}\n  to: {to}\n  verify: {verify}\n  on-conflict: {conflict}\n  referrers: {has_referrers}\n"
        ));
        if !rewrite_for.is_empty() {
            let platforms = serde_json::to_string(rewrite_for).unwrap_or_default();
            text.push_str(&format!("  platforms: {platforms}\n  index: rewrite\n"));
        }
    }
    Ok(text)
}
