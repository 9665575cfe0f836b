//! From the file to single images: sources, lists of references, destinations, and the check that no destination has two
//! sources.
//!
//! A run goes this way: [`Document::sources`]; for each source with rules, the tags of its repository go through
//! [`Rules::select`]; [`MirrorSource::item`] makes an item of each tag; [`distinct`] refuses two sources for one destination.
//! What this module refuses: to ask a registry, and to open files itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use occystrap_base::error::{Error, Result};
use occystrap_net::registry::Reference;

use crate::document::{Document, Entry, FilePosition, Mark, MirrorDestination, Origin, shortened};
use crate::reference;
use crate::rules::Rules;

/// Largest list of references, in bytes: a million lines of 128 bytes.
pub const LARGEST_LIST: usize = 128 * 1024 * 1024;

/// Largest number of images that one file names without rules, those of its lists included. A source takes about 250 bytes
/// of memory.
pub const MOST_REFERENCES: usize = 1_000_000;

/// Largest number of errors that one list or one check reports. The rest is counted.
const MOST_ERRORS: usize = 50;

/// Image, or repository with rules, that an entry names.
#[derive(Debug, Clone)]
pub struct MirrorSource<'d> {
    /// Entry that names it.
    pub entry: &'d Entry,
    /// Where it is named: in the file, or in a line of a list.
    pub place: FilePosition,
    /// The image; without tag and digest where [`Self::rules`] select tags.
    pub reference: Reference,
    /// Rules that select tags of the repository; `None` for one image.
    pub rules: Option<&'d Rules>,
}

/// One image, and where it goes.
#[derive(Debug, Clone)]
pub struct MirrorItem<'d> {
    /// Entry that names it.
    pub entry: &'d Entry,
    /// Where it is named.
    pub place: FilePosition,
    /// The image, with a tag or a digest.
    pub source: Reference,
    /// Where it goes.
    pub destination: MirrorDestination,
}

impl Document {
    /// Returns all sources, in the order of the file. `read` returns the text of a list by the path that the file has for
    /// it; a list larger than [`LARGEST_LIST`] is an error, so no more need be read. Errors with everything that is wrong.
    pub fn sources(
        &self,
        read: &mut dyn FnMut(&str) -> Result<String>,
    ) -> Result<Vec<MirrorSource<'_>>, Vec<Error>> {
        let mut sources = Vec::new();
        let mut errors = Vec::new();
        for entry in &self.entries {
            match &entry.origin {
                Origin::Repositories { repositories, rules, place } => {
                    let names = repositories.iter();
                    sources.extend(names.flat_map(|name| by_rules(entry, place, name, rules)));
                }
                Origin::Images { images, place } => {
                    sources.extend(images.iter().map(|image| MirrorSource {
                        entry,
                        place: place.clone(),
                        reference: image.clone(),
                        rules: None,
                    }))
                }
                Origin::List { path, place } => {
                    let listed = read(path).map_err(|error| vec![error.within(place)]);
                    match listed.and_then(|text| list(path, &text)) {
                        Ok(listed) => {
                            sources.extend(listed.into_iter().map(|(place, reference)| {
                                MirrorSource { entry, place, reference, rules: None }
                            }))
                        }
                        Err(faults) => errors.extend(faults),
                    }
                }
            }
            if sources.len() > MOST_REFERENCES {
                let message =
                    format!("the file and its lists name more than {MOST_REFERENCES} images");
                errors.push(entry.place.error(message).hint("make several files"));
                break;
            }
        }
        if errors.is_empty() { Ok(sources) } else { Err(errors) }
    }
}

/// Returns the source of a repository with rules. With `also` alone its tags are known: each is an image.
fn by_rules<'d>(
    entry: &'d Entry,
    place: &FilePosition,
    name: &Reference,
    rules: &'d Rules,
) -> Vec<MirrorSource<'d>> {
    let source = |reference, rules| MirrorSource { entry, place: place.clone(), reference, rules };
    if rules.need_list() {
        return vec![source(name.clone(), Some(rules))];
    }
    let tagged = |tag: &String| source(Reference { tag: Some(tag.clone()), ..name.clone() }, None);
    rules.also.iter().map(tagged).collect()
}

impl<'d> MirrorSource<'d> {
    /// Returns the item of this image, or of a tag that the rules select. Errors, with the place, where `to` makes no
    /// destination of it.
    pub fn item(&self, tag: Option<&str>) -> Result<MirrorItem<'d>> {
        let mut source = self.reference.clone();
        if let Some(tag) = tag {
            source.tag = Some(tag.to_owned());
        }
        let (entry, place) = (self.entry, self.place.clone());
        let destination = entry.to.destination(&source).map_err(|error| error.within(&place))?;
        Ok(MirrorItem { entry, place, source, destination })
    }

    /// Creates the error for rules that select no tag of the repository. `counts` are those of the selection.
    #[must_use]
    pub fn no_tag(&self, counts: &crate::rules::RuleCounts) -> Error {
        let by = counts.emptied_by().unwrap_or("its rules");
        self.place
            .error(format!("'{}': no tag is left by {by} ({counts})", self.reference))
            .hint("change the rules, or remove the entry")
    }
}

