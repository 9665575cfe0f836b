//! What could not be looked at, told once for each reason: a registry that is gone is one thing to
//! read, and not one for each layer. The JSON has every object by itself.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::text::put;
use crate::verdict::object::CheckedObject;

/// Objects that are unchecked, by their reason.
pub struct Unchecked<'a>(BTreeMap<&'a str, Vec<&'a CheckedObject>>);

impl<'a> Unchecked<'a> {
    /// Sort them. What was found to be wrong is left out: each of those is told by itself.
    pub fn of(problems: impl Iterator<Item = &'a CheckedObject>) -> Self {
        let mut reasons: BTreeMap<&str, Vec<&CheckedObject>> = BTreeMap::new();
        for object in problems.filter(|object| !object.status.is_bad()) {
            reasons.entry(&object.message).or_default().push(object);
        }
        Self(reasons)
    }

    /// The objects that share this one's reason, for the first of them. `None` for any other, and
    /// for one that shares it with nobody.
    #[must_use]
    pub fn begins_with(&self, object: &CheckedObject) -> Option<&[&'a CheckedObject]> {
        let same = self.0.get(object.message.as_str())?;
        (same.len() > 1 && std::ptr::eq(same[0], object)).then_some(same)
    }

    /// Whether it was told with another one.
    #[must_use]
    pub fn is_told(&self, object: &CheckedObject) -> bool {
        let same = self.0.get(object.message.as_str());
        !object.status.is_bad() && same.is_some_and(|same| !std::ptr::eq(same[0], object))
    }
}

/// One line for objects of an image that share a reason; `all` is how many the image has.
pub fn write(
    to: &mut dyn Write,
    image: &str,
    same: &[&CheckedObject],
    all: usize,
) -> io::Result<()> {
    let (count, what) = (same.len(), names(same));
    let reason = same.first().map_or("", |object| object.message.as_str());
    let line = format!("warning: {image}: {count} of {all} objects unchecked ({what}): {reason}");
    put(to, &line)
}

/// Such as `config, layers 1-3, manifest`.
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

/// Sorted numbers, counted from one: `1-3, 5`.
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
