//! A set of named files with an image in it: the members of an archive, or the files of a directory.
//!
//! What it refuses: names that are absolute or lead out of the set, and files above their limit.

use std::borrow::Cow;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::oci::Compression;

/// Files by name. The names come from a manifest, which is untrusted.
pub trait ArchiveMembers {
    /// Returns the section of a file, `None` when there is no file of that name.
    fn section(&self, name: &str) -> Result<Option<Section>>;

    /// Returns the name of the set for errors: `'x.tar'`.
    fn place(&self) -> &str;

    /// Returns a file that is in memory already.
    fn document(&self, _name: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }

    /// Reads a small file. Errors above `limit` bytes.
    fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>> {
        let place = self.place();
        let too_large = |size: u64| {
            let what = format!("{place}: size of '{name}'");
            Error::mismatch(what, format!("at most {limit} bytes"), size)
        };
        if let Some(bytes) = self.document(name)? {
            let size = bytes.len() as u64;
            return if size > limit { Err(too_large(size)) } else { Ok(Some(bytes)) };
        }
        let Some(section) = self.section(name)? else { return Ok(None) };
        if section.size > limit {
            return Err(too_large(section.size));
        }
        let mut bytes = vec![0; usize::try_from(section.size).unwrap_or_default()];
        section.file.read_exact_at(&mut bytes, section.offset).map_err(|cause| {
            Error::io(Kind::Source, "read", format!("{name} in {place}"), &cause)
        })?;
        Ok(Some(bytes.into()))
    }

    /// Returns the section of a file that a manifest names. Errors when it is not there.
    fn require(&self, name: &str, what: &str) -> Result<Section> {
        let path = inside(name, what, self.place())?;
        self.section(&path)?.ok_or_else(|| missing(name, what, self.place()))
    }

    /// Reads a small file that a manifest names. Errors when it is not there.
    fn require_bytes(&self, name: &str, what: &str, limit: u64) -> Result<Bytes> {
        let path = inside(name, what, self.place())?;
        self.read(&path, limit)?.ok_or_else(|| missing(name, what, self.place()))
    }
}

fn missing(name: &str, what: &str, place: &str) -> Error {
    Error::source(format!("{place}: lists the {what} '{name}', which is not there"))
        .hint("the archive or directory is incomplete; save it again")
}

/// Returns the path of a name in a manifest, and the name itself where it is no valid path.
#[must_use]
pub fn cleaned(name: &str) -> Cow<'_, str> {
    inside(name, "", "").unwrap_or(Cow::Borrowed(name))
}

/// Returns the path of a name in a manifest as all readers clean it (`path.Clean` of Go): without `.`, double slashes,
/// a slash at its end, and `..` after a folder. Errors where the name is empty, absolute, or leads out of the set.
fn inside<'a>(name: &'a str, what: &str, place: &str) -> Result<Cow<'a, str>> {
    if name.is_empty() {
        return Err(Error::source(format!("{place}: lists a {what} without a name"))
            .hint("the archive or directory is incomplete; save it again"));
    }
    if name.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        return Ok(Cow::Borrowed(name));
    }
    let leads_out =
        || Error::source(format!("{place}: lists the {what} '{name}', which leads out of it"));
    if name.starts_with('/') {
        return Err(leads_out());
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(leads_out)?),
            part => parts.push(part),
        }
    }
    Ok(Cow::Owned(parts.join("/")))
}

/// Returns the compression of a layer by its first bytes.
pub fn compression(section: &Section, place: &str) -> Result<Compression> {
    let mut magic = [0; Compression::MAGIC_LENGTH];
    let length = magic.len().min(usize::try_from(section.size).unwrap_or(magic.len()));
    section
        .file
        .read_exact_at(&mut magic[..length], section.offset)
        .map_err(|cause| Error::io(Kind::Source, "read", place, &cause))?;
    Ok(Compression::detect(&magic[..length]))
}
