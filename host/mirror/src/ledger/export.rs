//! What the ledger holds of exports and imports, and what callers give it.

use occystrap_base::error::Result;
use occystrap_base::oci::digest::Digest;

use super::record::RunId;

/// A mark of `mirror export`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ExportMark {
    /// When it was complete, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Its run.
    pub run: RunId,
    /// The run of the export that it builds on.
    pub since: Option<RunId>,
    /// Where it was written.
    pub place: String,
    /// Digest of its document; `None` for a mark of a ledger of version 1, on which no export can build.
    pub digest: Option<Digest>,
}

/// An export that is complete.
#[derive(Debug, Clone, Copy)]
pub struct NewExport<'a> {
    /// Its run.
    pub run: RunId,
    /// The run of the export that it builds on.
    pub since: Option<RunId>,
    /// Where it was written.
    pub place: &'a str,
    /// Digest of its document.
    pub digest: Digest,
    /// Blobs that it has itself, each with the repository that gets it.
    pub carried: &'a [(Digest, String)],
    /// Its images: the destination, and a digest over everything that the image consists of.
    pub images: &'a [(String, Digest)],
}

/// A mark of `mirror import`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImportMark {
    /// When all its images were there, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Digest of the document of the export.
    pub export: Digest,
    /// Run of the export, in the ledger of the other side.
    pub run: RunId,
    /// URI that the images are below.
    pub destination: String,
}

/// Exports that were made, and exports that were imported.
pub trait Exports {
    /// Records an export, with all that it carries, in one transaction. It is on the disk when this returns. It replaces an
    /// earlier record of the same run.
    fn note_export(&self, export: &NewExport<'_>) -> Result<()>;

    /// Returns the latest exports, the newest first.
    fn exports(&self, most: usize) -> Result<Vec<ExportMark>>;

    /// Returns the export of a run.
    fn export(&self, run: RunId) -> Result<Option<ExportMark>>;

    /// Returns the repository that got a blob with one of these exports; `None` where none of them carried it.
    fn carrier(&self, runs: &[RunId], digest: &Digest) -> Result<Option<String>>;

    /// Returns what the latest of these exports that has an image of this destination says of it.
    fn exported(&self, runs: &[RunId], destination: &str) -> Result<Option<Digest>>;

    /// Records that all images of an export are at a destination. It is on the disk when this returns.
    fn note_import(&self, export: Digest, run: RunId, destination: &str) -> Result<()>;

    /// Returns the latest imports into a destination, the newest first.
    fn imports(&self, destination: &str, most: usize) -> Result<Vec<ImportMark>>;
}