impl MirrorItem<'_> {
    /// Returns whether the image never changes once it is done and verified: its source is pinned by a digest, or its tag
    /// is declared immutable.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        let is_declared = |tag: &str| self.entry.settings.immutable.match_tag(tag);
        self.source.digest.is_some() || self.source.tag.as_deref().is_some_and(is_declared)
    }
}

/// Parses a list of references: one a line, with a tag or a digest. Empty lines and what follows a `#` are ignored.
/// `name` names the list in errors. Errors with every line that is wrong.
pub fn list(name: &str, text: &str) -> Result<Vec<(FilePosition, Reference)>, Vec<Error>> {
    let file: Arc<str> = name.into();
    let at = |line: usize, column: usize| {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        FilePosition::new(file.clone(), Mark { line: number(line), column: number(column) })
    };
    if text.len() > LARGEST_LIST {
        let message = format!("the list has {} bytes: at most {LARGEST_LIST} are read", text.len());
        return Err(vec![at(1, 1).error(message).hint("make several lists")]);
    }
    let mut found = Vec::new();
    let mut errors = Vec::new();
    let mut left_out = 0;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default().trim();
        if content.is_empty() {
            continue;
        }
        let place = at(index + 1, 1 + line.chars().take_while(|c| c.is_whitespace()).count());
        match reference::parse(content) {
            Ok(reference) if reference.tag.is_none() && reference.digest.is_none() => {
                let message = format!("'{}' has neither a tag nor a digest", shortened(content));
                errors.push(
                    place.error(message).hint(format!(
                        "write {}:latest for the tag of that name",
                        shortened(content)
                    )),
                );
            }
            Ok(reference) => found.push((place, reference)),
            Err(error) => errors.push(error.within(place)),
        }
        if errors.len() > MOST_ERRORS {
            errors.pop();
            left_out += 1;
        }
        if found.len() > MOST_REFERENCES {
            let message = format!("the list has more than {MOST_REFERENCES} references");
            errors.push(
                at(index + 1, 1).error(message).hint("make several lists, and several files"),
            );
            break;
        }
    }
    if left_out > 0 {
        errors.push(Error::usage(format!("{name}: {left_out} more lines are wrong")));
    }
    if found.is_empty() && errors.is_empty() {
        errors.push(
            at(1, 1)
                .error("the list names no image")
                .hint("write one reference a line: HOST/REPOSITORY:TAG"),
        );
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Returns the items without those that are named twice, in their order. Errors, with both lines, where a destination has
/// two sources, or where two entries with different settings name the same image for the same destination.
pub fn distinct(items: Vec<MirrorItem<'_>>) -> Result<Vec<MirrorItem<'_>>, Vec<Error>> {
    let mut first = HashMap::<String, &MirrorItem<'_>>::with_capacity(items.len());
    let mut errors = Vec::new();
    let mut left_out = 0;
    let mut repeated = vec![false; items.len()];
    for (item, is_repeated) in items.iter().zip(&mut repeated) {
        let known = match first.entry(item.destination.place()) {
            Slot::Vacant(slot) => {
                slot.insert(item);
                continue;
            }
            Slot::Occupied(slot) => *slot.get(),
        };
        *is_repeated = true;
        let is_same = known.source == item.source;
        if is_same && known.entry.settings == item.entry.settings {
            continue;
        }
        if errors.len() == MOST_ERRORS {
            left_out += 1;
            continue;
        }
        let (name, place) = (&item.destination.name, &known.place);
        errors.push(if is_same {
            let message = format!("'{}' goes to '{name}' with other settings than in {place}", item.source);
            item.place.error(message).hint("give both entries the same settings, or select each tag in one of them")
        } else {
            let message = format!("'{}' goes to '{name}', where '{}' of {place} goes", item.source, known.source);
            item.place.error(message).hint("add {repository}, {name}, {registry} or {tag} to 'to', or select each tag in one entry")
        });
    }
    if left_out > 0 {
        errors.push(Error::usage(format!("{left_out} more destinations have two sources")));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    drop(first);
    Ok(items
        .into_iter()
        .zip(repeated)
        .filter(|(_, is_repeated)| !is_repeated)
        .map(|(item, _)| item)
        .collect())
}

#[cfg(test)]
mod tests;
