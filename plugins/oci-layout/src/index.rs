//! `index.json`, which lists the images of the layout with their names. Other tools write it as well, so
//! everything except the entry of this image is kept unchanged.

use occystrap_plugin::types::Descriptor;
use serde_json::value::RawValue;

use crate::object::{Object, quoted};

/// The largest index that is read or written, in bytes. 20,000 images with long names need half of it. A larger
/// index is not written, because every later run would refuse it.
pub const LONGEST: u64 = 16 * 1024 * 1024;

/// The number of bytes that are reserved for another entry: names, a digest, a platform. A longer entry only
/// costs a copy.
const LONGEST_ENTRY: usize = 4 * 1024;

/// The annotation for the tag (OCI image specification, "Annotations"). skopeo, podman and buildah use it as
/// `TAG` in `PATH:TAG`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation for the full name, which `docker load` and containerd use.
pub const FULL_NAME: &str = "io.containerd.image.name";
/// The `schemaVersion` of the index. It is that of Docker's schema 2, for compatibility.
const SCHEMA_VERSION: &str = "2";
const MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// The keys that readers use, in the index and in its entries.
const INDEX_KEYS: [&str; 4] = ["schemaVersion", "mediaType", "manifests", "annotations"];
const ENTRY_KEYS: [&str; 5] = ["mediaType", "digest", "size", "annotations", "platform"];

const AMBIGUOUS: &str = "can be read in two ways, with a key twice or in another spelling";

/// The entry of an image in the index.
pub struct Entry {
    pub manifest: Descriptor,
    pub tag: String,
    /// The name with registry and tag.
    pub full_name: Option<String>,
    /// An object, as JSON text.
    pub platform: Option<String>,
}

impl Entry {
    fn render(&self) -> String {
        let Descriptor { digest, size, media_type } = &self.manifest;
        let mut annotations = Object::new();
        if let Some(name) = &self.full_name {
            annotations.set(FULL_NAME, quoted(name));
        }
        annotations.set(REF_NAME, quoted(&self.tag));
        let mut entry = Object::new();
        entry.set("mediaType", quoted(media_type));
        entry.set("digest", quoted(digest));
        entry.set("size", size.to_string());
        if let Some(platform) = &self.platform {
            entry.set("platform", platform.clone());
        }
        entry.set("annotations", annotations.render());
        entry.render()
    }
}

/// An image that loses its name to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    pub full_name: Option<String>,
    pub digest: String,
}

/// Returns the index with this entry, which replaces the entries with the same tag, and the other images that had
/// this tag. There can be several of them, each for another platform. The error says what is wrong with the
/// existing index.
pub fn with_entry(
    old: Option<&[u8]>,
    entry: &Entry,
) -> Result<(Vec<u8>, Vec<Displaced>), &'static str> {
    let mut index = match old {
        Some(bytes) => Object::parse(bytes).ok_or("is not a JSON object with distinct keys")?,
        None => {
            let mut index = Object::new();
            index.set("schemaVersion", SCHEMA_VERSION.to_owned());
            index.set("mediaType", quoted(MEDIA_TYPE));
            index
        }
    };
    if index.get("schemaVersion").is_some_and(|version| version != SCHEMA_VERSION) {
        return Err("is of another 'schemaVersion' than 2");
    }
    if index.has_misspelled(&INDEX_KEYS) {
        return Err(AMBIGUOUS);
    }
    // Readers refuse an index without this key.
    index.set("schemaVersion", SCHEMA_VERSION.to_owned());
    let listed = index.get("manifests").unwrap_or("[]");
    let listed: Option<Vec<&RawValue>> =
        serde_json::from_str(listed).map_err(|_| "has 'manifests' that are no list")?;
    // The entries are copied only once, because a plugin has little memory.
    let mut entries = String::with_capacity(old.map_or(0, <[u8]>::len) + LONGEST_ENTRY);
    let mut add = |entry: &str| {
        entries.push(if entries.is_empty() { '[' } else { ',' });
        entries.push_str(entry);
    };
    let (mut placed, mut displaced) = (false, Vec::new());
    for old in listed.unwrap_or_default() {
        if !is_unambiguous(old.get()) {
            return Err(AMBIGUOUS);
        }
        if name(old.get()).as_ref() != Some(&entry.tag) {
            add(old.get());
            continue;
        }
        let digest = digest(old.get()).unwrap_or_default();
        if digest != entry.manifest.digest {
            let full_name = annotation(old.get(), FULL_NAME);
            displaced.push(Displaced { full_name, digest });
        }
        if !placed {
            add(&entry.render());
            placed = true;
        }
    }
    if !placed {
        add(&entry.render());
    }
    entries.push(']');
    index.set("manifests", entries);
    let new = index.render().into_bytes();
    if new.len() as u64 > LONGEST {
        return Err("has no room for one more image (at most 16 MiB)");
    }
    Ok((new, displaced))
}

