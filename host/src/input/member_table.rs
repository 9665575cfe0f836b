//! Which members an archive has, by name, with the links between them.
//!
//! What it refuses: more members than an image archive has, two of one name, chains of links.

use std::collections::HashMap;

use tar::EntryType;

use super::tar_headers::Entry;
use crate::error::{Error, Result};

/// An image archive has some hundreds of members.
const MOST_MEMBERS: usize = 100_000;

/// `docker save` links a repeated layer to its first occurrence; a chain is an attack.
const MOST_LINKS: usize = 4;

/// Members by name; `C` is where the content of one is.
pub struct MemberTable<C> {
    place: String,
    members: HashMap<String, Member<C>>,
}

enum Member<C> {
    File(C),
    Link(String),
}

impl<C> MemberTable<C> {
    /// Without members. `place` is the archive, for errors.
    #[must_use]
    pub fn new(place: String) -> Self {
        Self { place, members: HashMap::new() }
    }

    /// How errors call the archive.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Add a member; `content` is asked for that of a file. Errors when there is one of that name,
    /// when there are too many, and as `content` does.
    pub fn add(&mut self, entry: &Entry, content: impl FnOnce(&str) -> Result<C>) -> Result<()> {
        let name = String::from_utf8_lossy(&entry.name);
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        let target =
            || String::from_utf8_lossy(entry.link.as_deref().unwrap_or_default()).into_owned();
        let member = match entry.kind {
            EntryType::Regular | EntryType::Continuous => None,
            EntryType::Symlink => Some(Member::Link(beside(&name, &target()))),
            EntryType::Link => Some(Member::Link(target())),
            // Directories; what else there may be is nothing that a manifest can name.
            _ => return Ok(()),
        };
        if self.members.len() >= MOST_MEMBERS {
            let message = format!("{}: has more than {MOST_MEMBERS} members", self.place);
            return Err(Error::source(message));
        }
        if self.members.contains_key(&name) {
            return Err(Error::source(format!("{}: has two members named '{name}'", self.place))
                .hint("which of them is meant cannot be told; save the image again"));
        }
        let member = match member {
            Some(link) => link,
            None => Member::File(content(&name)?),
        };
        self.members.insert(name, member);
        Ok(())
    }

    /// Whether there is a member of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The content of a member, or of the one that it links to. Errors when that is a chain.
    pub fn find(&self, name: &str) -> Result<Option<&C>> {
        let mut name = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..=MOST_LINKS {
            match self.members.get(name) {
                None => return Ok(None),
                Some(Member::File(content)) => return Ok(Some(content)),
                Some(Member::Link(target)) => name = target,
            }
        }
        Err(Error::source(format!("{}: '{name}' is a chain of links", self.place)))
    }
}

/// The member that a relative symlink names; one that leads out names nothing.
fn beside(name: &str, target: &str) -> String {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_inside() {
        assert_eq!(beside("abc/layer.tar", "../def/layer.tar"), "def/layer.tar");
        assert_eq!(beside("abc/layer.tar", "../../../etc/passwd"), "etc/passwd");
    }
}
