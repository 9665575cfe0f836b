//! Directories that images may be written to: missing or empty ones, and those of the output's format,
//! with whatever the user keeps beside the images.
//!
//! The format is known by the files that lead to the images. A directory in which a run was killed
//! before it wrote those has nothing but files that are named after digests, and counts as well.

use std::io::{self, Read};
use std::path::Path;

use serde::de::IgnoredAny;

use super::FORCE;
use super::archive::{is_index, is_marker, is_saved_list};
use occystrap_base::error::{Error, Kind, Result, io_reason};
use occystrap_base::files::regular;
use occystrap_base::oci::layout::{CATALOG, LIST};
use occystrap_base::oci::layout::{INDEX, MARKER};
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_base::terminal::shell::quote;
use occystrap_images::source::content_store::parse_index;
use occystrap_images::source::oci_layout::{LARGEST_INDEX, LARGEST_MARKER};

/// Bytes of a catalog in which its first image is.
const BEGINNING: u64 = 512 * 1024;

/// Entries that a message names.
const MOST_NAMED: usize = 3;

/// Largest number of entries that are examined: one entry that is not of the output is enough for a refusal.
const MOST_ENTRIES: usize = 100_000;

/// What file systems, version control and desktops put into a directory, and what describes it.
const BESIDE: [&str; 19] = [
    "lost+found",
    "System Volume Information",
    ".git",
    ".keep",
    ".nfs",
    ".occystrap-",
    ".snapshot",
    ".zfs",
    ".Trash",
    ".DS_Store",
    ".directory",
    ".fseventsd",
    ".Spotlight-V100",
    "$RECYCLE.BIN",
    "desktop.ini",
    "Thumbs.db",
    "aquota.user",
    "aquota.group",
    "README",
];

/// The format of a built-in output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirectoryForm {
    /// `dir://`.
    Images,
    /// `oci-layout://`.
    Layout,
}

impl DirectoryForm {
    /// Errors where a directory holds other things.
    pub(super) fn check(self, path: &Path) -> Result<()> {
        // What is missing is made, and what is no directory is refused where it is opened.
        if !path.is_dir() {
            return Ok(());
        }
        self.check_read(path)?;
        if self.is_in(path) {
            return self.check_list(path);
        }
        let other = match self {
            Self::Images => Self::Layout,
            Self::Layout => Self::Images,
        };
        let place = path.display();
        if other.is_in(path) {
            let (own, other) = (self.scheme(), other.name());
            let message = format!("'{place}' is {other}, and {own}:// writes another format");
            let add = match self {
                Self::Images => format!("oci-layout://{place}"),
                // Without the option the new image would take the place of one that is there.
                Self::Layout => format!("'dir://{place}?unique_names=true'"),
            };
            let hint = format!(
                "type {add} to add to it, or add {FORCE} to have both formats in one directory"
            );
            return Err(Error::destination(message).hint(hint));
        }
        let strangers = match self.strangers(path) {
            Ok(strangers) if strangers.is_empty() => return Ok(()),
            Ok(strangers) => strangers,
            Err(cause) => {
                let why = io_reason(&cause);
                let message =
                    format!("'{place}' cannot be listed, so that it may hold anything: {why}");
                return Err(refused(&message));
            }
        };
        let named: Vec<String> =
            strangers.iter().take(MOST_NAMED).map(|name| format!("'{name}'")).collect();
        let more = match strangers.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message =
            format!("'{place}' is not {}: it holds {}{more}", self.name(), named.join(", "));
        // The output adds to these files, also with `--force`, and cannot where they are of another form.
        let own: &[&str] = match self {
            Self::Images => &[CATALOG],
            Self::Layout => self.lists(),
        };
        match strangers.iter().find(|name| own.contains(&name.as_str())) {
            Some(unreadable) => Err(Error::destination(format!(
                "'{place}' is not {}: its '{unreadable}' is of another form",
                self.name()
            ))
            .hint(format!("move '{unreadable}' away, or name another directory"))),
            None => Err(refused(&message)),
        }
    }

