//! The images of the engine for tests, by name and ID, in the form of Docker, Podman, or containerd's store.

use std::collections::BTreeMap;
use std::io::Read as _;

use bytes::Bytes;
use occystrap_base::oci::{Digest, ImageName};
use serde_json::{Value, json};

use super::image::{Pack, TestImage};
use super::shape;

/// Whose habits the engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Habits {
    /// Names are familiar; an ID is a config's digest; exports as before Docker 25.
    #[default]
    Docker,
    /// Names are full, and those without a registry, in an archive, are of `localhost`; in a call
    /// they are Docker Hub's. Podman 4.3 looks at `localhost` as well, others did not.
    Podman,
    /// Docker with containerd's store: an ID is a manifest's digest; exports as Docker 25 does.
    Containerd,
}

/// An image as it is held.
#[derive(Clone)]
pub struct Held {
    /// The answer to inspect.
    pub inspected: Value,
    /// The exported archive.
    pub archive: Bytes,
    /// The steps that made it, last first.
    pub history: Value,
}

#[derive(Default)]
pub struct Store {
    pub habits: Habits,
    /// By name, and by ID in all its lengths.
    images: BTreeMap<String, Held>,
}

impl Store {
    /// An image under its name and its ID, which exports as these bytes.
    pub fn put(&mut self, image: &TestImage, archive: Bytes) {
        let held = Held { inspected: self.inspected(image), archive, history: history(image) };
        self.hold(&image.name, held);
    }

    fn hold(&mut self, name: &str, held: Held) {
        let id = held.inspected["Id"].as_str().unwrap().to_owned();
        let hex = id.trim_start_matches("sha256:");
        let ids = [hex.get(..12).unwrap_or(hex).to_owned(), hex.to_owned(), id.clone()];
        for name in ids.into_iter().chain([name.to_owned()]) {
            self.images.insert(name, held.clone());
        }
    }

    /// The name under which an image is held that a call names so.
    fn resolve(&self, name: &str) -> String {
        let is_known = |name: &str| self.images.contains_key(name);
        let parsed = ImageName::parse(name);
        match (self.habits, parsed) {
            (Habits::Podman, Ok(parsed)) if !is_known(name) => parsed.in_full().to_string(),
            (Habits::Docker | Habits::Containerd, Ok(parsed)) => parsed.to_string(),
            _ => name.to_owned(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Held> {
        self.images.get(&self.resolve(name))
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Held> {
        let name = self.resolve(name);
        self.images.get_mut(&name)
    }

    /// Returns all names without the IDs.
    pub fn names(&self) -> Vec<String> {
        let is_name = |name: &&String| name.contains(':') && !name.starts_with("sha256:");
        self.images.keys().filter(is_name).cloned().collect()
    }

    pub fn tag(&mut self, name: &str, new: &str) -> bool {
        let Some(held) = self.get(name).cloned() else { return false };
        let new = match self.habits {
            Habits::Podman => ImageName::parse(new).unwrap().in_full().to_string(),
            _ => ImageName::parse(new).unwrap().to_string(),
        };
        self.images.insert(new, held);
        true
    }

    pub fn untag(&mut self, name: &str) -> bool {
        let name = self.resolve(name);
        self.images.remove(&name).is_some()
    }

    /// Take an archive in, hashing its layers as engines do, and return the name that the image has
    /// now; `None` when it is no archive of an image.
    pub fn load(&mut self, archive: &[u8], change: &mut dyn FnMut(&mut Held)) -> Option<String> {
        let image = read(archive)?;
        let archive = match self.habits {
            Habits::Docker => shape::legacy(&[&image], Pack::Plain),
            Habits::Podman => shape::podman(&[&image], Pack::Plain),
            Habits::Containerd => shape::docker25(&[&image], Pack::Plain),
        };
        let mut held = Held {
            inspected: self.inspected(&image),
            archive: archive.bytes().into(),
            history: history(&image),
        };
        change(&mut held);
        let parsed = ImageName::parse(&image.name).unwrap();
        let name = match self.habits {
            Habits::Podman if parsed.in_full() != parsed => format!("localhost/{}", image.name),
            _ => image.name.clone(),
        };
        self.hold(&name, held);
        Some(name)
    }

    fn inspected(&self, image: &TestImage) -> Value {
        let diff_ids: Vec<String> = image.diff_ids().iter().map(ToString::to_string).collect();
        let size: usize = image.layers.iter().map(Vec::len).sum();
        let id = match self.habits {
            Habits::Containerd => Digest::of(shape::oci_manifest(image, Pack::Plain).as_bytes()),
            _ => image.id(),
        };
        let config: Value = serde_json::from_slice(&image.config).unwrap_or_default();
        json!({
            "Id": id.to_string(),
            "Config": config["config"],
            "RepoTags": [image.name],
            "RepoDigests": [],
            "Created": "2026-01-02T03:04:05Z",
            "Architecture": "amd64",
            "Os": "linux",
            "Size": size,
            "RootFS": { "Type": "layers", "Layers": diff_ids },
        })
    }
}

/// Returns the history in the form of `docker history`: a step without a layer is one of no bytes.
fn history(image: &TestImage) -> Value {
    let config: Value = serde_json::from_slice(&image.config).unwrap_or_default();
    let mut sizes = image.layers.iter().map(Vec::len);
    let mut step = |entry: &Value| {
        let size = if entry["empty_layer"] == true { Some(0) } else { sizes.next() };
        json!({ "CreatedBy": entry["created_by"], "Comment": "", "Size": size.unwrap_or_default() })
    };
    let steps =
        config["history"].as_array().map(|all| all.iter().map(&mut step).collect::<Vec<_>>());
    steps.unwrap_or_default().into_iter().rev().collect()
}

/// The one image of a docker-save archive.
pub fn read(archive: &[u8]) -> Option<TestImage> {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().ok()? {
        let mut entry = entry.ok()?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        members.insert(entry.path().ok()?.to_str()?.to_owned(), content);
    }
    let list: Value = serde_json::from_slice(members.get("manifest.json")?).ok()?;
    let member = |name: &Value| members.get(name.as_str()?).cloned();
    let image = &list[0];
    Some(TestImage {
        name: image["RepoTags"][0].as_str()?.to_owned(),
        layers: image["Layers"].as_array()?.iter().map(member).collect::<Option<_>>()?,
        config: member(&image["Config"])?,
    })
}
