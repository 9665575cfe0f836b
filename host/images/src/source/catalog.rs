//! `catalog.json` of a directory: its images, and the manifest file of each.
//!
//! Entries of another form belong to other tools and are ignored, as the output ignores them. What it refuses: a file
//! above [`occystrap_base::oci::layout::LARGEST_CATALOG`], more than [`MOST_IMAGES`], and a name that is listed twice.

use std::fmt;
use std::io::{BufReader, Read};

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Called;
use occystrap_base::oci::layout::LONGEST_STRING;
use occystrap_base::oci::text_stream::TextStream;
use occystrap_base::oci::{ImageName, json};

/// Most images of one directory. The output writes at most 4,000,000 keys and values.
pub const MOST_IMAGES: usize = 2_000_000;

/// An image of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogued {
    /// The name of the image.
    pub name: ImageName,
    /// The digest of the config, which is the key of an image without a tag.
    pub config: Option<String>,
    /// The manifest file.
    pub manifest: String,
}

impl Called for Catalogued {
    fn called(&self) -> &ImageName {
        &self.name
    }
}

/// Returns all images of a catalog, sorted by name.
pub fn read(text: impl Read) -> serde_json::Result<Vec<Catalogued>> {
    let text = TextStream::new(BufReader::with_capacity(64 * 1024, text), LONGEST_STRING);
    let mut images: Vec<(String, String, String)> = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(text));
    deserializer.deserialize_map(Repositories(&mut images))?;
    deserializer.end()?;
    images.sort();
    let twice = images.windows(2).find(|pair| (&pair[0].0, &pair[0].1) == (&pair[1].0, &pair[1].1));
    if let Some([(repository, tag, _), _]) = twice {
        let why = format!("'{repository}:{tag}' is there twice");
        return Err(serde_json::Error::custom(why));
    }
    let image = |(repository, tag, manifest): (String, String, String)| {
        let (tag, config) = match tag.contains(':') {
            true => (None, Some(tag)),
            false => (Some(tag), None),
        };
        Catalogued { name: ImageName { repository, tag }, config, manifest }
    };
    Ok(images.into_iter().map(image).collect())
}

/// Parser for the object of repositories. Entries of other tools are ignored.
struct Repositories<'a>(&'a mut Vec<(String, String, String)>);

/// Parser for the object of tags of one repository.
struct Tags<'a>(&'a str, &'a mut Vec<(String, String, String)>);

impl<'de> Visitor<'de> for Repositories<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Each value is read as text first: other tools may write values that serde_json cannot read, such as numbers
        // beyond an f64 and deep nesting.
        while let Some((repository, tags)) = map.next_entry::<Box<RawValue>, Box<RawValue>>()? {
            if tags.get().starts_with('{') {
                let mut text = serde_json::Deserializer::from_str(tags.get());
                let tags = Tags(&json::string_text(&repository), self.0);
                text.deserialize_map(tags).map_err(A::Error::custom)?;
            }
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Tags<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((tag, manifest)) = map.next_entry::<&RawValue, &RawValue>()? {
            if !manifest.get().starts_with('"') {
                continue;
            }
            if self.1.len() == MOST_IMAGES {
                return Err(A::Error::custom(format!("it lists more than {MOST_IMAGES} images")));
            }
            let [tag, manifest] = [tag, manifest].map(|text| json::string_text(text).into_owned());
            self.1.push((self.0.to_owned(), tag, manifest));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let names = |text: &str| {
            let images = read(text.as_bytes()).map_err(|why| why.to_string())?;
            Ok::<_, String>(images.iter().map(|one| one.name.to_string()).collect::<Vec<_>>())
        };
        let odd = r#"{"b":{"2":"x","1":"x"},"a":{"sha256:0":"x"},"c":{}}"#;
        assert_eq!(names(odd).unwrap(), ["a", "b:1", "b:2"]);
        for twice in [r#"{"a":{"1":"x"},"b":{},"a":{"1":"y"}}"#, r#"{"a":{"1":"x","1":"x"}}"#] {
            assert_eq!(names(twice).unwrap_err(), "'a:1' is there twice", "{twice}");
        }
        for bad in ["", "[]", "{\"a\":[}", "{\"a\":{\"1\":02}}", "{} {}", "{\"a\":{\"1\":\"x\"}}]"]
        {
            assert!(names(bad).is_err(), "{bad}");
        }
    }
    #[test]
    fn values_of_other_tools_beside_images_are_skipped() {
        let (deep, digits) = ("[".repeat(9_000) + &"]".repeat(9_000), "9".repeat(400));
        for other in ["5", "1e400", &digits, "null", "[]", r#""\ud800""#, r#"{"z":{}}"#, &deep] {
            let tag = if other.starts_with('"') { "null" } else { other };
            let text = format!(r#"{{"x":{other},"a":{{"y":{tag},"1":"f"}},"\ud800":{other}}}"#);
            let images = read(text.as_bytes()).unwrap();
            let found: Vec<_> = images.iter().map(|one| one.name.to_string()).collect();
            assert_eq!(found, ["a:1"], "{}", &text[..99.min(text.len())]);
        }
    }
}
