//! The folders and symbolic links of an image, with all its layers applied: where a new file really goes, and what the
//! folders above it look like.
//!
//! A layer that lists a folder replaces the folder's metadata, and one that has a folder where the image has a symbolic
//! link replaces the link. A new layer must therefore repeat what the image has.

use std::collections::{BTreeMap, BTreeSet};

use occystrap_layer::overlay::path::{MOST_LINKS, Reached, follow};
use occystrap_layer::overlay::{PlacedMember, Whiteout};
use occystrap_layer::tar::{Member, MemberKind};

/// Most bytes of folders and links in memory. A large distribution has some 30,000 folders, which take 10 MB.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// Bytes that a folder or link takes besides its name and its extended attributes.
const OVERHEAD: usize = 300;

/// The folders and links of an image.
#[derive(Default)]
pub struct ImageFolders {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Paths that must be folders, so that files there are remembered as well.
    wanted: BTreeSet<Vec<u8>>,
    bytes: usize,
}

/// What the image has at a path.
struct Node {
    /// The layer that has it last.
    layer: usize,
    member: Member,
}

/// Where a path leads.
pub enum Real<'a> {
    /// To a folder of the image.
    Folder(Vec<u8>, &'a Member),
    /// To something else, or to nothing yet.
    Other(Vec<u8>),
}

impl ImageFolders {
    /// Returns the folders of an image without layers.
    pub fn wanting(wanted: BTreeSet<Vec<u8>>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Takes the next member of a layer, with its path in the image. Errors when more folders and links would be kept
    /// than `MOST_BYTES`.
    pub fn see(
        &mut self,
        layer: usize,
        placed: PlacedMember,
        member: &Member,
    ) -> Result<(), String> {
        let PlacedMember::At(_) = placed else { return Ok(()) };
        match Whiteout::of(&member.path) {
            Some(Whiteout::Of(gone)) => {
                self.drop_below(layer, &gone);
                if self.nodes.get(&gone).is_some_and(|node| node.layer < layer) {
                    self.nodes.remove(&gone);
                }
                return Ok(());
            }
            Some(Whiteout::Opaque(folder)) => {
                self.drop_below(layer, &folder);
                return Ok(());
            }
            None => {}
        }
        let is_kept = match member.kind {
            MemberKind::Directory | MemberKind::Symlink => true,
            _ => self.wanted.contains(&member.path),
        };
        if member.kind != MemberKind::Directory && self.nodes.remove(&member.path).is_some() {
            self.drop_below(usize::MAX, &member.path);
        }
        if is_kept {
            let records = member.records.iter().map(|(key, value)| key.len() + value.len());
            self.bytes += member.path.len() + member.link.len() + OVERHEAD + records.sum::<usize>();
            if self.bytes > MOST_BYTES {
                return Err(format!("the image has more folders than {MOST_BYTES} bytes hold"));
            }
            self.nodes.insert(member.path.clone(), Node { layer, member: member.clone() });
        }
        Ok(())
    }

    /// Removes what layers below `layer` have below a folder. The root is empty.
    fn drop_below(&mut self, layer: usize, folder: &[u8]) {
        let begin = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let below = self.nodes.range(begin.clone()..);
        let below = below.take_while(|(path, _)| path.starts_with(&begin));
        let gone = below.filter(|(_, node)| node.layer < layer).map(|(path, _)| path.clone());
        for path in gone.collect::<Vec<_>>() {
            self.nodes.remove(&path);
        }
    }

    /// Returns a folder of the image.
    #[must_use]
    pub fn folder(&self, path: &[u8]) -> Option<&Member> {
        let member = &self.nodes.get(path)?.member;
        (member.kind == MemberKind::Directory).then_some(member)
    }

    /// Returns where a plain path leads, if that is another path; `None` where [`Self::real`] fails.
    #[must_use]
    pub fn led(&self, path: &[u8], last: bool) -> Option<Vec<u8>> {
        let (Real::Folder(real, _) | Real::Other(real)) = self.real(path, last).ok()?;
        Some(real).filter(|real| real != path)
    }

    /// Returns where a plain path leads: links in its folders are followed, and with `last` also its last part. Errors when
    /// a folder of it is a file, and with `last` also when its last part is one.
    pub fn real(&self, path: &[u8], last: bool) -> Result<Real<'_>, String> {
        let shown = || String::from_utf8_lossy(path);
        let real = follow(path, |at, Reached { is_last, links }| {
            let Some(Node { member, .. }) = self.nodes.get(at) else { return Ok(None) };
            match member.kind {
                MemberKind::Directory => Ok(None),
                MemberKind::Symlink if !is_last || last => match links < MOST_LINKS {
                    true => Ok(Some(member.link.as_slice())),
                    false => {
                        Err(format!("'{}' leads through too many links of the image", shown()))
                    }
                },
                _ if is_last && !last => Ok(None),
                _ if is_last => {
                    let file = String::from_utf8_lossy(at);
                    Err(format!(
                        "'{}' is '{file}', a file of the image, and would become a folder",
                        shown()
                    ))
                }
                _ => {
                    let file = String::from_utf8_lossy(at);
                    Err(format!("'{}' lies below '{file}', a file of the image", shown()))
                }
            }
        })?;
        Ok(match self.folder(&real) {
            Some(known) => Real::Folder(real, known),
            None => Real::Other(real),
        })
    }
}
