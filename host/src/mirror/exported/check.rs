//! Whether an export is complete and undamaged: every file has its digest, and everything that a receipt names is there.
//!
//! The maker of an export checks it before it writes the document, and an import before it sends anything.

use std::collections::HashMap;

use super::document::{self, ExportDocument, ExportReceipt};
use super::receipts::Receipts;
use super::sums::{self, Sum};
use super::{DOCUMENT, MOST_IMAGES, RECEIPTS, SUMS};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::hash_range;
use occystrap_base::oci::Digest;
use occystrap_base::oci::layout::{INDEX, MARKER, blob};
use occystrap_base::parallel::{cores, each_next};
use occystrap_images::source::exported::ExportFiles;
use occystrap_net::context::Context;

/// What to do about a damaged export.
const COPY_AGAIN: &str =
    "copy the export again; 'sha256sum -c SHA256SUMS' in it finds every damaged file";

/// An export that is complete and undamaged.
pub struct CheckedExport {
    /// Its document.
    pub document: ExportDocument,
    /// Digest of the bytes of its document, which names it.
    pub id: Digest,
    /// The receipts of its images, in the order of the document.
    pub receipts: Receipts,
    /// Files that were read.
    pub files: usize,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Checks an export. Errors with the first thing that is wrong.
pub fn check(files: &ExportFiles, context: &Context) -> Result<CheckedExport> {
    let place = files.place();
    let Some(bytes) = files.read(DOCUMENT, document::LARGEST)? else {
        let message = format!("{place}: holds no '{DOCUMENT}': it is no complete export");
        return Err(Error::source(message).hint(
            "the document is written last: let 'occystrap mirror export' end, then copy all files",
        ));
    };
    let document = ExportDocument::parse(&bytes, place)?;
    let id = Digest::of(&bytes);
    let Some(list) = files.read(SUMS, sums::LARGEST)? else {
        return Err(Error::source(format!("{place}: holds no '{SUMS}'")).hint(COPY_AGAIN));
    };
    let sums = sums::parse(&String::from_utf8_lossy(&list), place)?;
    let by_path: HashMap<&str, Digest> = sums.iter().map(|sum| (&*sum.path, sum.digest)).collect();
    for path in [DOCUMENT, RECEIPTS, INDEX, MARKER] {
        if !by_path.contains_key(path) {
            let message = format!("{place}: '{SUMS}' does not list '{path}'");
            return Err(Error::source(message).hint(COPY_AGAIN));
        }
    }
    let bytes = hash_all(files, &sums, context)?;
    let receipts = check_receipts(files, &document, &by_path)?;
    Ok(CheckedExport { document, id, receipts, files: sums.len(), bytes })
}

/// Checks that all files have the digests of the list. Returns the number of bytes that were read.
pub fn hash_all(files: &ExportFiles, sums: &[Sum], context: &Context) -> Result<u64> {
    let mut left = sums.iter();
    let bytes = std::sync::atomic::AtomicU64::new(0);
    each_next(
        || {
            context.cancel.check()?;
            Ok(left.next())
        },
        cores(),
        |sum| {
            let size = check_file(files, sum, context)?;
            bytes.fetch_add(size, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        },
    )?;
    Ok(bytes.into_inner())
}

fn check_file(files: &ExportFiles, sum: &Sum, context: &Context) -> Result<u64> {
    let (place, path) = (files.place(), &sum.path);
    let Some(section) = files.section(path)? else {
        let message = format!("{place}: '{path}' is missing, which '{SUMS}' lists");
        return Err(Error::source(message).hint(COPY_AGAIN));
    };
    let failed = |cause: &_| Error::io(Kind::Source, "read", format!("{place}/{path}"), cause);
    let range = (section.offset, section.size);
    let found = hash_range(&section.file, range, &context.cancel, failed, |_| ())?;
    if found != sum.digest {
        let what = format!("{place}: digest of '{path}'");
        return Err(Error::mismatch(what, sum.digest, found).hint(COPY_AGAIN));
    }
    Ok(section.size)
}

/// Checks that receipts and document name the same images, and that every object is there that should be.
fn check_receipts(
    files: &ExportFiles,
    document: &ExportDocument,
    sums: &HashMap<&str, Digest>,
) -> Result<Receipts> {
    let place = files.place();
    let receipts = Receipts::read(files)?;
    let (expected, found) = (document.items.len(), receipts.len());
    if expected != found {
        let what = format!("{place}: number of receipts in '{RECEIPTS}'");
        return Err(Error::mismatch(what, expected, found).hint(COPY_AGAIN));
    }
    if expected > MOST_IMAGES {
        let what = format!("{place}: number of images");
        return Err(Error::mismatch(what, format!("at most {MOST_IMAGES}"), expected));
    }
    for (number, item) in document.items.iter().enumerate() {
        let receipt = receipts.get(number)?;
        let is_same = (&receipt.repository, &receipt.tag, receipt.digest)
            == (&item.repository, &item.tag, item.digest);
        if !is_same {
            let message = format!(
                "{place}: line {} of '{RECEIPTS}' is of another image than the document",
                number + 1
            );
            return Err(Error::source(message).hint(COPY_AGAIN));
        }
        check_objects(files, &receipt, document, sums)?;
    }
    Ok(receipts)
}

fn check_objects(
    files: &ExportFiles,
    receipt: &ExportReceipt,
    document: &ExportDocument,
    sums: &HashMap<&str, Digest>,
) -> Result<()> {
    let place = files.place();
    let ExportReceipt { repository, digest: root, .. } = receipt;
    let wrong = |message: String| Err(Error::source(message).hint(COPY_AGAIN));
    let mut has_root = false;
    for object in &receipt.objects {
        let digest = object.digest;
        has_root |= digest == *root;
        if object.carried_to.is_some() {
            if document.since.is_none() {
                return wrong(format!(
                    "{place}: {repository}: {digest} is left out, and the export builds on no other"
                ));
            }
            continue;
        }
        let path = blob(digest);
        if sums.get(&*path) != Some(&digest) {
            return wrong(format!("{place}: {repository}: '{path}' is not in '{SUMS}'"));
        }
        let size = files.require(&path, "blob")?.size;
        if size != object.size {
            let what = format!("{place}: size of '{path}'");
            return Err(Error::mismatch(what, object.size, size).hint(COPY_AGAIN));
        }
    }
    match has_root {
        true => Ok(()),
        false => wrong(format!("{place}: the receipt of {repository} does not name {root}")),
    }
}
