//! Writing one image.

use std::cell::RefCell;

use occystrap_manifest::{Compression, Document, Plan};
use occystrap_plugin::blobs;
use occystrap_plugin::storage::{self, Directory, EntryKind};
use occystrap_plugin::types::{Descriptor, Manifest};
use occystrap_plugin::writer::{
    Blob, Decision, Element, Entry, Error, Expectation, GuestSession, ImageName, LayerSummary,
    Place, Receipt, Request, Role, Session, Step,
};
use occystrap_plugin::{FileWriter, log, read_blob, read_to_end, storage_edit};

use crate::{index, layout, platform, verify};

/// The number of images that get a warning each. The others are counted in one warning.
const MOST_NAMED: usize = 20;

pub struct LayoutSession {
    directory: Directory,
    request: Request,
    compression: Compression,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    plan: Plan,
    /// The descriptor of each layer that was found at the destination or written.
    layers: Vec<Option<Descriptor>>,
    config: Option<Descriptor>,
    platform: Option<String>,
}

impl LayoutSession {
    /// Returns whether the destination has a blob with the right content. The host reads and hashes it.
    fn is_present(&self, digest: &str, size: u64) -> Result<bool, Error> {
        let path = layout::blob(digest);
        Ok(match self.directory.stat(&path)? {
            Some(stat) if stat.kind == EntryKind::File && stat.size == size => {
                self.directory.digest(&path, 0, None)? == digest
            }
            _ => false,
        })
    }

    fn splice(&self, blob: &Blob) -> Result<Descriptor, Error> {
        let descriptor = blob.descriptor()?;
        let mut file = FileWriter::create(&self.directory, &layout::blob(&descriptor.digest))?;
        file.splice(blob)?;
        file.finish()?;
        Ok(descriptor)
    }

    /// Writes a small file.
    fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut file = FileWriter::create(&self.directory, path)?;
        file.write(bytes)?;
        file.finish()?;
        Ok(())
    }

    /// Writes a manifest, and adds it to `index.json` unless an index lists it. Returns the expectations.
    fn write_manifest(
        &self,
        manifest: &Manifest,
        platform: Option<String>,
    ) -> Result<Vec<Expectation>, Error> {
        let blob = Descriptor {
            digest: blobs::digest_of(&manifest.bytes),
            size: manifest.bytes.len() as u64,
            media_type: manifest.media_type.clone(),
        };
        self.write_file(&layout::blob(&blob.digest), &manifest.bytes)?;
        let mut expectations = vec![expectation(Role::Manifest, &blob)];
        if !self.request.listed {
            let ImageName { repository, tag } = self.request.name.clone();
            // Every other tool uses this tag for an image without a tag.
            let tag = tag.unwrap_or_else(|| "latest".to_owned());
            let full_name = full_name(&repository, &tag);
            let entry = index::Entry { manifest: blob, tag, full_name, platform };
            expectations.extend(self.add_to_index(&entry)?);
        }
        Ok(expectations)
    }

    /// Returns the existing index with the entry added, and the images that lose their name to it.
    fn index_with(&self, entry: &index::Entry) -> Result<(Vec<u8>, Vec<index::Displaced>), Error> {
        let old = read_to_end(&self.directory, layout::INDEX, index::LONGEST)?;
        index::with_entry(old.as_deref(), entry).map_err(|why| {
            let path = layout::INDEX;
            Error::Other(format!("the '{path}' that is there {why}; move it away first"))
        })
    }

    /// Fails if another image cannot be added to the existing index. It is called before anything is fetched.
    fn check_room(&self) -> Result<(), Error> {
        if self.request.listed {
            return Ok(());
        }
        let ImageName { repository, tag } = self.request.name.clone();
        let tag = tag.unwrap_or_else(|| "latest".to_owned());
        let full_name = full_name(&repository, &tag);
        let manifest = Descriptor {
            digest: blobs::digest_of(&[]),
            size: u64::MAX,
            media_type: "application/vnd.docker.distribution.manifest.list.v2+json".to_owned(),
        };
        // The platform is not known yet. Most platforms have about sixty bytes.
        let platform = Some(format!("{{\"architecture\":\"{}\"}}", "-".repeat(128)));
        self.index_with(&index::Entry { manifest, tag, full_name, platform }).map(drop)
    }

    /// Adds a manifest to `index.json`, and returns the expectations for its entry.
    fn add_to_index(&self, entry: &index::Entry) -> Result<Vec<Expectation>, Error> {
        // The lock ensures that only one process at a time reads, changes and writes the index.
        storage_edit::lock(&self.directory)?;
        if !layout::has_marker(&self.directory)? {
            let marker = format!("{{\"imageLayoutVersion\":\"{}\"}}", layout::VERSION);
            self.write_file(layout::MARKER, marker.as_bytes())?;
        }
        let (new, displaced) = self.index_with(entry)?;
        self.write_file(layout::INDEX, &new)?;
        warn_of_displaced(entry, &displaced);
        let key = |key: &str| Step::Key(key.to_owned());
        let expect = |below: &[&str], value: &str| {
            let name = vec!["annotations".to_owned(), index::REF_NAME.to_owned()];
            let named = Element { keys: name, value: entry.tag.clone() };
            let mut steps = vec![key("manifests"), Step::Element(named)];
            steps.extend(below.iter().map(|below| key(below)));
            let path = layout::INDEX.to_owned();
            let place = Place::Entry(Entry { path, steps, value: value.to_owned() });
            Expectation { role: Role::Catalog, place, size: None, digest: None }
        };
        let full_name = entry.full_name.iter();
        let full_name = full_name.map(|name| expect(&["annotations", index::FULL_NAME], name));
        Ok(std::iter::once(expect(&["digest"], &entry.manifest.digest)).chain(full_name).collect())
    }
}

