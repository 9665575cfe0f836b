//! `manifest.json` as `docker save` has written it since 1.10: a list of images, each with config, tags and layers.
//!
//! What it refuses: lists that readers understand in different ways, and configs that differ from their digests.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Choice;
use super::members::{ArchiveMembers, compression};
use occystrap_base::error::{Error, Result, printable};
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_base::oci::{Digest, ImageName, config, json, reading, types};
use occystrap_layer::image::{Image, Layer};
use occystrap_net::registry::Reference;

/// One image of the list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "an image")]
pub struct SavedEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
    /// Whether this program's output `dir` wrote it. That output writes full names.
    #[serde(skip)]
    is_own: bool,
}

impl SavedEntry {
    /// Returns the file name of the config.
    #[must_use]
    pub fn config(&self) -> &str {
        &self.config
    }

    /// Returns the file names of the layers, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[String] {
        self.layers.as_deref().unwrap_or_default()
    }

    /// Returns the first tag that is a valid name.
    #[must_use]
    pub fn first_name(&self) -> Option<ImageName> {
        ImageName::parse(self.repo_tags.as_ref()?.first()?).ok()
    }

    /// Returns the key under which a catalog lists an image without a tag.
    #[must_use]
    pub fn config_digest(&self) -> String {
        promised(&self.config).map_or_else(String::new, |digest| digest.to_string())
    }
}

/// The note for a config that 0.4.17 wrote in another form.
pub const REWRITTEN: &str =
    "the config was rewritten by occystrap 0.4, so that its bytes do not match its name";

/// The first bytes of a manifest of the output `dir`. A manifest of 0.4.17 has an indent of four.
const OWN_FORM: &[u8] = b"[\n  {\n";

/// Returns the entries of a manifest file that belong to the image with a name in the catalog. Errors when there is
/// none: a run that was killed between two renames, or 0.4.17, left the name of one image with the manifest of another.
pub fn of_catalog(
    entries: Vec<SavedEntry>,
    name: Option<&ImageName>,
    manifest: &str,
    place: &str,
) -> Result<Vec<SavedEntry>> {
    let Some(name) = name else { return Ok(entries) };
    let (own, others): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| belongs(entry, name));
    match others.first() {
        Some(other) if own.is_empty() => Err(mixed_up(other, name, manifest, place)),
        _ => Ok(own),
    }
}

/// Compares the names of an image in its manifest and in the catalog. Errors when these are two images.
pub fn check_name(entry: &SavedEntry, name: &ImageName, manifest: &str, place: &str) -> Result<()> {
    match belongs(entry, name) {
        true => Ok(()),
        false => Err(mixed_up(entry, name, manifest, place)),
    }
}

/// Returns whether a manifest can belong to the image with a name in the catalog. A manifest without tags fits any
/// name, unless this program wrote it: then the image has no tag. 0.4.17 wrote only the last part of the repository.
fn belongs(entry: &SavedEntry, name: &ImageName) -> bool {
    let tags: Vec<&String> = entry.repo_tags.iter().flatten().collect();
    if tags.is_empty() {
        return !entry.is_own || name.tag.is_none();
    }
    let Some(tag) = &name.tag else { return !entry.is_own };
    let last = name.repository.rsplit('/').next();
    tags.iter().any(|own| {
        let Ok(own) = ImageName::parse(own) else { return !entry.is_own };
        let repository = own.in_full().repository == name.in_full().repository
            || (!entry.is_own && Some(own.repository.as_str()) == last);
        repository && own.tag_or_latest() == tag
    })
}

/// Returns whether one of the tags of an entry is this name, short or in full.
pub fn is_named(entry: &SavedEntry, name: &ImageName) -> bool {
    names(entry).iter().any(|own| own.in_full() == name.in_full())
}

fn mixed_up(entry: &SavedEntry, name: &ImageName, manifest: &str, place: &str) -> Error {
    let tags: Vec<String> =
        entry.repo_tags.iter().flatten().map(|tag| format!("'{tag}'")).collect();
    let own = if tags.is_empty() { "an image without a tag".to_owned() } else { tags.join(", ") };
    let what = format!("{place}: the image of '{manifest}', which the catalog calls '{name}'");
    Error::mismatch(what, format!("'{name}'"), own)
        .hint(format!("'{name}' is no longer there; write it to the directory again"))
}

/// Reads a manifest file. Errors when it is missing, empty, `null`, malformed, over 4 MiB, or can be read in two ways.
pub fn read(members: &dyn ArchiveMembers, name: &str) -> Result<Vec<SavedEntry>> {
    let entries = list(members, name)?;
    match entries.is_empty() {
        true => Err(Error::source(format!("{}: {name} lists no image", members.place()))),
        false => Ok(entries),
    }
}

