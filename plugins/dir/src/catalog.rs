//! `catalog.json`: which images share the directory, `{repository: {tag: manifest file}}`.
//!
//! It is read and rewritten as a stream ([`crate::text`]), so that a directory of 100,000 images
//! needs no more memory than one of ten. Entries of other tools stay as they are. What it
//! refuses: a file above [`LONGEST`], one that is no JSON object, and one in which this image's
//! repository or tag stands twice.

use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::layout::CATALOG;
use crate::output::Buffered;
use crate::text::{Nowhere, Output, Source, Stored, Text, Word, is_absent};

/// Bytes of the catalog, and of `SHA256SUMS`. 100,000 images with the longest names that Docker
/// takes need 81 MB of it; the host reads as much.
pub const LONGEST: u64 = 128 * 1024 * 1024;

/// How many objects stand around a value of the object of repositories.
const OF_REPOSITORIES: usize = 1;

/// How many objects stand around a value of an object of tags.
const OF_TAGS: usize = 2;

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
        let text = [self.repository, self.tag, self.file].map(|text| spell(text).len());
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
    pub own: Option<String>,
    /// Images that lose their manifest file to this one, the first few, as `repository:tag`.
    pub ousted: Vec<String>,
    /// How many more there are.
    pub more: usize,
    /// An image whose manifest file differs from this one's in the case of letters alone, and that file.
    pub folded: Option<(String, String)>,
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
    let stored = Stored { directory, path: CATALOG };
    // Another process may have taken it away meanwhile.
    survey_text(stored, entry).or_else(|why| match is_absent(&why) {
        true => Ok(none()),
        false => Err(in_the_way(why)),
    })
}

/// Writes the catalog with the entry in it, in the place of those that [`survey`] has found.
pub fn write(directory: &Directory, entry: Entry, survey: &Survey) -> Result<(), Error> {
    rewrite(directory, entry, survey, Edit::Add)
}

/// Writes the catalog without the images that lose their manifest file to this one.
pub fn write_without(directory: &Directory, entry: Entry, survey: &Survey) -> Result<(), Error> {
    rewrite(directory, entry, survey, Edit::Oust)
}

/// What becomes of the catalog. Either way other images that name the entry's manifest file leave it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// The entry is added or replaced.
    Add,
    /// The entry of that name stays as it is, or missing.
    Oust,
}

fn rewrite(directory: &Directory, entry: Entry, survey: &Survey, what: Edit) -> Result<(), Error> {
    let mut to = Buffered::create(directory, CATALOG)?;
    match directory.stat(CATALOG)? {
        None => edit(Text::new(&b"{}"[..]), entry, survey, what, &mut to)?,
        Some(_) => {
            let text = Text::new(Stored { directory, path: CATALOG });
            edit(text, entry, survey, what, &mut to).map_err(in_the_way)?;
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
    survey_text(Stored { directory, path }, entry).map(|survey| survey.own)
}

fn in_the_way(why: Error) -> Error {
    match why {
        Error::Other(why) => {
            Error::Other(format!("the '{CATALOG}' that is there {why}; move it away first"))
        }
        other => other,
    }
}

fn survey_text<'a>(source: impl Source + 'a, entry: Entry) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let mut text = Text::new(source);
    let mut repositories = Members::open(&mut text)?;
    while let Some(repository) = repositories.next(&mut text)? {
        let ours = repository.says() == entry.repository;
        if ours && std::mem::replace(&mut survey.has_repository, true) {
            return Err(twice(entry.repository));
        }
        if text.next_mark()? != Some(b'{') {
            if ours {
                let why = format!("has something other than tags under '{}'", entry.repository);
                return Err(Error::Other(why));
            }
            text.copy(OF_REPOSITORIES, &mut Nowhere)?;
            continue;
        }
        let mut tags = Members::open(&mut text)?;
        while let Some(tag) = tags.next(&mut text)? {
            let file = match text.next_mark()? {
                Some(b'"') => Some(text.word()?),
                _ => {
                    text.copy(OF_TAGS, &mut Nowhere)?;
                    None
                }
            };
            if ours && tag.says() == entry.tag {
                if survey.own.is_some() {
                    return Err(twice(&format!("{}:{}", entry.repository, entry.tag)));
                }
                survey.own = Some(file.map_or_else(String::new, |file| file.says().to_owned()));
            } else if let Some(file) = file {
                let image = || format!("{}:{}", repository.says(), tag.says());
                if file.says() == entry.file {
                    match survey.ousted.len() < MOST_NAMED {
                        true => survey.ousted.push(image()),
                        false => survey.more += 1,
                    }
                } else if file.says().eq_ignore_ascii_case(entry.file) {
                    survey.folded = Some((image(), file.says().to_owned()));
                }
            }
        }
    }
    end(&mut text)?;
    Ok(survey)
}

fn twice(name: &str) -> Error {
    Error::Other(format!("has '{name}' twice"))
}

/// Nothing may follow the object.
fn end(text: &mut Text) -> Result<(), Error> {
    match text.next_mark()? {
        None => Ok(()),
        Some(_) => text.wrong("something follows the object"),
    }
}

/// The members of an object that is being read.
struct Members {
    any: bool,
}

impl Members {
    fn open(text: &mut Text) -> Result<Self, Error> {
        if text.next_mark()? != Some(b'{') {
            return Err(Error::Other("is not a JSON object".to_owned()));
        }
        text.pass(b'{')?;
        Ok(Self { any: false })
    }

