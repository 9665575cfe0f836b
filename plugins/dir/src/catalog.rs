//! `catalog.json`, which lists the images in the directory: `{repository: {tag: manifest file}}`.
//!
//! The catalog is read and rewritten as a stream ([`crate::json_stream`]), so a directory of 100,000 images
//! needs no more memory than one of ten. Entries of other tools are kept unchanged. This module refuses:
//!
//! - a file above [`LONGEST`];
//! - a file that is not a JSON object;
//! - a file in which the repository or the tag of this image occurs twice.

use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::json_stream::{Discard, JsonReader, JsonString, Output, Source, StoredFile, is_absent};
use crate::layout::CATALOG;
use crate::output::Buffered;

/// The largest catalog, and the largest `SHA256SUMS`, in bytes. 100,000 images with the longest names that
/// Docker accepts need 81 MB of it. The host uses the same limit.
pub const LONGEST: u64 = 128 * 1024 * 1024;

/// The number of objects that enclose the value of a repository.
const REPOSITORY_DEPTH: usize = 1;

/// The number of objects that enclose the value of a tag.
const TAG_DEPTH: usize = 2;

/// The number of displaced images that are kept by name. The others are counted.
const MOST_NAMED: usize = 20;

/// The entry of an image in the catalog.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub repository: &'a str,
    pub tag: &'a str,
    /// The path of the manifest file.
    pub file: &'a str,
}

impl Entry<'_> {
    /// Returns the largest number of bytes that the entry adds to the catalog.
    fn length(&self) -> u64 {
        let text = [self.repository, self.tag, self.file].map(|text| to_json(text).len());
        (text.iter().sum::<usize>() + 64) as u64
    }
}

/// What the existing catalog contains about an image, and about other images that use its manifest file.
#[derive(Default)]
pub struct Survey {
    /// Whether there is no catalog yet.
    pub is_new: bool,
    has_repository: bool,
    /// The manifest file that the catalog lists under the image's own name.
    pub current_file: Option<String>,
    /// The first images that lose their manifest file to this image, as `repository:tag`.
    pub displaced: Vec<String>,
    /// The number of further images that lose their manifest file.
    pub more_displaced: usize,
    /// An image whose manifest file differs from that of this image only in upper and lower case, and that
    /// file.
    pub case_conflict: Option<(String, String)>,
}

/// Reads the existing catalog. Fails if the entry cannot be added to it; the error says why.
pub fn survey(directory: &Directory, entry: Entry) -> Result<Survey, Error> {
    let none = || Survey { is_new: true, ..Survey::default() };
    let size = match directory.stat(CATALOG)? {
        None => return Ok(none()),
        Some(stat) => stat.size,
    };
    if size.saturating_add(entry.length()) > LONGEST {
        return Err(Error::Other(format!(
            "the '{CATALOG}' that is there has {size} bytes, and no reader takes more than {LONGEST}; \
             write to another directory"
        )));
    }
    let stored = StoredFile { directory, path: CATALOG };
    // Another process may have removed it meanwhile.
    survey_text(stored, entry).or_else(|why| match is_absent(&why) {
        true => Ok(none()),
        false => Err(unusable(why)),
    })
}

/// Rewrites the catalog with the entry, which replaces the entries that [`survey`] has found.
pub fn write(directory: &Directory, entry: Entry, survey: &Survey) -> Result<(), Error> {
    rewrite(directory, entry, survey, Edit::AddEntry)
}

/// Rewrites the catalog without the images that lose their manifest file to this image.
pub fn write_without(directory: &Directory, entry: Entry, survey: &Survey) -> Result<(), Error> {
    rewrite(directory, entry, survey, Edit::RemoveDisplaced)
}

/// The change of a catalog. Each change removes the other images that use the manifest file of the entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// Adds the entry, or replaces it.
    AddEntry,
    /// Only removes the other images: the entry under the image's own name is neither added nor changed.
    RemoveDisplaced,
}

fn rewrite(directory: &Directory, entry: Entry, survey: &Survey, what: Edit) -> Result<(), Error> {
    let mut to = Buffered::create(directory, CATALOG)?;
    match directory.stat(CATALOG)? {
        None => edit(JsonReader::new(&b"{}"[..]), entry, survey, what, &mut to)?,
        Some(_) => {
            let text = JsonReader::new(StoredFile { directory, path: CATALOG });
            edit(text, entry, survey, what, &mut to).map_err(unusable)?;
        }
    }
    to.finish()?;
    Ok(())
}

/// Returns the manifest file that a catalog lists under a name; `None` if it does not list that name.
pub fn find(
    directory: &Directory,
    path: &str,
    repository: &str,
    tag: &str,
) -> Result<Option<String>, Error> {
    let entry = Entry { repository, tag, file: "" };
    survey_text(StoredFile { directory, path }, entry).map(|survey| survey.current_file)
}

