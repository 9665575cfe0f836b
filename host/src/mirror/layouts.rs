//! The tags of OCI layouts at the destination. The index of a layout is read once until it changes, and not for each image.
//!
//! What this module refuses: to say what is wrong with an index. The plugin that writes to the layout does.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::document::IndexDocument;
use occystrap_base::oci::layout::{INDEX, REF_NAME, tagged};
use occystrap_base::oci::{Digest, json};

/// Largest index of a layout, in bytes: 100,000 images have some 30 MB.
const LARGEST_INDEX: u64 = 64 * 1024 * 1024;

/// The tags of one layout; `None` for a tag that two entries have.
type Tags = HashMap<String, Option<Digest>>;

/// What tells one content of a file from another: device, number, size, and time of change in nanoseconds. A layout gets a
/// new index by renaming a file, so that its number changes.
type Stamp = (u64, u64, u64, i64, i64);

/// Layouts by the path of their index.
#[derive(Debug, Default)]
pub struct Layouts(Mutex<HashMap<PathBuf, (Stamp, Arc<Tags>)>>);

impl Layouts {
    /// Returns the digest that a layout has for a tag. `rest` is the URI without its scheme: `PATH:TAG`. Errors when the
    /// index cannot be read.
    pub fn digest(&self, rest: &str) -> Result<Option<Digest>> {
        let (path, tag) = tagged(rest)?;
        let Some(tag) = tag else { return Ok(None) };
        let tags = self.tags(&path.join(INDEX))?;
        Ok(tags.and_then(|tags| tags.get(&tag).copied().flatten()))
    }

    fn tags(&self, path: &Path) -> Result<Option<Arc<Tags>>> {
        let failed =
            |cause: std::io::Error| Error::io(Kind::Destination, "read", path.display(), &cause);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed(cause)),
        };
        let stamp = stamp(&file.metadata().map_err(failed)?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tags)) = known.get(path).filter(|(then, _)| *then == stamp) {
            return Ok(Some(Arc::clone(tags)));
        }
        let mut text = Vec::new();
        file.take(LARGEST_INDEX).read_to_end(&mut text).map_err(failed)?;
        let tags = Arc::new(read(&text));
        known.insert(path.to_owned(), (stamp, Arc::clone(&tags)));
        Ok(Some(tags))
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    let (device, number, size) = (metadata.dev(), metadata.ino(), metadata.size());
    (device, number, size, metadata.mtime(), metadata.mtime_nsec())
}

fn read(text: &[u8]) -> Tags {
    let index: IndexDocument = json::parse(text).unwrap_or_default();
    let mut tags = Tags::new();
    for entry in &index.manifests {
        let Some(tag) = entry.annotation(REF_NAME) else { continue };
        let digest: Option<Digest> = entry.digest().parse().ok();
        tags.entry(tag.to_owned()).and_modify(|known| *known = None).or_insert(digest);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(&str, Digest)]) -> String {
        let entry = |(tag, digest): &(&str, Digest)| {
            format!(r#"{{"digest":"{digest}","size":1,"annotations":{{"{REF_NAME}":"{tag}"}}}}"#)
        };
        let entries: Vec<_> = entries.iter().map(entry).collect();
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
    }

    #[test]
    fn an_index_is_read_again_when_it_was_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let layouts = Layouts::default();
        let rest = |tag: &str| format!("{}:{tag}", folder.path().display());
        assert_eq!(layouts.digest(&rest("a")).unwrap(), None);
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let write = |text: String| {
            std::fs::write(folder.path().join("new"), text).unwrap();
            std::fs::rename(folder.path().join("new"), folder.path().join(INDEX)).unwrap();
        };
        write(index(&[("a", one), ("twice", one), ("twice", other)]));
        assert_eq!(layouts.digest(&rest("a")).unwrap(), Some(one));
        assert_eq!(layouts.digest(&rest("twice")).unwrap(), None);
        assert_eq!(layouts.digest(&rest("b")).unwrap(), None);
        write(index(&[("a", other), ("twice", one), ("twice", other)]));
        assert_eq!(layouts.digest(&rest("a")).unwrap(), Some(other));
        write("no index".to_owned());
        assert_eq!(layouts.digest(&rest("a")).unwrap(), None);
    }
}
