//! The members of an archive by name, with the links between them.
//!
//! What it refuses: more members than an image archive has, chains of links, and everything on which readers differ:
//! two members of one name, in whatever spelling; files below links; types that some readers skip and others read.

use std::collections::{HashMap, HashSet};

use tar::EntryType;

use super::tar_headers::TarEntry;
use occystrap_base::error::{Error, Result};

/// Most members of an archive. Image archives have some hundreds.
const MOST_MEMBERS: usize = 100_000;

/// Most links in a row. `docker save` links a repeated layer to its first occurrence; a long chain is an attack.
const MOST_LINKS: usize = 4;

/// The members by name. `C` is the place of a member's content.
pub struct MemberTable<C> {
    place: String,
    members: HashMap<String, TableMember<C>>,
    /// Folders that are members themselves, and folders of members.
    folders: HashSet<String>,
}

/// The kind of a member.
enum EntryKind {
    File,
    Link(String),
    Folder,
}

enum TableMember<C> {
    File(C),
    Link(String),
}

impl<C> MemberTable<C> {
    /// Returns an empty table. `place` names the archive in errors.
    #[must_use]
    pub fn new(place: String) -> Self {
        Self { place, members: HashMap::new(), folders: HashSet::new() }
    }

    /// Returns the name of the archive for errors.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Adds a member. `content` is called for a file. Errors when readers would differ on the member, when there are
    /// too many members, and as `content` does.
    pub fn add(&mut self, entry: &TarEntry, content: impl FnOnce(&str) -> Result<C>) -> Result<()> {
        self.add_or_compare(entry, content, |_, _| Ok(false))
    }

    /// Adds a member as [`MemberTable::add`] does, but ignores one that is there already under that name with the same
    /// content, as `is_same` compares it: all readers then get the same bytes.
    pub fn add_or_compare(
        &mut self,
        entry: &TarEntry,
        content: impl FnOnce(&str) -> Result<C>,
        is_same: impl FnOnce(&C, &C) -> Result<bool>,
    ) -> Result<()> {
        let mut content = Some(content);
        if let Some(name) = self.is_again(entry) {
            let again = match (link(&name, entry), content.take()) {
                (Ok(EntryKind::Link(target)), _) => {
                    self.links_to(&name, &target)
                        || match (self.find(&name), self.find(&target)) {
                            (Ok(Some(first)), Ok(Some(second))) if target != name => {
                                is_same(first, second)?
                            }
                            _ => false,
                        }
                }
                (_, Some(content)) => match self.find(&name) {
                    Ok(Some(first)) => is_same(first, &content(&name)?)?,
                    _ => false,
                },
                _ => false,
            };
            if again {
                return Ok(());
            }
        }
        let (name, kind) = self.understood(entry).map_err(|why| {
            let name = String::from_utf8_lossy(&entry.name);
            let message = format!("{}: readers differ on its member '{name}': {why}", self.place);
            Error::source(message)
                .hint("it is not known which of them is right; save the image again")
        })?;
        for (end, _) in name.match_indices('/') {
            self.add_folder(&name[..end])?;
        }
        let member = match kind {
            EntryKind::Folder => return self.add_folder(&name),
            EntryKind::Link(target) => TableMember::Link(target),
            // A repeated name was refused above.
            EntryKind::File => match content {
                Some(content) => TableMember::File(content(&name)?),
                None => return Ok(()),
            },
        };
        self.check_room()?;
        self.members.insert(name, member);
        Ok(())
    }

    /// Returns the name of a file or a link if it is in the table already.
    fn is_again(&self, entry: &TarEntry) -> Option<String> {
        let is_one = matches!(
            entry.kind,
            EntryType::Regular | EntryType::Continuous | EntryType::Symlink | EntryType::Link
        );
        let name = plain(&entry.name).ok().filter(|_| is_one && entry.oddity.is_none())?;
        self.members.contains_key(&name).then_some(name)
    }

    /// Returns whether a member is a link to another one.
    fn links_to(&self, name: &str, target: &str) -> bool {
        matches!(self.members.get(name), Some(TableMember::Link(first)) if first == target)
    }

    /// Returns name and kind of a member. The error says why these depend on the reader.
    fn understood(&self, entry: &TarEntry) -> Result<(String, EntryKind), String> {
        if let Some(why) = entry.oddity {
            return Err(why.to_owned());
        }
        let name = plain(&entry.name)?;
        let kind = match entry.kind {
            EntryType::Directory => EntryKind::Folder,
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            _ => link(&name, entry)?,
        };
        if self.members.contains_key(&name) {
            return Err(format!("two members are named '{name}'"));
        }
        if !matches!(kind, EntryKind::Folder) && self.folders.contains(&name) {
            return Err("others are in it, as in a folder".to_owned());
        }
        let mut above = name.match_indices('/').map(|(end, _)| &name[..end]);
        match above.find(|folder| self.members.contains_key(*folder)) {
            Some(folder) => Err(format!("'{folder}' is no folder")),
            None => Ok((name, kind)),
        }
    }

    fn add_folder(&mut self, name: &str) -> Result<()> {
        if !self.folders.contains(name) {
            self.check_room()?;
            self.folders.insert(name.to_owned());
        }
        Ok(())
    }

    fn check_room(&self) -> Result<()> {
        if self.members.len() + self.folders.len() < MOST_MEMBERS {
            return Ok(());
        }
        Err(Error::source(format!("{}: has more than {MOST_MEMBERS} members", self.place)))
    }

    /// Returns whether there is a member of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Returns the names of all files and links.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Returns the content of a member, or of the member that it links to. Errors when that is a chain of links.
    pub fn find(&self, name: &str) -> Result<Option<&C>> {
        let mut name = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..=MOST_LINKS {
            match self.members.get(name) {
                None => return Ok(None),
                Some(TableMember::File(content)) => return Ok(Some(content)),
                Some(TableMember::Link(target)) => name = target,
            }
        }
        Err(Error::source(format!("{}: '{name}' is a chain of links", self.place)))
    }
}

/// Returns the target of a link. Errors for other types.
fn link(name: &str, entry: &TarEntry) -> Result<EntryKind, String> {
    let target = entry.link.as_deref().unwrap_or_default();
    match entry.kind {
        EntryType::Symlink => Ok(EntryKind::Link(beside(name, &String::from_utf8_lossy(target)))),
        EntryType::Link => Ok(EntryKind::Link(plain(target).unwrap_or_default())),
        other => Err(format!("no image has the type '{}'", char::from(other.as_byte()))),
    }
}

/// Returns a name if all readers agree on it. The error says why they do not.
fn plain(name: &[u8]) -> Result<String, &'static str> {
    if name.contains(&0) {
        return Err("its name has a NUL");
    }
    let name = String::from_utf8_lossy(name);
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    match parts.contains(&"..") {
        true => Err("its name leads out of the archive"),
        false => Ok(parts.join("/")),
    }
}

/// Returns the member that a relative symlink names. A target that leads out names no member.
fn beside(name: &str, target: &str) -> String {
    if target.starts_with('/') {
        return String::new();
    }
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
        assert_eq!(beside("abc/layer.tar", "/abc/x"), "");
    }
}
