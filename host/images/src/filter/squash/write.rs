//! Writing the layer that replaces several: first the directories in which there are whiteouts, and those whose members a
//! higher layer has, then whiteouts, then the members of each layer, the highest first, and at
//! last the hard links to files of lower layers.
//!
//! The highest layer goes first because it has the final metadata of its directories, which so come before what is in
//! them. Whiteouts come before their siblings, as the OCI image specification recommends ("Opaque Whiteout").

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use super::super::local_layers::{is_zstd, new_layer};
use super::names::{LinkMetadata, give_last};
use occystrap_base::error::{Error, Result};
use occystrap_layer::blob::{from_io, open_one, read_checked};
use occystrap_layer::image::Layer;
use occystrap_layer::overlay::merged::{LinkFate, MemberFate};
use occystrap_layer::overlay::whiteout::PREFIX;
use occystrap_layer::overlay::{Merged, PlacedMember, Placer, Whiteout, path};
use occystrap_layer::tar::{Member, MemberKind, TarReader, Writer};
use occystrap_net::context::Context;

/// Most hard links to files of lower layers, and most directories that must come first. Builders write few, and each takes
/// some 500 bytes.
const MOST_LATE: usize = 100_000;

/// Writes the layer. `layers` are those that it replaces, the lowest first, with the metadata of their hard `links`; `root`
/// is the one whose root counts. `place` is its name in errors.
pub fn write(
    place: String,
    layers: &[Layer],
    merged: &Merged,
    links: &[LinkMetadata],
    root: Option<usize>,
    context: &Context,
) -> Result<Layer> {
    let named = place.clone();
    let zstd = layers.iter().all(is_zstd);
    new_layer(place, zstd, context, |to| {
        let mut squashing =
            Squashing { merged, links, writer: Writer::new(to), late: Vec::new(), place: named };
        if merged.has_early() {
            squashing.early_folders(layers, context)?;
        }
        squashing.whiteouts()?;
        for (index, layer) in layers.iter().enumerate().rev() {
            let Some(stored) = open_one(layer, context) else { continue };
            read_checked(layer, stored.read_ahead(true), |plain| {
                squashing.layer(index, &mut *plain, &layer.place, root == Some(index))
            })?;
        }
        squashing.finish()
    })
}

/// The layer while it is written.
struct Squashing<'a> {
    merged: &'a Merged,
    links: &'a [LinkMetadata],
    writer: Writer<&'a mut (dyn Write + Send)>,
    /// The hard links to files of lower layers.
    late: Vec<Member>,
    place: String,
}

impl Squashing<'_> {
    /// Writes the directories that must come before everything else, the upper ones first. The layers are read once more
    /// for them.
    fn early_folders(&mut self, layers: &[Layer], context: &Context) -> Result<()> {
        let merged = self.merged;
        let unlisted = merged.unlisted().map(|path| {
            let folder = Member { mode: 0o755, ..Member::new(MemberKind::Directory, path) };
            (path.to_vec(), folder)
        });
        let mut early: BTreeMap<Vec<u8>, Member> = unlisted.collect();
        for (index, layer) in layers.iter().enumerate() {
            let Some(stored) = open_one(layer, context) else { continue };
            read_checked(layer, stored.read_ahead(true), |plain| {
                let mut reader = TarReader::new(&mut *plain, layer.place.clone());
                let mut placer = Placer::default();
                while let Some(mut member) = reader.next_member()? {
                    let wrong = |why: String| Error::source(format!("{}: {why}", layer.place));
                    let PlacedMember::At(number) = placer.place(&mut member).map_err(wrong)? else {
                        continue;
                    };
                    let id = (index as u16, number);
                    if member.kind == MemberKind::Directory
                        && merged.is_early(&member.path)
                        && merged.fate(id, &member.path) == MemberFate::Stays
                    {
                        early.insert(member.path.clone(), member);
                    }
                    if early.len() > MOST_LATE {
                        let what = format!("{}: directories that must come first", layer.place);
                        return Err(Error::mismatch(what, format!("at most {MOST_LATE}"), "more"));
                    }
                }
                Ok(())
            })?;
        }
        early.values().try_for_each(|folder| self.append(folder, &mut io::empty()))
    }

    /// Writes what the layers below lose. Its metadata is the same at any time.
    fn whiteouts(&mut self) -> Result<()> {
        let whiteout = |folder: &[u8], name: &[u8]| match folder {
            b"" => [PREFIX.as_bytes(), name].concat(),
            _ => [folder, b"/", PREFIX.as_bytes(), name].concat(),
        };
        let merged = self.merged;
        let opaque = merged.opaque().map(|folder| whiteout(folder, b".wh..opq"));
        let deleted = merged.whiteouts().map(|gone| {
            let (folder, name) = path::split(gone);
            whiteout(folder, name)
        });
        for path in opaque.chain(deleted) {
            self.append(&Member::new(MemberKind::File, path), &mut io::empty())?;
        }
        Ok(())
    }

    /// Writes the members of a layer that stay.
    fn layer(&mut self, index: usize, plain: impl BufRead, place: &str, root: bool) -> Result<()> {
        let mut reader = TarReader::new(plain, place);
        let mut placer = Placer::default();
        let mut root = root;
        while let Some(mut member) = reader.next_member()? {
            let wrong = |why: String| Error::source(format!("{place}: {why}"));
            let number = match placer.place(&mut member).map_err(wrong)? {
                PlacedMember::Nothing => continue,
                // The first one counts if a layer lists it twice.
                PlacedMember::Root if root => {
                    root = false;
                    member.path = b".".to_vec();
                    self.append(&member, &mut io::empty())?;
                    continue;
                }
                PlacedMember::Root => continue,
                PlacedMember::At(number) => number,
            };
            if Whiteout::of(&member.path).is_some() {
                continue;
            }
            let id = (index as u16, number);
            let fate = self.merged.fate(id, &member.path);
            give_last(&mut member, id, self.merged, self.links);
            match fate {
                MemberFate::Gone | MemberFate::Link(LinkFate::Became) => continue,
                MemberFate::Stays
                    if member.kind == MemberKind::Directory
                        && self.merged.is_early(&member.path) =>
                {
                    continue;
                }
                MemberFate::Stays => {}
                MemberFate::Renamed(name) => member.path = name.to_vec(),
                MemberFate::Link(LinkFate::Leads(to)) => member.link.clone_from(to),
                MemberFate::Link(LinkFate::LeadsDown(to)) => {
                    member.link.clone_from(to);
                    self.late.push(member);
                    if self.late.len() > MOST_LATE {
                        let what = format!("{}: hard links to files of lower layers", self.place);
                        return Err(Error::mismatch(what, format!("at most {MOST_LATE}"), "more"));
                    }
                    continue;
                }
            }
            self.append(&member, &mut reader.content())?;
        }
        Ok(())
    }

    fn append(&mut self, member: &Member, content: &mut dyn BufRead) -> Result<()> {
        self.writer.append(member, content).map_err(|cause| from_io(cause, &self.place))
    }

    fn finish(mut self) -> Result<()> {
        for member in std::mem::take(&mut self.late) {
            self.append(&member, &mut io::empty())?;
        }
        let Self { writer, place, .. } = self;
        writer.finish().map(|_| ()).map_err(|cause| from_io(cause, &place))
    }
}