    /// Returns the files that lead to the images, to which the output adds.
    fn lists(self) -> &'static [&'static str] {
        match self {
            Self::Images => &[CATALOG, LIST],
            Self::Layout => &[INDEX, MARKER],
        }
    }

    /// Errors where a file that leads to the images is there and cannot be read.
    fn check_read(self, path: &Path) -> Result<()> {
        for name in self.lists() {
            let file = path.join(name);
            match regular::open(&file) {
                Err(cause) if cause.raw_os_error().is_some() && !is_missing(&cause) => {
                    let error = Error::io(Kind::Destination, "read", file.display(), &cause);
                    let named = quote(&file.display().to_string());
                    return Err(error.hint(format!("look at it: ls -l {named}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Errors where an image would take the place of a `manifest.json` that is the user's own: a catalog
    /// without images is also what other programs call so.
    fn check_list(self, path: &Path) -> Result<()> {
        if self == Self::Layout {
            return Ok(());
        }
        let Ok(list) = regular::read(&path.join(LIST), LARGEST_MANIFEST as u64) else {
            return Ok(());
        };
        // A damaged list beside a catalog of images is written anew.
        let is_damaged = serde_json::from_slice::<IgnoredAny>(&list).is_err();
        if is_saved_list(&list) || (is_damaged && read_catalog(path).unwrap_or_default().1) {
            return Ok(());
        }
        let place = path.display();
        Err(Error::destination(format!("'{place}' has a '{LIST}' that lists no image")).hint(format!(
            "name another directory, or add {FORCE} to write into this one, which may replace that file"
        )))
    }

    /// Errors where the index of a layout has an entry that readers reject: they would not read the image that is added
    /// to it either. The plugin reports every other problem of a list. Entries of other tools in a catalog are ignored
    /// by all readers.
    pub(super) fn check_entries(self, path: &Path) -> Result<()> {
        if self != Self::Layout {
            return Ok(());
        }
        let Ok(index) = regular::read(&path.join(INDEX), LARGEST_INDEX) else { return Ok(()) };
        let place = path.display();
        match parse_index(&index, &format!("'{place}'")) {
            Err(why) if is_index(&index) => {
                let name = self.name();
                let message =
                    format!("'{place}' is not {name}: its '{INDEX}' is of another form: {why}");
                let hint = format!("move '{INDEX}' away, or name another directory");
                Err(Error::destination(message).hint(hint))
            }
            _ => Ok(()),
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Images => "dir",
            Self::Layout => "oci-layout",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Images => "a directory of dir://",
            Self::Layout => "an OCI image layout",
        }
    }

    /// Returns whether a directory has the files that lead to images of this format.
    fn is_in(self, path: &Path) -> bool {
        let read = |name: &str, limit: u64| regular::read(&path.join(name), limit).ok();
        match self {
            Self::Images => {
                read_catalog(path).is_ok_and(|(is_catalog, _)| is_catalog)
                    || read(LIST, LARGEST_MANIFEST as u64).is_some_and(|list| is_saved_list(&list))
            }
            Self::Layout => {
                read(MARKER, LARGEST_MARKER).is_some_and(|marker| is_marker(&marker))
                    || read(INDEX, LARGEST_INDEX).is_some_and(|index| is_index(&index))
            }
        }
    }

    /// Returns the entries of a directory that this output neither writes nor expects, sorted.
    fn strangers(self, path: &Path) -> io::Result<Vec<String>> {
        let mut strangers = Vec::new();
        for entry in path.read_dir()?.take(MOST_ENTRIES) {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_beside = BESIDE.iter().any(|known| name.starts_with(known));
            if !is_beside && !self.writes(&name, path) {
                strangers.push(name);
            }
        }
        strangers.sort();
        Ok(strangers)
    }

    /// Returns whether this output writes a file or a folder of that name before those that lead to it.
    fn writes(self, name: &str, path: &Path) -> bool {
        let is_hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match self {
            Self::Images => {
                is_hex(name.strip_suffix(".json").unwrap_or(name))
                    || (name.starts_with("manifest-") && name.ends_with(".json"))
                    || name == "SHA256SUMS"
            }
            Self::Layout => name == "blobs" && path.join("blobs/sha256").is_dir(),
        }
    }
}

fn refused(message: &str) -> Error {
    Error::destination(message)
        .hint(format!("name a new or an empty directory, or add {FORCE} to write into this one"))
}

/// Returns whether an error says that a name does not exist, or is a directory.
fn is_missing(cause: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(cause.kind(), NotFound | NotADirectory | IsADirectory)
}

/// Returns whether a directory has a catalog, and whether the beginning of the catalog lists an image. The rest is
/// checked where it is read. Entries of other tools are skipped.
fn read_catalog(path: &Path) -> io::Result<(bool, bool)> {
    let mut bytes = Vec::new();
    regular::open(&path.join(CATALOG))?.take(BEGINNING).read_to_end(&mut bytes)?;
    let mut rest = Beginning(&bytes);
    Ok(match catalog_of(&mut rest) {
        // There is no image so far: it is a catalog if this was the whole file.
        Some(Seen::Nothing) => (rest.0.trim_ascii().is_empty(), false),
        Some(Seen::Image) => (true, true),
        Some(Seen::Other) | None => (false, false),
    })
}

/// What the beginning of a catalog has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Image,
    Other,
}

/// Reads a catalog, `{repository: {tag: manifest file}}`, up to its first image. `None` where it ends before that.
fn catalog_of(rest: &mut Beginning) -> Option<Seen> {
    let mut seen = Seen::Nothing;
    rest.members(|rest| {
        let found = match rest.peek()? {
            b'{' => {
                let mut found = Seen::Nothing;
                rest.members(|rest| {
                    let name = serde_json::from_slice::<String>(rest.value()?);
                    let is_image = name.is_ok_and(|name| is_manifest_name(&name));
                    found = if is_image { Seen::Image } else { Seen::Other };
                    Some(!is_image)
                })?;
                found
            }
            _ => {
                rest.value()?;
                Seen::Other
            }
        };
        if found != Seen::Nothing {
            seen = found;
        }
        Some(found != Seen::Image)
    })?;
    Some(seen)
}

/// The beginning of a JSON text, from the next token on.
struct Beginning<'a>(&'a [u8]);

impl<'a> Beginning<'a> {
    fn peek(&mut self) -> Option<u8> {
        self.0 = self.0.trim_ascii_start();
        self.0.first().copied()
    }

    fn pass(&mut self, mark: u8) -> Option<()> {
        (self.peek()? == mark).then(|| self.0 = &self.0[1..])
    }

    /// Passes a value of any kind, and returns how it is spelled.
    fn value(&mut self) -> Option<&'a [u8]> {
        self.peek()?;
        let text = self.0;
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let (value, rest) = text.split_at(values.byte_offset());
        self.0 = rest;
        Some(value)
    }

    /// Reads the members of an object. `each` reads a value, and returns whether to go on.
    fn members(&mut self, mut each: impl FnMut(&mut Self) -> Option<bool>) -> Option<()> {
        self.pass(b'{')?;
        if self.peek()? == b'}' {
            return self.pass(b'}');
        }
        loop {
            if self.peek()? != b'"' {
                return None;
            }
            self.value()?;
            self.pass(b':')?;
            if !each(self)? {
                return Some(());
            }
            match self.peek()? {
                b',' => self.pass(b',')?,
                _ => return self.pass(b'}'),
            }
        }
    }
}

/// Returns whether a catalog's value names a file that `dir://` or 0.4.17 has written.
fn is_manifest_name(name: &str) -> bool {
    name.starts_with("manifest") && name.ends_with(".json") && !name.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match name.ends_with('/') {
                true => std::fs::create_dir_all(path).unwrap(),
                false => std::fs::write(path, content).unwrap(),
            }
        }
        folder
    }

    const CATALOGS: [&str; 3] =
        ["{}", r#"{"a":{}}"#, r#"{"a":{},"b":{"1":"manifest-b@1.json"},"c":["#];
    const LISTED: &str = r#"[{"Config":"c.json","Layers":["l"]}]"#;
    const INDEXED: &str = r#"{"schemaVersion":2,"manifests":[]}"#;
    const MARKED: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

    #[test]
    fn directories_of_the_format_are_taken_with_whatever_is_beside() {
        let hex = "0123456789abcdef".repeat(4);
        for catalog in CATALOGS {
            let found = folder(&[(CATALOG, catalog), ("notes.txt", ""), ("src/main.c", "")]);
            DirectoryForm::Images.check(found.path()).unwrap();
        }
        let layer = format!("{hex}/layer.tar");
        let config = format!("{hex}.json");
        for files in [
            &[][..],
            &[("lost+found/", "")],
            &[(".gitignore", ""), (".git/config", ""), ("README.md", "")],
            &[(LIST, LISTED), ("photo.jpg", "")],
            &[(&layer, ""), (&config, ""), ("SHA256SUMS", ""), ("manifest-a@1.json", "")],
            &[(".occystrap-0123.tmp", "")],
            &[("aquota.user", ""), ("$RECYCLE.BIN/", ""), ("Thumbs.db", ""), (".fseventsd/", "")],
            &[(CATALOG, "{}"), (LIST, LISTED)],
            // A list that a power failure took.
            &[(CATALOG, r#"{"a":{"1":"manifest.json"}}"#), (LIST, "")],
        ] {
            DirectoryForm::Images.check(folder(files).path()).unwrap();
        }
        for files in [
            &[(MARKER, MARKED), ("notes.txt", "")][..],
            &[(INDEX, INDEXED), ("notes.txt", "")],
            &[("blobs/sha256/x", ""), ("README", "")],
            &[("lost+found/", "")],
        ] {
            DirectoryForm::Layout.check(folder(files).path()).unwrap();
        }
        let missing = folder(&[]).path().join("not/there");
        DirectoryForm::Images.check(&missing).unwrap();
        let both = folder(&[(MARKER, MARKED), (CATALOG, "{}")]);
        DirectoryForm::Images.check(both.path()).unwrap();
        DirectoryForm::Layout.check(both.path()).unwrap();
    }

    #[test]
    fn other_directories_are_refused_with_what_they_hold() {
        let said = |form: DirectoryForm, files: &[(&str, &str)]| {
            let folder = folder(files);
            let error = form.check(folder.path()).unwrap_err();
            let hint = error.hint_text().unwrap();
            assert!(hint.contains("--force") || hint.starts_with("move '"), "{error}: {hint}");
            error.to_string().replace(&folder.path().display().to_string(), "T")
        };
        assert_eq!(
            said(DirectoryForm::Images, &[("a", ""), ("b", ""), ("c", ""), ("d/e", "")]),
            "'T' is not a directory of dir://: it holds 'a', 'b', 'c' and 1 more"
        );
        assert_eq!(
            said(DirectoryForm::Images, &[(".profile", "")]),
            "'T' is not a directory of dir://: it holds '.profile'"
        );
        // Others use the same names.
        for catalog in ["[]", "{\"a\":1}", "{\"a\":{\"b\":{}}}", "", "{\"a\":"] {
            said(DirectoryForm::Images, &[(CATALOG, catalog)]);
        }
        said(DirectoryForm::Images, &[(LIST, "{\"name\":\"an extension\"}")]);
        said(DirectoryForm::Images, &[(CATALOG, r#"{"en":{"hello":"Hello"}}"#), (LIST, "{}")]);
        for catalog in ["{}", r#"{"a":{"1":"manifest.json"}}"#] {
            assert_eq!(
                said(DirectoryForm::Images, &[(CATALOG, catalog), (LIST, "{\"name\":\"mine\"}")]),
                "'T' has a 'manifest.json' that lists no image"
            );
        }
        said(DirectoryForm::Layout, &[(INDEX, "{\"pages\":[]}"), ("index.html", "")]);
        said(DirectoryForm::Layout, &[("blobs/other", "")]);
        assert_eq!(
            said(
                DirectoryForm::Images,
                &[(MARKER, MARKED), (INDEX, INDEXED), ("blobs/sha256/x", "")]
            ),
            "'T' is an OCI image layout, and dir:// writes another format"
        );
        assert_eq!(
            said(DirectoryForm::Layout, &[(CATALOG, "{}"), (LIST, LISTED)]),
            "'T' is a directory of dir://, and oci-layout:// writes another format"
        );
    }
    #[test]
    fn a_list_that_cannot_be_read_is_said_so() {
        for (form, name) in [(DirectoryForm::Images, CATALOG), (DirectoryForm::Layout, INDEX)] {
            let folder = folder(&[]);
            std::os::unix::fs::symlink(name, folder.path().join(name)).unwrap();
            let error = form.check(folder.path()).unwrap_err().to_string();
            let error = error.to_lowercase();
            assert!(error.contains(name) && error.contains("too many"), "{error}");
        }
    }
}