/// The manifest that the index lists under a tag.
pub struct NamedManifest {
    pub manifest: Descriptor,
    /// The platform as JSON text, as the index has it.
    pub platform: Option<String>,
}

/// Returns whether the index has the `schemaVersion` that the specification requires.
pub fn has_schema_version(bytes: &[u8]) -> bool {
    Object::parse(bytes).is_some_and(|index| index.get("schemaVersion") == Some(SCHEMA_VERSION))
}

/// Returns the manifest that the index lists under a tag; `None` if there is none, or more than one.
pub fn find(bytes: &[u8], tag: &str) -> Option<NamedManifest> {
    let index = Object::parse(bytes)?;
    let listed: Vec<&RawValue> = serde_json::from_str(index.get("manifests")?).ok()?;
    let mut named = listed.iter().filter(|entry| name(entry.get()).as_deref() == Some(tag));
    let (entry, None) = (named.next()?, named.next()) else { return None };
    let entry = Object::parse(entry.get().as_bytes())?;
    let manifest = Descriptor {
        digest: entry.text("digest")?,
        size: entry.get("size")?.parse().ok()?,
        media_type: entry.text("mediaType")?,
    };
    Some(NamedManifest { manifest, platform: entry.get("platform").map(str::to_owned) })
}

/// Returns whether all readers find the same name and image in an entry. An element that is not an object is not
/// an entry.
fn is_unambiguous(entry: &str) -> bool {
    let Some(parsed) = Object::parse(entry.as_bytes()) else { return !entry.starts_with('{') };
    let annotations = parsed.get("annotations").unwrap_or_default();
    !parsed.has_misspelled(&ENTRY_KEYS)
        && (!annotations.starts_with('{') || Object::parse(annotations.as_bytes()).is_some())
}

fn name(entry: &str) -> Option<String> {
    annotation(entry, REF_NAME)
}

fn digest(entry: &str) -> Option<String> {
    Object::parse(entry.as_bytes())?.text("digest")
}