impl GuestSession for LayoutSession {
    fn open(request: Request) -> Result<Session, Error> {
        let compression = request.options.iter().find(|(name, _)| name == "compression");
        let (directory, state) = (storage::open()?, RefCell::default());
        let compression = Compression::parse(compression.map_or("", |(_, value)| value))?;
        let session = Self { directory, compression, state, request };
        session.check_room()?;
        Ok(Session::new(session))
    }

    fn plan(&self, layers: Vec<LayerSummary>) -> Result<Vec<Decision>, Error> {
        // Fail here, before anything is fetched.
        layout::has_marker(&self.directory)?;
        let plan = match self.request.listed {
            true => Plan::listed(&layers, self.compression),
            false => Plan::new(&layers, self.compression),
        };
        let mut found = vec![None; layers.len()];
        let mut decisions = Vec::new();
        for (index, layer) in layers.into_iter().enumerate() {
            let LayerSummary { media_type, size, digest, .. } = layer;
            let stored = digest.filter(|_| plan.is_stored(index));
            decisions.push(match stored {
                _ if plan.first_with_same_blob(index) != index => Decision::Skip,
                Some(digest) if self.is_present(&digest, size)? => {
                    found[index] = Some(Descriptor { digest, size, media_type });
                    Decision::Skip
                }
                _ => Decision::Take(plan.form(index)),
            });
        }
        let mut state = self.state.borrow_mut();
        (state.plan, state.layers) = (plan, found);
        Ok(decisions)
    }