/// Adds the name of the catalog, and what the user can do, to the reason why a catalog cannot be used.
fn unusable(why: Error) -> Error {
    match why {
        Error::Other(why) => {
            Error::Other(format!("the '{CATALOG}' that is there {why}; move it away first"))
        }
        other => other,
    }
}

fn survey_text<'a>(source: impl Source + 'a, entry: Entry) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let mut text = JsonReader::new(source);
    let mut repositories = Members::open(&mut text)?;
    while let Some(repository) = repositories.next(&mut text)? {
        let ours = repository.value() == entry.repository;
        if ours && std::mem::replace(&mut survey.has_repository, true) {
            return Err(duplicate(entry.repository));
        }
        if text.peek_token()? != Some(b'{') {
            if ours {
                let why = format!("has something other than tags under '{}'", entry.repository);
                return Err(Error::Other(why));
            }
            text.copy_value(REPOSITORY_DEPTH, &mut Discard)?;
            continue;
        }
        let mut tags = Members::open(&mut text)?;
        while let Some(tag) = tags.next(&mut text)? {
            let file = match text.peek_token()? {
                Some(b'"') => Some(text.string()?),
                _ => {
                    text.copy_value(TAG_DEPTH, &mut Discard)?;
                    None
                }
            };
            if ours && tag.value() == entry.tag {
                if survey.current_file.is_some() {
                    return Err(duplicate(&format!("{}:{}", entry.repository, entry.tag)));
                }
                survey.current_file =
                    Some(file.map_or_else(String::new, |file| file.value().to_owned()));
            } else if let Some(file) = file {
                let image = || format!("{}:{}", repository.value(), tag.value());
                if file.value() == entry.file {
                    match survey.displaced.len() < MOST_NAMED {
                        true => survey.displaced.push(image()),
                        false => survey.more_displaced += 1,
                    }
                } else if file.value().eq_ignore_ascii_case(entry.file) {
                    survey.case_conflict = Some((image(), file.value().to_owned()));
                }
            }
        }
    }
    expect_end(&mut text)?;
    Ok(survey)
}

fn duplicate(name: &str) -> Error {
    Error::Other(format!("has '{name}' twice"))
}

/// Fails if something follows the object.
fn expect_end(text: &mut JsonReader) -> Result<(), Error> {
    match text.peek_token()? {
        None => Ok(()),
        Some(_) => text.error("something follows the object"),
    }
}

/// The members of a JSON object that is being read.
struct Members {
    any: bool,
}

impl Members {
    fn open(text: &mut JsonReader) -> Result<Self, Error> {
        if text.peek_token()? != Some(b'{') {
            return Err(Error::Other("is not a JSON object".to_owned()));
        }
        text.expect(b'{')?;
        Ok(Self { any: false })
    }

    /// Reads the next key; `None` at the end of the object. The value is to be read next.
    fn next(&mut self, text: &mut JsonReader) -> Result<Option<JsonString>, Error> {
        if text.accept(b'}')? {
            return Ok(None);
        }
        if std::mem::replace(&mut self.any, true) {
            text.expect(b',')?;
        }
        let key = text.string()?;
        text.expect(b':')?;
        Ok(Some(key))
    }
}

/// A writer for the catalog. Its layout is that of `serde_json`'s pretty printer.
struct CatalogWriter<'a> {
    to: &'a mut dyn Output,
    any_repository: bool,
    /// The key of the current repository, as long as no tag of it was written.
    pending: Option<String>,
}

impl CatalogWriter<'_> {
    fn write_repository_key(&mut self, raw: &str) -> Result<(), Error> {
        let any = std::mem::replace(&mut self.any_repository, true);
        self.to.write(if any { b",\n  " } else { b"\n  " })?;
        self.to.write(raw.as_bytes())?;
        self.to.write(b": ")
    }

    /// Writes the key of a tag. The caller writes the value next.
    fn write_tag_key(&mut self, raw: &str) -> Result<(), Error> {
        match self.pending.take() {
            Some(repository) => {
                self.write_repository_key(&repository)?;
                self.to.write(b"{\n    ")?;
            }
            None => self.to.write(b",\n    ")?,
        }
        self.to.write(raw.as_bytes())?;
        self.to.write(b": ")
    }

    fn write_entry(&mut self, tag: &str, file: &str) -> Result<(), Error> {
        self.write_tag_key(&to_json(tag))?;
        self.to.write(to_json(file).as_bytes())
    }

    /// Ends the current repository. A repository without tags is left out.
    fn end_repository(&mut self) -> Result<(), Error> {
        match self.pending.take() {
            Some(_) => Ok(()),
            None => self.to.write(b"\n  }"),
        }
    }

    fn write_repository(&mut self, entry: Entry) -> Result<(), Error> {
        self.pending = Some(to_json(entry.repository));
        self.write_entry(entry.tag, entry.file)?;
        self.end_repository()
    }
}

