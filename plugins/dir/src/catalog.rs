//! `catalog.json`: which images share the directory, `{repository: {tag: manifest file}}`.
//!
//! It is read and rewritten as a stream ([`crate::json_stream`]), so that a directory of 100,000 images
//! needs no more memory than one of ten. Entries of other tools stay as they are. What it
//! refuses: a file above [`LONGEST`], one that is no JSON object, and one in which this image's
//! repository or tag stands twice.

use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::json_stream::{Discard, JsonReader, JsonString, Output, Source, StoredFile, is_absent};
use crate::layout::CATALOG;
use crate::output::Buffered;

/// Bytes of the catalog, and of `SHA256SUMS`. 100,000 images with the longest names that Docker
/// takes need 81 MB of it; the host reads as much.
pub const LONGEST: u64 = 128 * 1024 * 1024;

/// How many objects stand around a value of the object of repositories.
const REPOSITORY_DEPTH: usize = 1;

/// How many objects stand around a value of an object of tags.
const TAG_DEPTH: usize = 2;

/// Replaced entries that a warning names one by one.
const MOST_NAMED: usize = 20;

/// An image's entry.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub repository: &'a str,
    pub tag: &'a str,
    /// The manifest file.
    pub file: &'a str,
}

impl Entry<'_> {
    /// The most bytes that the entry adds.
    fn length(&self) -> u64 {
        let text = [self.repository, self.tag, self.file].map(|text| to_json(text).len());
        (text.iter().sum::<usize>() + 64) as u64
    }
}

/// What the catalog that is there says of an image, and of others that name its manifest file.
#[derive(Default)]
pub struct Survey {
    /// There is no catalog yet.
    pub is_new: bool,
    has_repository: bool,
    /// The manifest file that stands under the image's own name.
    pub current_file: Option<String>,
    /// Images that lose their manifest file to this one, the first few, as `repository:tag`.
    pub displaced: Vec<String>,
    /// How many more there are.
    pub more_displaced: usize,
    /// An image whose manifest file differs from this one's in the case of letters alone, and that file.
    pub case_conflict: Option<(String, String)>,
}

/// Looks at the catalog that is there. Errors say why the entry cannot be put into it.
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
    // Another process may have taken it away meanwhile.
    survey_text(stored, entry).or_else(|why| match is_absent(&why) {
        true => Ok(none()),
        false => Err(unusable(why)),
    })
}

/// Writes the catalog with the entry in it, in the place of those that [`survey`] has found.
pub fn write(directory: &Directory, entry: Entry, survey: &Survey) -> Result<(), Error> {
    rewrite(directory, entry, survey, Edit::AddEntry)
}

/// Writes the catalog without the images that lose their manifest file to this one.
pub fn write_without(directory: &Directory, entry: Entry, survey: &Survey) -> Result<(), Error> {
    rewrite(directory, entry, survey, Edit::RemoveDisplaced)
}

/// What becomes of the catalog. Either way other images that name the entry's manifest file leave it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// The entry is added or replaced.
    AddEntry,
    /// The entry of that name stays as it is, or missing.
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

/// The manifest file that a catalog has under a name; `None` where there is none.
pub fn find(
    directory: &Directory,
    path: &str,
    repository: &str,
    tag: &str,
) -> Result<Option<String>, Error> {
    let entry = Entry { repository, tag, file: "" };
    survey_text(StoredFile { directory, path }, entry).map(|survey| survey.current_file)
}

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

/// Nothing may follow the object.
fn expect_end(text: &mut JsonReader) -> Result<(), Error> {
    match text.peek_token()? {
        None => Ok(()),
        Some(_) => text.error("something follows the object"),
    }
}

/// The members of an object that is being read.
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

    /// The next key; the text stands before its value.
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

/// The catalog that is being written, in the layout of `serde_json`'s pretty printer.
struct CatalogWriter<'a> {
    to: &'a mut dyn Output,
    any_repository: bool,
    /// The repository that is being written, until it has a tag.
    pending: Option<String>,
}

impl CatalogWriter<'_> {
    fn write_repository_key(&mut self, raw: &str) -> Result<(), Error> {
        let any = std::mem::replace(&mut self.any_repository, true);
        self.to.write(if any { b",\n  " } else { b"\n  " })?;
        self.to.write(raw.as_bytes())?;
        self.to.write(b": ")
    }

    /// Begins an entry of the repository; its value is to follow.
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

    /// Ends the repository. One without a tag is left out.
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

/// Rewrites a catalog. An entry that is added goes where a sorted catalog has it.
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

/// A string as JSON spells it.
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
    fn images_that_lose_their_manifest_leave_the_catalog_and_no_other_does() {
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
    fn entries_that_named_the_same_file_go_and_are_counted() {
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
    fn what_is_nobodys_of_ours_stays_as_it_is_spelled() {
        let old = r#"{"\u0061":{"1":"x\/y"},"b":[{"c":[1.0, 2]}],"c":{"d":{"e":1}},"d":null}"#;
        let (new, _) = edited(old, NEW).unwrap();
        let text: String = new.split_whitespace().collect();
        assert_eq!(
            text,
            r#"{"\u0061":{"1":"x\/y"},"b":[{"c":[1.0,2]}],"c":{"d":{"e":1}},"d":null,"m":{"1":"new.json"}}"#
        );
    }

    #[test]
    fn names_are_compared_by_what_they_say() {
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
