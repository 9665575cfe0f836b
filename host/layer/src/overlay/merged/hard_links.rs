//! Hard links of layers that are merged: a link leads to the content that it had in its own layer, also where the name of
//! that content is gone.

use std::collections::{HashMap, HashSet};

use super::super::{Change, Key, MemberList, key};
use super::MemberId;

/// The fate of a hard link that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkFate {
    /// Its content stays under its name: it is left out itself.
    Became,
    /// It leads to this path, whose member is in the same layer or in a higher one, or in the layers below.
    Leads(Vec<u8>),
    /// It leads to this path, whose member is in a lower one of the merged layers, so that the link must be written after
    /// all of them.
    LeadsDown(Vec<u8>),
}

/// The fates of all hard links, and the members that are renamed for them.
#[derive(Default)]
pub struct HardLinks {
    fates: HashMap<MemberId, LinkFate>,
    renamed: HashMap<MemberId, Vec<u8>>,
    /// The member that has the content of each link.
    contents: HashMap<MemberId, MemberId>,
    /// The last link to the content of each member that has one, also if a layer deletes that link.
    last: HashMap<MemberId, MemberId>,
}

/// A hard link in a layer.
struct Link {
    id: MemberId,
    path: Vec<u8>,
    target: Vec<u8>,
}

/// What a link leads to.
#[derive(Clone, Copy)]
enum LinkedContent {
    /// A member; the link with this index names it.
    Member(MemberId, usize),
    /// Something in the layers below the merged ones; the link with this index names it.
    Base(usize),
}

/// A member at a path to which a link leads.
struct Occurrence {
    id: MemberId,
    /// The index of the link, if it is one.
    link: Option<usize>,
}

impl HardLinks {
    /// Follows the links of all layers. `alive` is whether a member stays at its path, `in_base` whether the layers below
    /// may have a path that stays. Errors name a link that leads to nothing. Layers in errors count from `first`.
    pub fn of(
        lists: &[MemberList],
        first: usize,
        alive: &dyn Fn(&[u8], MemberId) -> bool,
        in_base: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Self, String> {
        let links = links(lists);
        if links.is_empty() {
            return Ok(Self::default());
        }
        let contents = contents(lists, &links);
        let mut all = Self::default();
        for (link, content) in links.iter().zip(contents) {
            if let LinkedContent::Member(id, _) = content {
                all.contents.insert(link.id, id);
                all.last.insert(id, link.id);
            }
            if !alive(&link.path, link.id) {
                continue;
            }
            let fate = match content {
                LinkedContent::Base(by) if in_base(&links[by].target) => {
                    LinkFate::Leads(links[by].target.clone())
                }
                LinkedContent::Base(by) => {
                    let layer = first + usize::from(link.id.0);
                    let name = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
                    let (path, target) = (name(&link.path), name(&links[by].target));
                    return Err(format!(
                        "layer {layer} has '{path}' as a hard link to '{target}', which is not in \
                         these layers"
                    ));
                }
                LinkedContent::Member(id, by) => all.lead(link, id, &links[by].target, alive),
            };
            all.fates.insert(link.id, fate);
        }
        Ok(all)
    }

    /// Returns the fate of a link to a member, whose own path is `path`.
    fn lead(
        &mut self,
        link: &Link,
        member: MemberId,
        path: &[u8],
        alive: &dyn Fn(&[u8], MemberId) -> bool,
    ) -> LinkFate {
        let path = match self.renamed.get(&member) {
            Some(name) => name.clone(),
            None if alive(path, member) => path.to_vec(),
            None => {
                self.renamed.insert(member, link.path.clone());
                return LinkFate::Became;
            }
        };
        match member.0 < link.id.0 {
            true => LinkFate::LeadsDown(path),
            false => LinkFate::Leads(path),
        }
    }

    /// Returns the fate of a link that stays; `None` for a member that is not a link.
    #[must_use]
    pub fn fate(&self, id: MemberId) -> Option<&LinkFate> {
        self.fates.get(&id)
    }

    /// Returns the name whose metadata a member has in the end: all names of a file have those of the last one, because
    /// engines set the metadata of each name on the one file. It is the member itself if it has no other name.
    #[must_use]
    pub fn last_name(&self, id: MemberId) -> MemberId {
        let content = self.contents.get(&id).copied().unwrap_or(id);
        self.last.get(&content).copied().unwrap_or(id)
    }

    /// Returns the path under which a member is written because its own is gone.
    #[must_use]
    pub fn renamed(&self, id: MemberId) -> Option<&[u8]> {
        self.renamed.get(&id).map(Vec::as_slice)
    }
}

/// Returns all links, in the order of layers and members.
fn links(lists: &[MemberList]) -> Vec<Link> {
    let mut links = Vec::new();
    for (layer, list) in lists.iter().enumerate() {
        let mut number = 0;
        list.each(|entry| {
            if entry.act == Change::HardLink {
                let (path, target) = (entry.path.to_vec(), entry.link.to_vec());
                links.push(Link { id: (layer as u16, number), path, target });
            }
            number += 1;
        });
    }
    links
}

/// Returns what each link leads to: the last member of its target's path before it, in its layer or in a lower one.
fn contents(lists: &[MemberList], links: &[Link]) -> Vec<LinkedContent> {
    let wanted: HashSet<Key> = links.iter().map(|link| key(&link.target)).collect();
    let mut there: HashMap<Key, Vec<Occurrence>> = HashMap::new();
    let mut next = 0;
    for (layer, list) in lists.iter().enumerate() {
        let mut number = 0;
        list.each(|entry| {
            let id = (layer as u16, number);
            number += 1;
            let link = (entry.act == Change::HardLink).then_some(next);
            next += usize::from(link.is_some());
            let is_content = matches!(entry.act, Change::File | Change::Symlink | Change::HardLink);
            if is_content && wanted.contains(&key(entry.path)) {
                there.entry(key(entry.path)).or_default().push(Occurrence { id, link });
            }
        });
    }
    let mut contents: Vec<LinkedContent> = Vec::with_capacity(links.len());
    for (index, link) in links.iter().enumerate() {
        let all = there.get(&key(&link.target)).map_or(&[][..], Vec::as_slice);
        let before = all.partition_point(|one| one.id < link.id);
        contents.push(match before.checked_sub(1).and_then(|last| all.get(last)) {
            None => LinkedContent::Base(index),
            Some(Occurrence { link: Some(other), .. }) => contents[*other],
            Some(Occurrence { id, link: None }) => LinkedContent::Member(*id, index),
        });
    }
    contents
}