    /// The next key; the text stands before its value.
    fn next(&mut self, text: &mut Text) -> Result<Option<Word>, Error> {
        if text.passes(b'}')? {
            return Ok(None);
        }
        if std::mem::replace(&mut self.any, true) {
            text.pass(b',')?;
        }
        let key = text.word()?;
        text.pass(b':')?;
        Ok(Some(key))
    }
}

/// The catalog that is being written, in the layout of `serde_json`'s pretty printer.
struct Rewriting<'a> {
    to: &'a mut dyn Output,
    any_repository: bool,
    /// The repository that is being written, until it has a tag.
    waiting: Option<String>,
}

impl Rewriting<'_> {
    fn key(&mut self, spelled: &str) -> Result<(), Error> {
        let any = std::mem::replace(&mut self.any_repository, true);
        self.to.put(if any { b",\n  " } else { b"\n  " })?;
        self.to.put(spelled.as_bytes())?;
        self.to.put(b": ")
    }

    /// Begins an entry of the repository; its value is to follow.
    fn tag(&mut self, spelled: &str) -> Result<(), Error> {
        match self.waiting.take() {
            Some(repository) => {
                self.key(&repository)?;
                self.to.put(b"{\n    ")?;
            }
            None => self.to.put(b",\n    ")?,
        }
        self.to.put(spelled.as_bytes())?;
        self.to.put(b": ")
    }

    fn entry(&mut self, tag: &str, file: &str) -> Result<(), Error> {
        self.tag(&spell(tag))?;
        self.to.put(spell(file).as_bytes())
    }

    /// Ends the repository. One without a tag is left out.
    fn close(&mut self) -> Result<(), Error> {
        match self.waiting.take() {
            Some(_) => Ok(()),
            None => self.to.put(b"\n  }"),
        }
    }

    fn repository(&mut self, entry: Entry) -> Result<(), Error> {
        self.waiting = Some(spell(entry.repository));
        self.entry(entry.tag, entry.file)?;
        self.close()
    }
}

/// Rewrites a catalog. An entry that is added goes where a sorted catalog has it.
fn edit(
    mut text: Text,
    entry: Entry,
    survey: &Survey,
    what: Edit,
    to: &mut dyn Output,
) -> Result<(), Error> {
    let text = &mut text;
    to.put(b"{")?;
    let mut out = Rewriting { to, any_repository: false, waiting: None };
    let mut placed = what == Edit::Oust;
    let mut repositories = Members::open(text)?;
    while let Some(repository) = repositories.next(text)? {
        let ours = repository.says() == entry.repository;
        if !placed && !survey.has_repository && repository.says() > entry.repository {
            out.repository(entry)?;
            placed = true;
        }
        if text.next_mark()? != Some(b'{') {
            out.key(&repository.spelled)?;
            text.copy(OF_REPOSITORIES, out.to)?;
            continue;
        }
        out.waiting = Some(repository.spelled);
        let mut tags = Members::open(text)?;
        while let Some(tag) = tags.next(text)? {
            let own = ours && tag.says() == entry.tag;
            if ours && !placed && (own || (survey.own.is_none() && tag.says() > entry.tag)) {
                out.entry(entry.tag, entry.file)?;
                placed = true;
            }
            if text.next_mark()? != Some(b'"') {
                if own && what == Edit::Add {
                    text.copy(OF_TAGS, &mut Nowhere)?;
                } else {
                    out.tag(&tag.spelled)?;
                    text.copy(OF_TAGS, out.to)?;
                }
                continue;
            }
            let file = text.word()?;
            let stays = if own { what == Edit::Oust } else { file.says() != entry.file };
            if stays {
                out.tag(&tag.spelled)?;
                out.to.put(file.spelled.as_bytes())?;
            }
        }
        if ours && !placed {
            out.entry(entry.tag, entry.file)?;
            placed = true;
        }
        out.close()?;
    }
    end(text)?;
    if !placed {
        out.repository(entry)?;
    }
    out.to.put(b"\n}\n")
}

/// A string as JSON spells it.
fn spell(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::text::tests::Pieces;

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
        said(edit(Text::new(Pieces(old.as_bytes(), 3)), entry, &survey, Edit::Add, &mut made))?;
        Ok((String::from_utf8(made).unwrap(), survey))
    }

    fn without(old: &str) -> Value {
        let survey = said(survey_text(Pieces(old.as_bytes(), 5), NEW)).unwrap();
        let mut made = Vec::new();
        let text = Text::new(Pieces(old.as_bytes(), 3));
        said(edit(text, NEW, &survey, Edit::Oust, &mut made)).unwrap();
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
        assert_eq!(survey.folded, Some(("m:2".to_owned(), "NEW.json".to_owned())));
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
            (survey.ousted, survey.more),
            (["a:1", "b:2", "m:0"].map(str::to_owned).to_vec(), 0)
        );
        assert_eq!(survey.own.as_deref(), Some("new.json"));
        let many: serde_json::Map<String, Value> =
            (0..5_000).map(|n| (format!("{n:04}"), json!("new.json"))).collect();
        let (new, survey) = edited(&json!({ "a": many }).to_string(), NEW).unwrap();
        assert_eq!(new, pretty(&json!({"m": {"1": "new.json"}})));
        assert_eq!((survey.ousted.len(), survey.more), (MOST_NAMED, 5_000 - MOST_NAMED));
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
        assert_eq!(survey.own.as_deref(), Some("old.json"));
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
