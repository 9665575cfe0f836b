//! `mirror from`: the file of another tool becomes the file of a mirror.
//!
//! Three formats are read: regsync's `regsync.yml`, the YAML of `skopeo sync --src yaml`, and lists with a reference a line.
//! What cannot be converted is reported with its line, and is not in the result. What this module refuses: to print a file
//! that [`Document::parse`] does not accept, and to repeat logins.

mod list;
mod regsync;
mod skopeo;
mod write;

use std::fmt;

use occystrap_base::error::Error;

use self::write::MirrorFileWriter;
use crate::document::{Document, FilePosition, LARGEST_FILE, yaml};

/// Where images go if the user does not say: the files of skopeo and lists have no destination.
const EXAMPLE_TO: &str = "mirror.example.com/{registry}/{repository}";

/// Converted file.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The file of a mirror, with comments. [`Document::parse`] accepts it.
    pub file: String,
    /// What is not in it, in the order of the other file.
    pub not_converted: Vec<NotConverted>,
}

/// Part of the other file that was not converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotConverted {
    /// Where it stands.
    pub place: FilePosition,
    /// What it is, such as `'interval' (3 times)`.
    pub what: String,
    /// What takes its place, or why nothing does.
    pub advice: String,
}

impl fmt::Display for NotConverted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is not converted: {}", self.place, self.what, self.advice)
    }
}

/// Converts a file, whose format is found by its content. `name` names it in errors and comments. `to` is the destination
/// where the format has none; a placeholder that the user must replace is printed without it. Errors where nothing can be
/// converted, or where the file is not YAML.
pub fn from(name: &str, text: &str, to: Option<&str>) -> Result<Converted, Vec<Error>> {
    if text.len() > LARGEST_FILE {
        let message =
            format!("{name}: the file has {} bytes: at most {LARGEST_FILE} are read", text.len());
        return Err(vec![Error::usage(message).hint("convert it in parts")]);
    }
    let mut writer = MirrorFileWriter::new(name);
    let parsed = yaml::parse(text);
    match &parsed {
        Ok(Some(root)) if root.get("images").is_some_and(|images| images.items().is_some()) => {
            let message = format!("{name}: this is the file of a mirror already");
            return Err(vec![
                Error::usage(message)
                    .hint(format!("see what it does with: occystrap mirror plan {name}")),
            ]);
        }
        Ok(Some(root)) if root.get("sync").is_some() => regsync::convert(root, &mut writer),
        Ok(Some(root)) if skopeo::is_one(root) => skopeo::convert(root, to, &mut writer),
        Ok(Some(root)) if root.pairs().is_some() => {
            let message = format!(
                "{name}: this is neither a file of regsync ('sync:') nor one of skopeo ('HOST: images:')"
            );
            return Err(vec![
                Error::usage(message)
                    .hint("write the references into a text file, one a line, and convert that"),
            ]);
        }
        _ => list::convert(text, to, &mut writer),
    }
    match (writer.has_entries(), parsed) {
        // What is no list is YAML with a fault.
        (false, Err(faults)) => {
            Err(faults.iter().map(|fault| writer.place(fault.mark).error(&fault.message)).collect())
        }
        _ => writer.finish(),
    }
}

#[cfg(test)]
mod tests;
