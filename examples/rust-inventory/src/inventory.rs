//! `inventory.cdx.json`, written as the layers pass: an image may have a million files, and a plugin
//! has 64 MiB.
//!
//! CycloneDX 1.6: every file is a component with its SHA-256. Files that a later layer hides or
//! replaces are listed as well, since they are in the image. There is no timestamp and no serial
//! number: the same image gives the same bytes.

use occystrap_plugin::blobs::Written;
use occystrap_plugin::entries::{self, Entry, EntryKind};
use occystrap_plugin::storage::Directory;
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::{Blob, ImageName};
use occystrap_plugin::{FileWriter, hex};
use serde_json::{Value, json};

/// The file's name.
pub const NAME: &str = "inventory.cdx.json";

/// How every inventory begins and ends: what a look at it without reading all of it can tell.
pub const BEGIN: &str =
    "{\n\"bomFormat\": \"CycloneDX\",\n\"specVersion\": \"1.6\",\n\"version\": 1,\n";
pub const END: &str = "\n]\n}\n";

/// How much is gathered before it is written.
const ENOUGH: usize = 32 * 1024;

/// An inventory on its way.
pub struct Inventory {
    file: FileWriter,
    text: String,
    first: bool,
}

impl Inventory {
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

    /// Every file of a layer. Before the layer is spliced.
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
                    self.put(&component(index, entry, digest))?;
                }
            }
        }
    }

    fn put(&mut self, component: &Value) -> Result<(), ErrorCode> {
        if !std::mem::take(&mut self.first) {
            self.text.push_str(",\n");
        }
        self.text.push_str(&component.to_string());
        if self.text.len() > ENOUGH {
            self.file.write(self.text.as_bytes())?;
            self.text.clear();
        }
        Ok(())
    }

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
