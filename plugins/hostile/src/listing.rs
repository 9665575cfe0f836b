//! Uses of the interface `entries`: a correct listing, which the tests compare, and calls that break rules.

use std::fmt::Write as _;

use occystrap_plugin::entries::{self, Entry, Walk};
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::Blob;

/// Returns a text with one line for every member of a layer.
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

/// Opens walks until the host runs out of handles.
pub fn open_many_walks(layer: &Blob) -> Result<(), ErrorCode> {
    let mut walks: Vec<Walk> = Vec::new();
    for _ in 0..1_000 {
        walks.push(entries::open(layer)?);
    }
    Ok(())
}

/// Opens several walks one after the other. This is allowed: the host must not stop the plugin.
pub fn walk_repeatedly(layer: &Blob) -> Result<(), ErrorCode> {
    for _ in 0..20 {
        let walk = entries::open(layer)?;
        walk.next_page()?;
    }
    Ok(())
}