/// Reads a manifest file as [`read`] does, but accepts an empty list.
pub fn list(members: &dyn ArchiveMembers, name: &str) -> Result<Vec<SavedEntry>> {
    let place = members.place();
    let limit = LARGEST_MANIFEST as u64;
    let bytes = members.read(name, limit)?.ok_or_else(|| {
        Error::source(format!("{place}: holds no {name}"))
            .hint("is it an image? 'docker save' and 'skopeo copy' write archives that are")
    })?;
    let entries: Option<Vec<SavedEntry>> = json::parse(&bytes).map_err(|cause| {
        Error::source(format!("{place}: {name} is not a list of images: {cause}"))
    })?;
    reading::saved(&bytes).map_err(|why| reading::refused(place, name, &why))?;
    types::saved(&bytes).map_err(|wrong| wrong.refused(place, name))?;
    let mut entries = entries.ok_or_else(|| {
        Error::source(format!("{place}: {name} is null, a list of images was expected"))
    })?;
    let is_own = bytes.starts_with(OWN_FORM);
    entries.iter_mut().for_each(|entry| entry.is_own = is_own);
    Ok(entries)
}

/// Returns the images of an entry: one for each tag, or one without a name.
pub fn images(members: &dyn ArchiveMembers, entry: &SavedEntry) -> Result<Vec<Image>> {
    let mut names = (entry.repo_tags.iter().flatten())
        .map(|tag| ImageName::parse(tag).map_err(|error| error.within(members.place())))
        .collect::<Result<Vec<_>>>()?;
    if names.is_empty() {
        // `docker save` of an image ID writes no tags.
        names.push(ImageName { repository: "unknown".to_owned(), tag: None });
    }
    let image = image(members, entry, names.remove(0))?;
    let others: Vec<Image> =
        names.into_iter().map(|name| Image { name, ..image.clone() }).collect();
    Ok(std::iter::once(image).chain(others).collect())
}

/// Returns the images of a list that are wanted. Other entries are not opened.
pub fn wanted(
    members: &dyn ArchiveMembers,
    entries: &[SavedEntry],
    wanted: Choice,
) -> Result<Vec<Image>> {
    if !wanted.is_one() {
        let all = entries.iter().map(|entry| images(members, entry));
        return wanted.of(all.collect::<Result<Vec<_>>>()?.concat());
    }
    let named =
        entries.iter().flat_map(|entry| names(entry).into_iter().map(move |name| (name, entry)));
    let chosen = wanted.of(named.collect::<Vec<_>>())?;
    chosen.into_iter().map(|(name, entry)| image(members, entry, name)).collect()
}

/// Returns the names of an entry: its tags that are valid names, or one placeholder.
#[must_use]
pub fn names(entry: &SavedEntry) -> Vec<ImageName> {
    let tags = entry.repo_tags.iter().flatten();
    let mut names: Vec<ImageName> = tags.filter_map(|tag| ImageName::parse(tag).ok()).collect();
    if names.is_empty() {
        names.push(ImageName { repository: "unknown".to_owned(), tag: None });
    }
    names
}

/// Names that several images of one list have. Docker loads the last of these images under the name, Podman the first.
pub struct Rivals(BTreeMap<ImageName, Vec<String>>);

impl Rivals {
    /// Finds the names with more than one config, in the order of the list.
    #[must_use]
    pub fn of(entries: &[SavedEntry]) -> Self {
        let mut named: BTreeMap<ImageName, Vec<String>> = BTreeMap::new();
        for entry in entries {
            let tags = entry.repo_tags.iter().flatten();
            for name in tags.filter_map(|tag| ImageName::parse(tag).ok()) {
                let configs = named.entry(name.in_full()).or_default();
                if configs.last() != Some(&entry.config) {
                    configs.push(entry.config.clone());
                }
            }
        }
        named.retain(|_, configs| configs.len() > 1);
        Self(named)
    }

    /// Returns the error for a name that more than one image has.
    #[must_use]
    pub fn of_name(&self, name: &ImageName) -> Option<Error> {
        let configs = self.0.get(&name.in_full())?;
        let (first, last) = (configs.first()?, configs.last()?);
        Some(rivals(name, first, last))
    }

    /// Returns the errors for the names of an image.
    #[must_use]
    pub fn of_entry(&self, entry: &SavedEntry) -> Vec<Error> {
        let tags = entry.repo_tags.iter().flatten();
        let names = tags.filter_map(|tag| ImageName::parse(tag).ok());
        names.filter_map(|name| self.of_name(&name)).take(MOST_WRONG).collect()
    }
}

/// Returns the error for a name of several images. Engines differ in which of them they load.
fn rivals(name: &ImageName, first: &str, last: &str) -> Error {
    let (first, last) = (printable(first), printable(last));
    let message = format!(
        "'{name}' is the name of several images: Podman loads the first ('{first}'), Docker the last \
         ('{last}')"
    );
    Error::source(message).hint("save them again, each under a name of its own")
}

