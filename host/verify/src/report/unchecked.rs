//! Objects that could not be checked, reported once for each reason: a registry that cannot be reached is one line, and
//! not one line for each layer. The JSON has every object.

use std::collections::BTreeMap;

use super::words;
use crate::verdict::object::CheckedObject;

/// Unchecked objects by the text of their reason.
pub struct Unchecked<'a>(BTreeMap<String, Vec<&'a CheckedObject>>);

/// How an object is reported.
pub enum Shown<'a, 'b> {
    /// With a line of its own.
    Alone,
    /// With these objects, of which it is the first.
    With(&'b [&'a CheckedObject]),
    /// With an object before it.
    Already,
}

impl<'a> Unchecked<'a> {
    /// Sorts objects by their reasons. Objects with flaws are left out: each of those has a line of its own.
    pub fn of(problems: impl Iterator<Item = &'a CheckedObject>) -> Self {
        let mut reasons: BTreeMap<String, Vec<&CheckedObject>> = BTreeMap::new();
        for object in problems.filter(|object| !object.status.is_bad()) {
            reasons.entry(words::message(object)).or_default().push(object);
        }
        Self(reasons)
    }

    /// Returns how to report an object with this text.
    #[must_use]
    pub fn shown(&self, object: &CheckedObject, message: &str) -> Shown<'a, '_> {
        if object.status.is_bad() {
            return Shown::Alone;
        }
        match self.0.get(message).map(Vec::as_slice) {
            Some([first, ..]) if !std::ptr::eq(*first, object) => Shown::Already,
            Some(same @ [_, _, ..]) => Shown::With(same),
            _ => Shown::Alone,
        }
    }
}

/// Returns the line for objects of an image that share a reason; `all` is how many objects the image has.
#[must_use]
pub fn line(image: &str, same: &[&CheckedObject], message: &str, all: usize) -> String {
    let (count, what) = (same.len(), names(same));
    format!("warning: {image}: {count} of {all} objects unchecked ({what}): {message}")
}

/// Returns the names of objects, such as `config, layers 1-3, manifest`.
fn names(objects: &[&CheckedObject]) -> String {
    let mut layers: Vec<u32> = objects.iter().filter_map(|object| object.index).collect();
    layers.sort_unstable();
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for object in objects {
        match kinds.iter_mut().find(|(kind, _)| *kind == object.kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((object.kind, 1)),
        }
    }
    let name = |(kind, count): (&str, usize)| match (kind, count) {
        ("layer", 1) => format!("layer {}", ranges(&layers)),
        ("layer", _) => format!("layers {}", ranges(&layers)),
        (kind, 1) => kind.to_owned(),
        (kind, count) => format!("{count} of kind {kind}"),
    };
    kinds.into_iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Returns sorted numbers, counted from one: `1-3, 5`.
fn ranges(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers.iter().map(|number| number.saturating_add(1)) {
        match ranges.last_mut() {
            Some((_, last)) if number <= last.saturating_add(1) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = |(first, last): (u32, u32)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    };
    ranges.into_iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_ranges() {
        for (numbers, text) in [
            (&[][..], ""),
            (&[0], "1"),
            (&[0, 1, 2], "1-3"),
            (&[0, 2, 3, 3, 9, u32::MAX], "1, 3-4, 10, 4294967295"),
        ] {
            assert_eq!(ranges(numbers), text);
        }
    }
}
