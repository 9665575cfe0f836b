//! `inventory.cdx.json`. It is written while the layers are read, because an image may have a million files,
//! and a plugin has 64 MiB of memory.
//!
//! The format is CycloneDX 1.6: every file is a component with its SHA-256. Files that a later layer hides or
//! replaces are listed as well, since they are in the image. There is no timestamp and no serial number, so
//! the same image gives the same bytes.

use occystrap_plugin::blobs::Written;
use occystrap_plugin::entries::{self, Entry, EntryKind};
use occystrap_plugin::storage::Directory;
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::{Blob, ImageName};
use occystrap_plugin::{FileWriter, hex};
use serde_json::{Value, json};

/// The name of the file.
pub const NAME: &str = "inventory.cdx.json";

/// The first bytes of every inventory. [`BEGIN`] and [`END`] let a verification detect a damaged file without
/// reading all of it.
pub const BEGIN: &str =
    "{\n\"bomFormat\": \"CycloneDX\",\n\"specVersion\": \"1.6\",\n\"version\": 1,\n";
/// The last bytes of every inventory.
pub const END: &str = "\n]\n}\n";

/// The number of bytes that are collected before they are written.
const FLUSH_SIZE: usize = 32 * 1024;

/// The inventory that is being written.
pub struct Inventory {
    file: FileWriter,
    text: String,
    first: bool,
}

impl Inventory {
    /// Starts to write the inventory.
    pub fn begin(directory: &Directory, name: &ImageName) -> Result<Self, ErrorCode> {
        let file = FileWriter::create(directory, NAME)?;
        let component = json!({
            "type": "container",
            "name": name.repository,
            "version": name.tag.as_deref().unwrap_or_default(),
        });
        let text =
            format!("{BEGIN}\"metadata\": {{\"component\": {component}}},\n\"components\": [\n");
        Ok(Self { file, text, first: true })
    }

    /// Adds every file of a layer. It must be called before the layer is spliced.
    pub fn add(&mut self, index: u32, layer: &Blob) -> Result<(), ErrorCode> {
        let walk = entries::open(layer)?;
        loop {
            let page = walk.next_page()?;
            if page.is_empty() {
                return Ok(());
            }
            for (entry, digest) in
                page.iter().filter_map(|entry| Some((entry, entry.digest.as_ref()?)))
            {
                if entry.kind == EntryKind::File {
                    self.append(&component(index, entry, digest))?;
                }
            }
        }
    }

    fn append(&mut self, component: &Value) -> Result<(), ErrorCode> {
        if !std::mem::take(&mut self.first) {
            self.text.push_str(",\n");
        }
        self.text.push_str(&component.to_string());
        if self.text.len() > FLUSH_SIZE {
            self.file.write(self.text.as_bytes())?;
            self.text.clear();
        }
        Ok(())
    }

    /// Completes the inventory, and returns its size and digest.
    pub fn finish(mut self) -> Result<Written, ErrorCode> {
        self.text.push_str(END);
        self.file.write(self.text.as_bytes())?;
        self.file.finish()
    }
}

fn component(index: u32, entry: &Entry, digest: &str) -> Value {
    json!({
        "type": "file",
        "name": entry.path,
        "hashes": [{ "alg": "SHA-256", "content": hex(digest) }],
        "properties": [
            { "name": "layer", "value": (index + 1).to_string() },
            { "name": "size", "value": entry.size.to_string() },
            { "name": "mode", "value": format!("{:04o}", entry.mode) },
        ],
    })
}