fn annotation(entry: &str, key: &str) -> Option<String> {
    Object::parse(entry.as_bytes())?.object("annotations")?.text(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: &str, digest: &str) -> Entry {
        let manifest =
            Descriptor { digest: digest.to_owned(), size: 7, media_type: "m".to_owned() };
        Entry { manifest, tag: tag.to_owned(), full_name: None, platform: None }
    }

    fn add(old: Option<&str>, tag: &str, digest: &str) -> Result<String, &'static str> {
        let (made, _) = with_entry(old.map(str::as_bytes), &entry(tag, digest))?;
        Ok(String::from_utf8(made).unwrap())
    }

    fn digest(index: &str, tag: &str) -> Option<String> {
        find(index.as_bytes(), tag).map(|found| found.manifest.digest)
    }

    #[test]
    fn entries_of_other_tools_stay_byte_for_byte() {
        let theirs = r#"{ "digest" : "d1",  "size":1.50e1, "annotations": {"x":"ä\u00e4"} }"#;
        let old = format!(
            r#"{{"later": [1, 2],"schemaVersion" : 2,"manifests" :[ {theirs} ,17],"z":null}}"#
        );
        let new = add(Some(&old), "a", "d2").unwrap();
        let ours = r#"{"mediaType":"m","digest":"d2","size":7,"annotations":{"org.opencontainers.image.ref.name":"a"}}"#;
        assert_eq!(
            new,
            format!(
                r#"{{"later":[1, 2],"schemaVersion":2,"manifests":[{theirs},17,{ours}],"z":null}}"#
            )
        );
        assert_eq!(digest(&new, "a").as_deref(), Some("d2"));
    }

    #[test]
    fn an_entry_takes_the_place_of_those_of_its_name() {
        let first = add(None, "a", "d1").unwrap();
        let both = add(Some(&first), "b", "d2").unwrap();
        let again = add(Some(&both), "a", "d3").unwrap();
        assert_eq!(again, both.replace("d1", "d3"));
        // Two entries with one tag, which the specification allows for platforms, are replaced by one.
        let twice = both.replace("\"b\"", "\"a\"");
        assert_eq!(digest(&twice, "a"), None);
        assert_eq!(add(Some(&twice), "a", "d1").unwrap(), first);
    }

    #[test]
    fn another_image_that_loses_its_tag_is_returned() {
        let of = |name: &str, digest: &str| Entry {
            full_name: Some(name.to_owned()),
            ..entry("latest", digest)
        };
        let (first, _) = with_entry(None, &of("docker.io/library/a:latest", "d1")).unwrap();
        let a = Displaced {
            full_name: Some("docker.io/library/a:latest".to_owned()),
            digest: "d1".to_owned(),
        };
        for (name, digest, displaced) in [
            ("docker.io/library/a:latest", "d1", &[][..]),
            ("docker.io/library/b:latest", "d1", &[]),
            ("docker.io/library/a:latest", "d2", std::slice::from_ref(&a)),
            ("docker.io/library/b:latest", "d2", std::slice::from_ref(&a)),
        ] {
            let (_, found) = with_entry(Some(&first), &of(name, digest)).unwrap();
            assert_eq!(found, displaced, "{name} {digest}");
        }
        // Each of several platforms is an image of its own.
        let first = String::from_utf8(first).unwrap();
        let (start, rest) = first.split_once('[').unwrap();
        let (entry, end) = rest.split_once(']').unwrap();
        let two = format!("{start}[{entry},{}]{end}", entry.replace("d1", "d3"));
        let (_, found) =
            with_entry(Some(two.as_bytes()), &of("docker.io/library/b:latest", "d2")).unwrap();
        assert_eq!(found.iter().map(|one| &*one.digest).collect::<Vec<_>>(), ["d1", "d3"]);
    }

    #[test]
    fn an_index_above_the_limit_is_not_written() {
        let padding = "x".repeat(LONGEST as usize - 200);
        let old = format!(r#"{{"schemaVersion":2,"manifests":[],"x":"{padding}"}}"#);
        assert!(add(Some(&old), "a", "d").is_ok());
        assert!(add(Some(&old), &"t".repeat(128), "d").unwrap_err().starts_with("has no room"));
    }

    #[test]
    fn a_file_that_is_not_an_index_is_not_changed() {
        for bad in
            ["", "[]", "null", "{\"manifests\":1}", "{\"a\":1,\"a\":2}", "{\"schemaVersion\":1}"]
        {
            assert!(add(Some(bad), "a", "d").is_err(), "{bad}");
        }
        for empty in ["{}", "{\"manifests\":null}", "{\"manifests\":[]}"] {
            let made = add(Some(empty), "a", "d").unwrap();
            assert_eq!(digest(&made, "a").unwrap(), "d");
            assert!(
                has_schema_version(made.as_bytes()) && !has_schema_version(empty.as_bytes()),
                "{made}"
            );
        }
    }

    #[test]
    fn an_ambiguous_index_is_not_changed() {
        for bad in [
            r#"{"Manifests":[]}"#,
            r#"{"manifests":[],"SchemaVersion":2}"#,
            r#"{"manifests":[{"Digest":"d"}]}"#,
            r#"{"manifests":[{"digest":"d","digest":"e"}]}"#,
            r#"{"manifests":[{"digest":"d","Annotations":{}}]}"#,
            r#"{"manifests":[{"annotations":{"x":"a","x":"b"}}]}"#,
        ] {
            assert_eq!(add(Some(bad), "a", "d"), Err(AMBIGUOUS), "{bad}");
        }
        let fine = r#"{"x":{"Manifests":1},"manifests":[{"annotations":{"X":"a","x":"b"}},[{}]]}"#;
        assert!(add(Some(fine), "a", "d").is_ok());
    }
}