    fn write_config(&self, config: &Blob) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        state.platform = platform::from_config(&read_blob(config)?);
        state.config = Some(self.splice(config)?);
        Ok(())
    }

    fn write_layer(&self, index: u32, _diff_id: String, layer: &Blob) -> Result<(), Error> {
        // Readers follow the URLs of a layer that the layout does not contain (OCI image specification,
        // "Image Layout": an external store may have the blob).
        let written = match layer.stays_elsewhere() {
            true => layer.descriptor()?,
            false => self.splice(layer)?,
        };
        match self.state.borrow_mut().layers.get_mut(index as usize) {
            Some(layer) => *layer = Some(written),
            None => return Err(Error::Other("a layer that was not planned".to_owned())),
        }
        Ok(())
    }

    fn finalize(this: Session) -> Result<Receipt, Error> {
        let session: Self = this.into_inner();
        if let Some(index) = &session.request.index {
            let expectations = session.write_manifest(index, None)?;
            return Ok(receipt(expectations, index, None));
        }
        let State { plan, layers, config, platform } = session.state.take();
        let config = config.ok_or_else(|| missing("the config"))?;
        let blobs = (0..layers.len())
            .map(|index| {
                layers[plan.first_with_same_blob(index)].clone().ok_or_else(|| missing("a layer"))
            })
            .collect::<Result<Vec<Descriptor>, Error>>()?;

        let source = session.request.source_manifest.clone();
        let document = Document { source, unchanged: plan.unchanged(), oci: true };
        let (manifest, dropped) = document.render(&config, &blobs);
        for line in dropped {
            let line = format!("annotations about other bytes are left out, of {line}");
            log::log(log::Level::Warn, &line);
        }
        let mut expectations = vec![expectation(Role::Config, &config)];
        expectations
            .extend((0..).zip(&blobs).map(|(index, blob)| expectation(Role::Layer(index), blob)));

        expectations.extend(session.write_manifest(&manifest, platform.clone())?);
        Ok(receipt(expectations, &manifest, platform))
    }
}

/// Warns about every image that loses its name.
fn warn_of_displaced(entry: &index::Entry, displaced: &[index::Displaced]) {
    for other in displaced.iter().take(MOST_NAMED) {
        warn_of_one(entry, other);
    }
    if let more @ 1.. = displaced.len().saturating_sub(MOST_NAMED) {
        let message = format!("'{}' takes the place of {more} more images here", entry.tag);
        log::log(log::Level::Warn, &message);
    }
}

/// Warns that another image gets the name of an existing one.
fn warn_of_one(entry: &index::Entry, other: &index::Displaced) {
    let tag = &entry.tag;
    let own = entry.full_name.as_ref().unwrap_or(tag);
    let message = match &other.full_name {
        Some(other) if other != own => format!(
            "'{own}' takes the tag '{tag}' of '{other}', which has no name here any more; a tag of its \
             own behind the path (oci-layout://PATH:TAG) keeps both"
        ),
        _ => format!(
            "'{own}' was another image here: the manifest is {}, it was {}",
            entry.manifest.digest, other.digest
        ),
    };
    log::log(log::Level::Warn, &message);
}

/// Returns the receipt. Its state has the media type and the platform, which only the index contains, for this
/// plugin's own verification.
fn receipt(
    expectations: Vec<Expectation>,
    manifest: &Manifest,
    platform: Option<String>,
) -> Receipt {
    let described = verify::IndexDescription { media_type: manifest.media_type.clone(), platform };
    Receipt { expectations, state: described.into_state() }
}

fn expectation(role: Role, blob: &Descriptor) -> Expectation {
    Expectation {
        role,
        place: Place::File(layout::blob(&blob.digest)),
        size: Some(blob.size),
        digest: Some(blob.digest.clone()),
    }
}

/// Returns a name with its registry; `None` for an image that has no name.
fn full_name(repository: &str, tag: &str) -> Option<String> {
    let (first, rest) = repository.split_once('/').unwrap_or(("", repository));
    let is_host = first.contains(['.', ':']) || first == "localhost";
    Some(match (is_host, first) {
        _ if repository == "unknown" => return None,
        (true, _) => format!("{repository}:{tag}"),
        (false, "") => format!("docker.io/library/{rest}:{tag}"),
        (false, _) => format!("docker.io/{repository}:{tag}"),
    })
}

fn missing(what: &str) -> Error {
    Error::Other(format!("the session ended before {what} was written"))
}

#[cfg(test)]
mod tests {
    use super::full_name;

    #[test]
    fn familiar_names_in_full() {
        for (familiar, full) in [
            ("busybox", Some("docker.io/library/busybox:1")),
            ("team/app", Some("docker.io/team/app:1")),
            ("quay.io/app", Some("quay.io/app:1")),
            ("localhost/app", Some("localhost/app:1")),
            ("localhost:5000/a/b", Some("localhost:5000/a/b:1")),
            ("unknown", None),
        ] {
            assert_eq!(full_name(familiar, "1").as_deref(), full);
        }
    }
}