/// Copies a catalog with a change. A new entry goes to the position that it has in a sorted catalog.
fn edit(
    mut text: JsonReader,
    entry: Entry,
    survey: &Survey,
    what: Edit,
    to: &mut dyn Output,
) -> Result<(), Error> {
    let text = &mut text;
    to.write(b"{")?;
    let mut out = CatalogWriter { to, any_repository: false, pending: None };
    let mut placed = what == Edit::RemoveDisplaced;
    let mut repositories = Members::open(text)?;
    while let Some(repository) = repositories.next(text)? {
        let ours = repository.value() == entry.repository;
        if !placed && !survey.has_repository && repository.value() > entry.repository {
            out.write_repository(entry)?;
            placed = true;
        }
        if text.peek_token()? != Some(b'{') {
            out.write_repository_key(&repository.raw)?;
            text.copy_value(REPOSITORY_DEPTH, out.to)?;
            continue;
        }
        out.pending = Some(repository.raw);
        let mut tags = Members::open(text)?;
        while let Some(tag) = tags.next(text)? {
            let own = ours && tag.value() == entry.tag;
            if ours
                && !placed
                && (own || (survey.current_file.is_none() && tag.value() > entry.tag))
            {
                out.write_entry(entry.tag, entry.file)?;
                placed = true;
            }
            if text.peek_token()? != Some(b'"') {
                if own && what == Edit::AddEntry {
                    text.copy_value(TAG_DEPTH, &mut Discard)?;
                } else {
                    out.write_tag_key(&tag.raw)?;
                    text.copy_value(TAG_DEPTH, out.to)?;
                }
                continue;
            }
            let file = text.string()?;
            let stays =
                if own { what == Edit::RemoveDisplaced } else { file.value() != entry.file };
            if stays {
                out.write_tag_key(&tag.raw)?;
                out.to.write(file.raw.as_bytes())?;
            }
        }
        if ours && !placed {
            out.write_entry(entry.tag, entry.file)?;
            placed = true;
        }
        out.end_repository()?;
    }
    expect_end(text)?;
    if !placed {
        out.write_repository(entry)?;
    }
    out.to.write(b"\n}\n")
}

