//! Which members an archive has, by name, with the links between them.
//!
//! What it refuses: more members than an image archive has, chains of links, and all on which
//! readers disagree - two members of one name, however that is spelled, files below links, types
//! that some skip and others read.

use std::collections::{HashMap, HashSet};

use tar::EntryType;

use super::tar_headers::Entry;
use occystrap_base::error::{Error, Result};

/// An image archive has some hundreds of members.
const MOST_MEMBERS: usize = 100_000;

/// `docker save` links a repeated layer to its first occurrence; a chain is an attack.
const MOST_LINKS: usize = 4;

/// Members by name; `C` is where the content of one is.
pub struct MemberTable<C> {
    place: String,
    members: HashMap<String, Member<C>>,
    /// Those that are members, and those that members are in.
    folders: HashSet<String>,
}

/// What a header announces.
enum Kind {
    File,
    Link(String),
    Folder,
}

enum Member<C> {
    File(C),
    Link(String),
}

impl<C> MemberTable<C> {
    /// Without members. `place` is the archive, for errors.
    #[must_use]
    pub fn new(place: String) -> Self {
        Self { place, members: HashMap::new(), folders: HashSet::new() }
    }

    /// How errors call the archive.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Add a member; `content` is asked for that of a file. Errors when readers would disagree on
    /// what it is, when there are too many, and as `content` does.
    pub fn add(&mut self, entry: &Entry, content: impl FnOnce(&str) -> Result<C>) -> Result<()> {
        self.add_or_compare(entry, content, |_, _| Ok(false))
    }

    /// The same. A member that is there already under that name, with the same content as `is_same`
    /// compares it, is no second one: whichever a reader takes, it gets the same bytes.
    pub fn add_or_compare(
        &mut self,
        entry: &Entry,
        content: impl FnOnce(&str) -> Result<C>,
        is_same: impl FnOnce(&C, &C) -> Result<bool>,
    ) -> Result<()> {
        let mut content = Some(content);
        if let Some(name) = self.is_again(entry) {
            let again = match (link(&name, entry), content.take()) {
                (Ok(Kind::Link(target)), _) => {
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
                .hint("which of them is right cannot be told; save the image again")
        })?;
        for (end, _) in name.match_indices('/') {
            self.add_folder(&name[..end])?;
        }
        let member = match kind {
            Kind::Folder => return self.add_folder(&name),
            Kind::Link(target) => Member::Link(target),
            // A name that is taken was refused just now.
            Kind::File => match content {
                Some(content) => Member::File(content(&name)?),
                None => return Ok(()),
            },
        };
        self.check_room()?;
        self.members.insert(name, member);
        Ok(())
    }

    /// The name of a file or a link that there is one of already.
    fn is_again(&self, entry: &Entry) -> Option<String> {
        let is_one = matches!(
            entry.kind,
            EntryType::Regular | EntryType::Continuous | EntryType::Symlink | EntryType::Link
        );
        let name = plain(&entry.name).ok().filter(|_| is_one && entry.oddity.is_none())?;
        self.members.contains_key(&name).then_some(name)
    }

    /// Whether a member is a link to another one.
    fn links_to(&self, name: &str, target: &str) -> bool {
        matches!(self.members.get(name), Some(Member::Link(first)) if first == target)
    }

    /// What a member is, and where. The error says why that depends on who reads it.
    fn understood(&self, entry: &Entry) -> Result<(String, Kind), String> {
        if let Some(why) = entry.oddity {
            return Err(why.to_owned());
        }
        let name = plain(&entry.name)?;
        let kind = match entry.kind {
            EntryType::Directory => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            _ => link(&name, entry)?,
        };
        if self.members.contains_key(&name) {
            return Err(format!("two members are named '{name}'"));
        }
        if !matches!(kind, Kind::Folder) && self.folders.contains(&name) {
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

    /// Whether there is a member of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The names of all files and links.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
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

/// Where a link leads. Errors for what is no link.
fn link(name: &str, entry: &Entry) -> Result<Kind, String> {
    let target = entry.link.as_deref().unwrap_or_default();
    match entry.kind {
        EntryType::Symlink => Ok(Kind::Link(beside(name, &String::from_utf8_lossy(target)))),
        EntryType::Link => Ok(Kind::Link(plain(target).unwrap_or_default())),
        other => Err(format!("no image has the type '{}'", char::from(other.as_byte()))),
    }
}

/// A name as all who unpack it understand it. Errors say why they do not.
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

/// The member that a relative symlink names; one that leads out names nothing.
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
