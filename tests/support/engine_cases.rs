//! Images that an engine may refuse: layers and configs with something odd in them, by a table and by seeds.
//!
//!     for case in engine_cases::all() {            // the same every time
//!         let archive = case.archive();
//!     }
//!
//! A new case is one line of a table below. The digests are right: an engine that refuses an image does so for what is
//! in it.

use serde_json::Value;

use super::image::{Pack, TestImage};
use super::layer::{Member, dir, file, layer, symlink};
use super::shape::{self, Archive};

mod attributes;
mod configs;
mod layers;
mod members;
mod random;

/// An image with a name of its own.
pub struct EngineCase {
    /// For messages, and for the list of known differences (docs/inspecting.md). Cases of seeds are `seed N`.
    pub name: String,
    pub image: TestImage,
}

impl EngineCase {
    fn new(name: impl Into<String>, layers: Vec<Vec<u8>>) -> Self {
        Self { name: name.into(), image: TestImage::with_layers("", layers) }
    }

    fn of(name: impl Into<String>, layers: &[Vec<Member>]) -> Self {
        Self::new(name, layers.iter().map(|members| layer(members)).collect())
    }

    /// Changes the config.
    fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        let mut document = serde_json::from_slice(&self.image.config).unwrap();
        edit(&mut document);
        self.image.config = document.to_string().into_bytes();
        self
    }
}

/// Returns an archive that all engines load, and that is an OCI layout as well.
pub fn archive(cases: &[&EngineCase]) -> Archive {
    let images: Vec<&TestImage> = cases.iter().map(|case| &case.image).collect();
    let mut archive = shape::docker25(&images, Pack::Gzip);
    archive.edit("index.json", |index| {
        for (entry, image) in index["manifests"].as_array_mut().unwrap().iter_mut().zip(&images) {
            // umoci finds an image of a layout by this.
            let tag = image.name.replace(':', "-");
            entry["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
        }
    });
    archive
}

/// Returns all cases, each with an image name of its own.
pub fn all() -> Vec<EngineCase> {
    let mut all = layers::cases();
    all.extend(members::cases());
    all.extend(attributes::cases());
    all.extend(configs::cases());
    all.extend(random::cases());
    for (number, case) in all.iter_mut().enumerate() {
        case.image.name = format!("engine-case-{number}:1");
    }
    all
}

/// Returns a layer that the layers of the table are put on.
fn base() -> Vec<Member> {
    vec![
        dir("etc"),
        file("etc/hosts", b"x"),
        file("etc/motd", b"x"),
        dir("usr"),
        dir("usr/lib"),
        file("usr/lib/a", b"x"),
        symlink("lib", "usr/lib"),
        dir("d"),
        file("d/a", b"x"),
        dir("d/e"),
        file("d/e/f", b"x"),
    ]
}

/// Returns a case of the base and one layer on it.
fn on_base(name: &str, members: Vec<Member>) -> EngineCase {
    EngineCase::of(name, &[base(), members])
}
