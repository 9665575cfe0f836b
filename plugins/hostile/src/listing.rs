//! Looking into layers: honestly, for a listing that the tests compare; and not so.

use std::fmt::Write as _;

use occystrap_plugin::entries::{self, Entry, Walk};
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::Blob;

/// Every member of a layer, one line each.
pub fn of_layer(layer: &Blob) -> Result<String, ErrorCode> {
    let walk = entries::open(layer)?;
    let mut text = String::new();
    loop {
        let page = walk.next_page()?;
        if page.is_empty() {
            return Ok(text);
        }
        page.iter().for_each(|entry| line(entry, &mut text));
    }
}

fn line(entry: &Entry, text: &mut String) {
    let Entry { path, raw_path, kind, size, mode, uid, gid, mtime, digest, target } = entry;
    let digest = digest.as_deref().unwrap_or("-");
    write!(text, "{kind:?} {path:?} {size} {mode:o} {uid}:{gid} {mtime} {digest}").unwrap();
    if let Some(target) = target {
        write!(text, " -> {target}").unwrap();
    }
    if let Some(raw) = raw_path {
        write!(text, " {raw:02x?}").unwrap();
    }
    text.push('\n');
}

/// As many walks as there are handles.
pub fn open_many_walks(layer: &Blob) -> Result<(), ErrorCode> {
    let mut walks: Vec<Walk> = Vec::new();
    for _ in 0..1_000 {
        walks.push(entries::open(layer)?);
    }
    Ok(())
}

/// One after the other is what nobody has to be stopped for.
pub fn walk_repeatedly(layer: &Blob) -> Result<(), ErrorCode> {
    for _ in 0..20 {
        let walk = entries::open(layer)?;
        walk.next_page()?;
    }
    Ok(())
}