/// Returns a string as JSON, with quotes and escapes.
fn to_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::json_stream::tests::Pieces;

    const NEW: Entry = Entry { repository: "m", tag: "1", file: "new.json" };

    fn said<T>(result: Result<T, Error>) -> Result<T, String> {
        result.map_err(|error| match error {
            Error::Other(why) => why,
            _ => unreachable!(),
        })
    }

    fn edited(old: &str, entry: Entry) -> Result<(String, Survey), String> {
        let survey = said(survey_text(Pieces(old.as_bytes(), 5), entry))?;
        let mut made = Vec::new();
        said(edit(
            JsonReader::new(Pieces(old.as_bytes(), 3)),
            entry,
            &survey,
            Edit::AddEntry,
            &mut made,
        ))?;
        Ok((String::from_utf8(made).unwrap(), survey))
    }

    fn without(old: &str) -> Value {
        let survey = said(survey_text(Pieces(old.as_bytes(), 5), NEW)).unwrap();
        let mut made = Vec::new();
        let text = JsonReader::new(Pieces(old.as_bytes(), 3));
        said(edit(text, NEW, &survey, Edit::RemoveDisplaced, &mut made)).unwrap();
        serde_json::from_slice(&made).unwrap()
    }

    #[test]
    fn only_images_that_lose_their_manifest_leave_the_catalog() {
        for (old, new) in [
            (json!({"a": {"1": "new.json"}}), json!({})),
            (json!({"a": {"1": "new.json", "2": "x"}}), json!({"a": {"2": "x"}})),
            (json!({"m": {"0": "new.json", "1": "new.json"}}), json!({"m": {"1": "new.json"}})),
            (json!({"m": {"0": "new.json", "1": [7]}}), json!({"m": {"1": [7]}})),
            (json!({"a": [1], "m": {"0": "new.json"}}), json!({"a": [1]})),
        ] {
            assert_eq!(without(&old.to_string()), new, "{old}");
        }
        let survey = said(survey_text(&br#"{"m":{"2":"NEW.json"}}"#[..], NEW)).unwrap();
        assert_eq!(survey.case_conflict, Some(("m:2".to_owned(), "NEW.json".to_owned())));
    }

    fn pretty(value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap() + "\n"
    }

    #[test]
    fn an_entry_goes_where_a_sorted_catalog_has_it() {
        for (old, new) in [
            (json!({}), json!({"m": {"1": "new.json"}})),
            (json!({"a": {"1": "a"}}), json!({"a": {"1": "a"}, "m": {"1": "new.json"}})),
            (json!({"z": {"1": "z"}}), json!({"m": {"1": "new.json"}, "z": {"1": "z"}})),
            (json!({"m": {"0": "x"}}), json!({"m": {"0": "x", "1": "new.json"}})),
            (json!({"m": {"2": "x"}}), json!({"m": {"1": "new.json", "2": "x"}})),
            (json!({"m": {"1": "x"}}), json!({"m": {"1": "new.json"}})),
            (json!({"m": {"1": [7]}}), json!({"m": {"1": "new.json"}})),
            (json!({"m": {}}), json!({"m": {"1": "new.json"}})),
        ] {
            assert_eq!(edited(&old.to_string(), NEW).unwrap().0, pretty(&new), "{old}");
            assert_eq!(edited(&pretty(&new), NEW).unwrap().0, pretty(&new));
        }
    }

    #[test]
    fn an_unsorted_catalog_keeps_its_order_and_gets_one_entry() {
        let (new, _) =
            edited(r#"{"z":{"9":"z","1":"y"},"m":{"3":"a","1":"b","0":"c"}}"#, NEW).unwrap();
        let text: String = new.split_whitespace().collect();
        assert_eq!(text, r#"{"z":{"9":"z","1":"y"},"m":{"3":"a","1":"new.json","0":"c"}}"#);
    }

    #[test]
    fn entries_with_the_same_manifest_file_are_removed_and_counted() {
        let old = r#"{"a":{"1":"new.json"},"b":{"1":"x","2":"new.json"},"m":{"0":"new.json","1":"new.json"}}"#;
        let (new, survey) = edited(old, NEW).unwrap();
        assert_eq!(new, pretty(&json!({"b": {"1": "x"}, "m": {"1": "new.json"}})));
        assert_eq!(
            (survey.displaced, survey.more_displaced),
            (["a:1", "b:2", "m:0"].map(str::to_owned).to_vec(), 0)
        );
        assert_eq!(survey.current_file.as_deref(), Some("new.json"));
        let many: serde_json::Map<String, Value> =
            (0..5_000).map(|n| (format!("{n:04}"), json!("new.json"))).collect();
        let (new, survey) = edited(&json!({ "a": many }).to_string(), NEW).unwrap();
        assert_eq!(new, pretty(&json!({"m": {"1": "new.json"}})));
        assert_eq!(
            (survey.displaced.len(), survey.more_displaced),
            (MOST_NAMED, 5_000 - MOST_NAMED)
        );
    }

    #[test]
    fn entries_of_other_tools_keep_their_spelling() {
        let old = r#"{"\u0061":{"1":"x\/y"},"b":[{"c":[1.0, 2]}],"c":{"d":{"e":1}},"d":null}"#;
        let (new, _) = edited(old, NEW).unwrap();
        let text: String = new.split_whitespace().collect();
        assert_eq!(
            text,
            r#"{"\u0061":{"1":"x\/y"},"b":[{"c":[1.0,2]}],"c":{"d":{"e":1}},"d":null,"m":{"1":"new.json"}}"#
        );
    }

    #[test]
    fn names_are_compared_without_their_escapes() {
        let (new, survey) = edited(r#"{"\u006d":{"\u0031":"old.json"}}"#, NEW).unwrap();
        assert_eq!(survey.current_file.as_deref(), Some("old.json"));
        assert_eq!(serde_json::from_str::<Value>(&new).unwrap(), json!({"m": {"1": "new.json"}}));
        let odd = Entry { repository: "q\"\\", tag: "ä\n", file: "f" };
        let (new, _) = edited("{}", odd).unwrap();
        assert_eq!(new, pretty(&json!({"q\"\\": {"ä\n": "f"}})));
    }

    #[test]
    fn catalogs_that_cannot_be_used_are_refused() {
        for (old, why) in [
            ("", "is not a JSON object"),
            ("[]", "is not a JSON object"),
            ("{} {}", "cannot be read: something follows the object at byte 3"),
            (r#"{"m":[]}"#, "has something other than tags under 'm'"),
            (r#"{"m":{},"a":{},"m":{}}"#, "has 'm' twice"),
            (r#"{"m":{"1":"x","1":"y"}}"#, "has 'm:1' twice"),
            (r#"{"a":{"1":"x"}"#, "cannot be read: ',' was expected at byte 14"),
            (r#"{"a":{"1":"x"},}"#, "cannot be read: '\"' was expected at byte 15"),
        ] {
            assert_eq!(edited(old, NEW).err().as_deref(), Some(why), "{old}");
        }
    }
}
