//! The files that several images share, rewritten under the directory's lock.

use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;
use occystrap_plugin::{hex, log, read_to_end};
use serde_json::{Map, Value};

use crate::layout::{CATALOG, CHECKSUMS};

/// 100,000 images with long names are a tenth of this.
pub const LONGEST: u64 = 64 * 1024 * 1024;

/// The catalog with this image in it. Entries that named the same manifest file are dropped: that
/// file is now about this image. The user hears of those of another repository.
pub fn catalog(
    directory: &Directory,
    repository: &str,
    tag: &str,
    file: &str,
) -> Result<Vec<u8>, Error> {
    let mut catalog = match read_to_end(directory, CATALOG, LONGEST)? {
        None => Map::new(),
        Some(bytes) => match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => map,
            _ => {
                let message = format!(
                    "the '{CATALOG}' that is there is not a JSON object; move it away first"
                );
                return Err(Error::Other(message));
            }
        },
    };
    for (other, tags) in &mut catalog {
        let Some(tags) = tags.as_object_mut() else { continue };
        tags.retain(|other_tag, named| {
            let goes = named.as_str() == Some(file);
            if goes && other != repository {
                let message = format!(
                    "'{repository}:{tag}' takes the place of '{other}:{other_tag}' in '{file}'; \
                     ?unique_names=true keeps both"
                );
                log::log(log::Level::Warn, &message);
            }
            !goes
        });
    }
    catalog.retain(|_, tags| tags.as_object().is_none_or(|tags| !tags.is_empty()));
    let tags = catalog.entry(repository).or_insert_with(|| Value::Object(Map::new()));
    match tags.as_object_mut() {
        Some(tags) => tags.insert(tag.to_owned(), Value::from(file)),
        None => {
            let message = format!("'{CATALOG}' has something other than tags under '{repository}'");
            return Err(Error::Other(message));
        }
    };
    let mut bytes = serde_json::to_vec_pretty(&catalog).unwrap_or_default();
    bytes.push(b'\n');
    Ok(bytes)
}

/// The catalog's entry for an image.
pub fn catalogued(bytes: &[u8], repository: &str, tag: &str) -> Option<String> {
    let catalog: Value = serde_json::from_slice(bytes).ok()?;
    Some(catalog.get(repository)?.get(tag)?.as_str()?.to_owned())
}

/// The checksum file with these files in it, one line each, sorted by path. A sorted insert into
/// the lines that are there keeps the component smaller than a map does.
pub fn checksums(directory: &Directory, files: &[(String, String)]) -> Result<Vec<u8>, Error> {
    let old = read_to_end(directory, CHECKSUMS, LONGEST)?.unwrap_or_default();
    let old = String::from_utf8(old)
        .map_err(|_| Error::Other(format!("the '{CHECKSUMS}' that is there is not text")))?;
    let mut lines: Vec<(&str, &str)> = Vec::new();
    let ours = files.iter().map(|(path, digest)| (path.as_str(), hex(digest)));
    let theirs =
        old.lines().filter_map(|line| line.split_once("  ")).map(|(sum, path)| (path, sum));
    for (path, sum) in theirs.chain(ours) {
        match lines.binary_search_by_key(&path, |(known, _)| known) {
            Ok(at) => lines[at].1 = sum,
            Err(at) => lines.insert(at, (path, sum)),
        }
    }
    let mut text = String::new();
    for (path, sum) in lines {
        for part in [sum, "  ", path, "\n"] {
            text.push_str(part);
        }
    }
    Ok(text.into_bytes())
}