/// Checks that each name stands for only one of the images to move. The error names the two images.
pub fn check_names<'a>(images: impl Iterator<Item = &'a Image>, place: &str) -> Result<()> {
    let mut known: BTreeMap<ImageName, Digest> = BTreeMap::new();
    for image in images.filter(|image| image.name.tag.is_some()) {
        if let Some(first) = known.insert(image.name.in_full(), image.id)
            && first != image.id
        {
            let error = rivals(&image.name, &first.to_string(), &image.id.to_string());
            return Err(error.within(place));
        }
    }
    Ok(())
}

/// Invalid names of one image that are reported. A manifest of 4 MiB can hold many.
const MOST_WRONG: usize = 1_000;

/// The consequence of an invalid name in `RepoTags`.
const NOT_LOADED: &str = "Docker and Podman refuse the archive";

/// Returns an error for each tag of an entry that engines refuse: Docker and Podman refuse an archive with `UPPER/x:1`,
/// with a name without a tag, with a digest, and with an IPv6 address. skopeo does not look at the tags.
#[must_use]
pub fn wrong_names(entry: &SavedEntry) -> Vec<Error> {
    let tags = entry.repo_tags.iter().flatten();
    let wrong = |tag: &String| match ImageName::parse(tag) {
        Err(error) => Some(error),
        Ok(name) if name.tag.is_none() => {
            let what = format!("'{tag}' in RepoTags has no tag: {NOT_LOADED}");
            Some(Error::source(what).hint(format!("save the image as '{tag}:latest', say")))
        }
        Ok(name) if name.repository.starts_with('[') => {
            let what =
                format!("'{tag}' in RepoTags names a host by its IPv6 address: {NOT_LOADED}");
            Some(Error::source(what).hint("save the image under a name without it"))
        }
        Ok(name) => {
            let error = Reference::parse(&name.in_full().to_string()).err()?;
            let wrong = Error::source(format!("'{tag}' in RepoTags: {error}"));
            Some(match error.hint_text() {
                Some(hint) => wrong.hint(hint),
                None => wrong,
            })
        }
    };
    tags.filter_map(wrong).take(MOST_WRONG).collect()
}

/// Returns the image of an entry, under a name.
pub fn image(members: &dyn ArchiveMembers, entry: &SavedEntry, name: ImageName) -> Result<Image> {
    let place = members.place();
    let bytes = members.require_bytes(&entry.config, "config", config::LARGEST_CONFIG)?;
    let mut note = None;
    if let Some(expected) = promised(&entry.config)
        && let Err(error) = config::check_digest(&bytes, expected, place)
    {
        if !is_rewritten(&bytes) {
            return Err(error.hint("the config was changed after it was written"));
        }
        note = Some(REWRITTEN.to_owned());
    }
    let parsed = config::parse(&bytes, place)?;
    let names = entry.layers();
    if names.len() != parsed.diff_ids.len() {
        return Err(Error::mismatch(
            format!("{place}: number of layers in the manifest"),
            format!("{} (the config's diff-ids)", parsed.diff_ids.len()),
            names.len(),
        ));
    }
    let layers = names.iter().zip(&parsed.diff_ids).enumerate().map(|(index, (name, diff_id))| {
        let section = members.require(name, "layer")?;
        let place = format!("{place}: layer {} of {} ('{name}')", index + 1, names.len());
        let compression = compression(&section, &place)?;
        // Docker 25+ names a blob by its digest; other names state no digest of the stored form.
        let digest = if name.starts_with("blobs/") { promised(name) } else { None };
        Ok(Layer::in_file(section, *diff_id, digest, compression, place))
    });
    Ok(Image {
        name,
        platform: parsed.platform,
        id: Digest::of(&bytes),
        layers: layers.collect::<Result<_>>()?,
        config: bytes,
        manifest: None,
        note,
        artifact: None,
    })
}

/// Returns the digest that a file name states: `<hex>.json`, `sha256:<hex>`, `blobs/sha256/<hex>`.
pub fn promised(name: &str) -> Option<Digest> {
    let base = name.rsplit('/').next()?;
    let base = base.strip_suffix(".json").unwrap_or(base);
    Digest::from_hex(base.strip_prefix("sha256:").unwrap_or(base)).ok()
}

/// Returns whether a config is in the form in which 0.4.17 wrote it to a directory: parsed, and written with sorted
/// keys and an indent of four. Any other config with a wrong digest is damaged.
pub fn is_rewritten(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return false };
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut dumped = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut dumped, formatter);
    if serde::Serialize::serialize(&value, &mut serializer).is_err() {
        return false;
    }
    // Python writes everything that is not ASCII as \u escapes, and empty lists on one line.
    escape_non_ascii(&String::from_utf8_lossy(&dumped)).as_bytes() == bytes
}

fn escape_non_ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}
