//! What an OCI image layout says of itself: expectations where there is no receipt.

use std::path::Path;

use oci_spec::image::Descriptor as OciDescriptor;

use super::derive::Found;
use super::memory::Memory;
use super::tree::{self, Listed, Shelf};
use super::{Level, Object, check};
use crate::context::Context;
use crate::error::{Kind, Result};
use crate::image::Digest;
use crate::input::directory::Directory;
use crate::input::oci_layout::{self, INDEX, REF_NAME};
use crate::output::Destination;
use crate::receipt::{Expectation, Place, Role, Step};
use crate::registry::Manifest;

/// Verify every image of a layout, or those of one tag.
pub fn images(
    path: &Path,
    tag: Option<&str>,
    level: Level,
    context: &Context,
) -> Result<Vec<Found>> {
    let members = Directory::open(path)?;
    let entries = oci_layout::entries(&members, tag)?;
    let destination = Destination::directory(path)?;
    let place = format!("'{}'", path.display());
    let shelf = Layout { members, destination, memory: Memory::default(), context };
    let mut found = Vec::new();
    for entry in &entries {
        let root = Listed::entry(entry, &place)?;
        let ref_name = entry.annotations().as_ref().and_then(|all| all.get(REF_NAME));
        // Entries of one name for several platforms are legal.
        let unique = |name: &&String| {
            let same = |other: &&OciDescriptor| {
                other.annotations().as_ref().and_then(|all| all.get(REF_NAME)) == Some(*name)
            };
            entries.iter().filter(same).count() == 1
        };
        let catalog = ref_name.filter(unique).map(|name| catalogued(name, &root.reference));
        let more: Vec<Expectation> = catalog.into_iter().collect();
        found.extend(tree::verify(&shelf, root, &oci_layout::name(entry), &more, level)?);
    }
    Ok(found)
}

/// What `index.json` says of a name.
fn catalogued(name: &str, digest: &str) -> Expectation {
    let keys = vec!["annotations".to_owned(), REF_NAME.to_owned()];
    let steps = vec![
        Step::Key("manifests".to_owned()),
        Step::Element { keys, value: name.to_owned() },
        Step::Key("digest".to_owned()),
    ];
    let place = Place::Entry { path: INDEX.to_owned(), steps, value: digest.to_owned() };
    Expectation { role: Role::Catalog, place, size: None, digest: None }
}

struct Layout<'a> {
    members: Directory,
    destination: Destination,
    /// Images share layers.
    memory: Memory,
    context: &'a Context,
}

fn path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Shelf for Layout<'_> {
    fn manifest(&self, what: &Listed) -> Result<Option<Manifest>> {
        let Some(promised) = &what.promised else { return Ok(None) };
        match oci_layout::manifest(&self.members, promised) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn blob(&self, digest: Digest) -> Place {
        Place::File { path: path(digest) }
    }

    fn place(&self, what: &Listed) -> Place {
        Place::File {
            path: what.promised.as_ref().map_or(String::new(), |known| path(known.digest)),
        }
    }

    fn display(&self, what: &Listed) -> String {
        match &what.promised {
            Some(known) => self.destination.display(&path(known.digest)),
            None => self.destination.display(&what.reference),
        }
    }

    fn look(&self, expectations: &[Expectation], level: Level) -> Result<Vec<Object>> {
        check::objects(
            expectations,
            &[],
            &self.destination,
            level,
            &self.memory,
            &self.context.cancel,
        )
    }
}
