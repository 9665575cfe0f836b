//! Files that an image archive may take the place of: other image archives, and empty files.
//!
//! An archive is known by its list of images. Where it ends before that, as a download that was cut does,
//! it is known by the names of its members. One that is compressed as a whole is not unpacked to its end.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::FORCE;
use occystrap_base::error::{Error, Result, io_reason};
use occystrap_base::files::regular;
use occystrap_base::oci::layout::LIST;
use occystrap_base::oci::layout::{INDEX, MARKER};
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_base::oci::{Compression, Digest, Platform};
use occystrap_images::source::tar_index::TarIndex;
use occystrap_images::source::{self, Choice};
use occystrap_layer::blob::Decoder;
use occystrap_layer::image::Image;

/// Members that are looked at. Every known tool writes a config, a layer or a list among the first.
const MOST_MEMBERS: usize = 1_000;

/// The list of the first form of `docker save`, which later forms have as well.
const REPOSITORIES: &str = "repositories";

/// Bytes that are unpacked of an archive that is compressed as a whole, to see its first members.
const MOST_UNPACKED: u64 = 64 * 1024 * 1024;

/// Bytes of a tar's block: a member's content is filled up to a multiple of it.
const BLOCK: u64 = 512;

/// Images that a warning names.
const MOST_NAMED: usize = 3;

/// Errors where a file is there that is no image archive.
pub(super) fn check(path: &Path) -> Result<()> {
    // What is no regular file is refused where it is opened as a destination.
    match path.metadata() {
        Ok(there) if there.is_file() && there.len() > 0 => {}
        _ => return Ok(()),
    }
    let place = path.display();
    let error = match regular::open(path) {
        Ok(file) if is_archive(&file) => return Ok(()),
        Ok(_) => Error::destination(format!("'{place}' is not an image archive")),
        Err(cause) => Error::destination(format!(
            "'{place}' cannot be read, so that it may be anything: {}",
            io_reason(&cause)
        )),
    };
    Err(error.hint(format!("name another file, or add {FORCE} to replace it")))
}

/// Returns whether a file is an archive with images in it, or the beginning of one.
fn is_archive(mut file: &File) -> bool {
    if file.rewind().is_err() {
        return false;
    }
    let mut magic = [0; Compression::MAGIC_LENGTH];
    let length = file.read_at(&mut magic, 0).unwrap_or_default();
    match Compression::detect(&magic[..length]) {
        Compression::None => {
            // Seeking past the end is no error: the size tells of a member that was cut.
            let size = file.metadata().map(|there| there.len()).ok();
            let mut archive = tar::Archive::new(file);
            archive.entries_with_seek().is_ok_and(|members| has_image(members, size))
        }
        compression => {
            let Ok(decoder) = Decoder::new(compression, BufReader::new(file)) else { return false };
            let mut archive = tar::Archive::new(decoder.take(MOST_UNPACKED));
            archive.entries().is_ok_and(|members| has_image(members, None))
        }
    }
}

/// Returns whether members are those of an archive of images. A list of images says so. Where the archive ends
/// before its list could come, as a download that was cut does, the names of the other members do.
fn has_image<R: Read>(mut members: tar::Entries<R>, size: Option<u64>) -> bool {
    let (mut has_part, mut end) = (false, 0);
    for _ in 0..MOST_MEMBERS {
        let mut member = match members.next() {
            Some(Ok(member)) => member,
            Some(Err(_)) => return has_part,
            // A whole archive ends with two blocks of zeros.
            None => return has_part && size.is_some_and(|size| size < end + 2 * BLOCK),
        };
        let content = member.size().div_ceil(BLOCK).saturating_mul(BLOCK);
        end = member.raw_file_position().saturating_add(content);
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let name = name.trim_start_matches("./");
        if is_list(name, &mut member) {
            return true;
        }
        has_part |= is_part(name);
    }
    has_part
}

/// Returns whether the name of a member is typical of image archives: a digest, or the marker file of a layout.
fn is_part(name: &str) -> bool {
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if name == MARKER || name.strip_prefix("blobs/sha256/").is_some_and(is_hex) {
        return true;
    }
    // Configs and layers of `docker save`, crane and kaniko.
    let name = name.strip_prefix("sha256:").unwrap_or(name);
    let (hex, rest) = name.split_at_checked(64).unwrap_or(("", ""));
    is_hex(hex)
        && matches!(rest, "" | ".json" | ".tar" | ".tar.gz" | "/layer.tar" | "/json" | "/VERSION")
}

/// Returns whether a list names images: others use the same file names for other things.
fn is_list(name: &str, member: &mut impl Read) -> bool {
    let is: fn(&[u8]) -> bool = match name {
        LIST => is_saved_list,
        INDEX => is_index,
        MARKER => is_marker,
        REPOSITORIES => is_repositories,
        _ => return false,
    };
    let mut bytes = Vec::new();
    let read = member.take(LARGEST_MANIFEST as u64 + 1).read_to_end(&mut bytes);
    read.is_ok() && is(&bytes)
}

/// Returns whether bytes are the mark of an OCI image layout.
pub(super) fn is_marker(bytes: &[u8]) -> bool {
    let marker = serde_json::from_slice::<serde_json::Value>(bytes);
    marker.is_ok_and(|marker| marker["imageLayoutVersion"].is_string())
}

/// Returns whether bytes are the list of the first form of `docker save`: `{repository: {tag: layer}}`.
fn is_repositories(bytes: &[u8]) -> bool {
    let is_layer = |id: &String| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let list = serde_json::from_slice::<BTreeMap<String, BTreeMap<String, String>>>(bytes);
    list.is_ok_and(|list| {
        let mut layers = list.values().flat_map(BTreeMap::values).peekable();
        layers.peek().is_some() && layers.all(is_layer)
    })
}

/// Returns whether bytes are a list in the form of `docker save`.
pub(super) fn is_saved_list(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(expecting = "an object")]
    struct Image {
        #[serde(rename = "Config")]
        _config: String,
        #[serde(rename = "Layers")]
        _layers: Option<Vec<IgnoredAny>>,
    }
    serde_json::from_slice::<Vec<Image>>(bytes).is_ok_and(|images| !images.is_empty())
}

/// Returns whether bytes are an index of the OCI image specification.
pub(super) fn is_index(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(expecting = "an object")]
    struct Index {
        #[serde(rename = "schemaVersion")]
        _version: u64,
        #[serde(rename = "manifests")]
        _manifests: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Index>(bytes).is_ok()
}

/// The images of an archive that is replaced by another one.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplacedImages {
    /// The first few, each as `'NAME' (ID)`, and how many more there are.
    Images(Vec<String>, usize),
    /// An archive that is compressed as a whole, or damaged.
    Unread,
}

impl fmt::Display for ReplacedImages {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => to.write_str("an archive whose images were not read"),
            Self::Images(names, more) => {
                to.write_str(&names.join(", "))?;
                if *more > 0 { write!(to, " and {more} more") } else { Ok(()) }
            }
        }
    }
}

/// Returns the content of an archive besides the image of this ID. `None` if there is no other: writing the same image
/// again replaces no other image.
pub(super) fn replaced(path: &Path, id: Digest) -> Option<ReplacedImages> {
    let file = regular::open(path).ok()?;
    if file.metadata().ok()?.len() == 0 || !is_archive(&file) {
        return None;
    }
    let place = format!("'{}'", path.display());
    let images = TarIndex::read(Arc::new(file), place.clone()).and_then(|index| {
        source::archive::images(&index, &Platform::default(), Choice::all(&place))
    });
    let Ok(images) = images else { return Some(ReplacedImages::Unread) };
    let others = images.iter().filter(|image| image.id != id);
    let shown = |image: &Image| format!("'{}' ({})", image.name, image.id.short());
    let mut names: Vec<String> = others.map(shown).collect();
    let more = names.len().saturating_sub(MOST_NAMED);
    names.truncate(MOST_NAMED);
    (!names.is_empty()).then_some(ReplacedImages::Images(names, more))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn archives_of_every_tool_are_known_whole_cut_and_compressed() {
        let hex = "0123456789abcdef".repeat(4);
        let big: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
        let repositories = format!(r#"{{"app":{{"1":"{hex}"}}}}"#);
        let lists: [(&str, &[u8]); 4] = [
            ("./manifest.json", br#"[{"Config":"config.json","Layers":[]}]"#),
            ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
            ("repositories", repositories.as_bytes()),
        ];
        for (name, content) in lists {
            let whole = tar(&[("VERSION", b"1.0"), (name, content)]);
            assert!(is_archive(&file(&whole)), "{name}");
            assert!(is_archive(&file(&gzip(&whole))), "{name}");
        }
        for (name, content) in [
            (format!("{hex}.json"), &b"{}"[..]),
            (format!("{hex}/layer.tar"), &big),
            (format!("sha256:{hex}"), b"{}"),
            (format!("{hex}.tar.gz"), &big),
            (format!("blobs/sha256/{hex}"), &big),
            ("oci-layout".to_owned(), b"{}"),
        ] {
            let whole = tar(&[("VERSION", b"1.0"), (&name, content), lists[0]]);
            assert!(is_archive(&file(&whole)), "{name}");
            assert!(is_archive(&file(&gzip(&whole))), "{name}");
            assert!(is_archive(&file(&zstd::encode_all(&whole[..], 1).unwrap())), "{name}");
            // Cut in the member.
            let cut = &whole[..1024 + 512 + content.len().min(700)];
            assert!(is_archive(&file(cut)), "{name}");
            assert!(is_archive(&file(&whole[..1024 + 512 + content.len() / 2])), "{name}");
            let packed = gzip(&whole);
            assert!(
                content.len() < 512 || is_archive(&file(&packed[..packed.len() / 2])),
                "{name}"
            );
        }
    }

    #[test]
    fn archives_of_the_user_are_not_known_by_names_alone() {
        let hex = "0123456789abcdef".repeat(4);
        let deep = format!("{hex}/_data/photo.jpg");
        let (blob, config) = (format!("blobs/sha256/{hex}"), format!("{hex}.json"));
        let archives: [&[(&str, &[u8])]; 5] = [
            &[(&deep, b"a volume")],
            &[("repositories", b"https://example.com"), ("notes", b"x")],
            &[("repositories", br#"{"app":{"1":"x"}}"#)],
            &[("oci-layout", b"notes on layouts")],
            &[(&blob, b"content-addressed"), (&config, b"{}")],
        ];
        for members in archives {
            let whole = tar(members);
            assert!(!is_archive(&file(&whole)), "{members:?}");
            assert!(!is_archive(&file(&gzip(&whole))), "{members:?}");
        }
        // Cut, with no name of an image's.
        let whole = tar(&[(&deep, &[7; 5000])]);
        assert!(!is_archive(&file(&whole[..2000])));
    }

    #[test]
    fn other_files_are_not_taken_for_archives_of_images() {
        let backup = tar(&[
            ("notes.txt", b"x"),
            ("manifest.json", br#"{"name":"an extension"}"#),
            ("index.json", b"[]"),
            ("blobs/x", b"x"),
            ("0123.json", b"{}"),
        ]);
        for other in
            [&backup[..], &gzip(&backup), b"hello", &gzip(b"hello"), &[0; 4096], b"\x1f\x8b"]
        {
            assert!(!is_archive(&file(other)));
        }
    }
}
