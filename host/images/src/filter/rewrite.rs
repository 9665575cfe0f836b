//! Runs the passes of all filters over one layer, and writes the layer that results.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::arrange::Arranging;
use super::dropped::{DroppedAs, DroppedMembers};
use occystrap_base::error::{Error, Result};
use occystrap_layer::blob::from_io;
use occystrap_layer::tar::member::plain as from_root;
use occystrap_layer::tar::{Member, MemberKind, TarReader, Writer};

/// The decision of a pass about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberVerdict {
    /// The member stays as it is.
    Same,
    /// The member stays, and the pass changed it.
    Changed,
    /// The member is dropped.
    Drop,
}

/// A filter at work on one layer.
pub trait Pass {
    /// Decides about the next member. A hard link to a file that was dropped before comes as that file.
    fn member(&mut self, member: &mut Member) -> Result<MemberVerdict>;

    /// Returns the plain path that a hard link to `path` leads to, if the filter drops members of that path.
    fn drops(&self, _path: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// The passes of all filters over one layer, in order.
pub type Passes<'a> = Vec<Box<dyn Pass + Send + 'a>>;

/// Writes a layer as the passes change it. Sets `changed` as soon as a pass changes or drops a member; if it stays unset,
/// the written layer has the same members, but not necessarily the same bytes. Temporary files with the contents that
/// hard links may need go to `folder`. With `arranging`, what is written is the spool from which the canonical form is
/// made.
pub fn rewrite(
    plain: impl BufRead,
    place: &str,
    passes: &mut Passes<'_>,
    to: &mut dyn Write,
    changed: &AtomicBool,
    folder: &Path,
    mut arranging: Option<&mut Arranging>,
) -> Result<()> {
    let mut reader = TarReader::new(plain, place);
    let mut writer = Writer::new(to);
    let mut dropped = DroppedMembers::new(folder);
    while let Some(mut member) = reader.next_member()? {
        if member.path.is_empty() {
            return Err(Error::source(format!("{place}: has a member without a name"))
                .hint("'occystrap check' lists all problems of an image"));
        }
        let (verdict, stands_for) = relink(&mut dropped, &mut member, place)?;
        let verdict = decide(passes, &mut member, verdict)?;
        if verdict != MemberVerdict::Same {
            changed.store(true, Ordering::Relaxed);
        }
        if verdict == MemberVerdict::Drop {
            drop_member(&mut dropped, &mut reader, &member, stands_for)?;
            continue;
        }
        dropped.replace(&member);
        if stands_for.is_none()
            && member.kind == MemberKind::HardLink
            && let Some(target) = passes.iter().find_map(|pass| pass.drops(&member.link))
        {
            return Err(leads_nowhere(&member, &target, &mut reader, place));
        }
        if let Some(arranging) = &mut arranging
            && !arranging.spell(&mut member)?
        {
            continue;
        }
        let start = writer.position();
        let written = match stands_for {
            Some(index) => {
                let content = dropped.content(index, &member);
                content.and_then(|mut content| writer.append(&member, &mut content))
            }
            None => writer.append(&member, &mut reader.content()),
        };
        written.map_err(|cause| failed(cause, place))?;
        if let Some(arranging) = &mut arranging {
            arranging.add(&member, start, writer.position())?;
        }
    }
    writer.finish().map_err(|cause| failed(cause, place))?;
    let lost = reader.finish()?;
    if lost > 0 && changed.load(Ordering::Relaxed) {
        tracing::warn!(
            "{place}: data after the end of its tar is left out ({lost} bytes that are not zero)"
        );
    }
    Ok(())
}

/// Redirects a hard link to a dropped member: to the member that became the file, or the link becomes the file itself.
/// In the latter case, returns the index of its content.
fn relink(
    dropped: &mut DroppedMembers,
    member: &mut Member,
    place: &str,
) -> Result<(MemberVerdict, Option<usize>)> {
    if member.kind != MemberKind::HardLink {
        return Ok((MemberVerdict::Same, None));
    }
    match dropped.find(&member.link) {
        None => Ok((MemberVerdict::Same, None)),
        // A link must not lead to itself.
        Some(DroppedAs::Link(path)) if from_root(&path) == member.plain_path() => {
            Err(replaced(member, place))
        }
        Some(DroppedAs::Link(path)) => {
            member.link = path;
            Ok((MemberVerdict::Changed, None))
        }
        Some(DroppedAs::Content(index)) => {
            Ok((MemberVerdict::Changed, dropped.stand_in(member, index).then_some(index)))
        }
        Some(DroppedAs::Lost) => Err(replaced(member, place)),
    }
}

/// Keeps what later hard links may need of a dropped member.
fn drop_member(
    dropped: &mut DroppedMembers,
    reader: &mut TarReader<impl BufRead>,
    member: &Member,
    stands_for: Option<usize>,
) -> Result<()> {
    let place = reader.place().to_owned();
    match (stands_for, member.kind) {
        (Some(index), _) => dropped.alias(member, DroppedAs::Content(index), &place),
        (None, MemberKind::HardLink) => {
            dropped.alias(member, DroppedAs::Link(member.link.clone()), &place)
        }
        (None, MemberKind::Directory) => {
            dropped.forget(member);
            Ok(())
        }
        (None, _) => dropped.keep(member, &mut reader.content(), &place),
    }
}

/// Shows every member of a layer to passes that change nothing.
pub fn read_through(plain: impl BufRead, place: &str, passes: &mut Passes<'_>) -> Result<()> {
    let mut reader = TarReader::new(plain, place);
    while let Some(mut member) = reader.next_member()? {
        decide(passes, &mut member, MemberVerdict::Same)?;
    }
    Ok(())
}

/// Returns the decision of all passes about a member, which is `start` if they keep it as it is.
fn decide(
    passes: &mut Passes<'_>,
    member: &mut Member,
    start: MemberVerdict,
) -> Result<MemberVerdict> {
    let mut verdict = start;
    for pass in passes {
        match pass.member(member)? {
            MemberVerdict::Drop => return Ok(MemberVerdict::Drop),
            MemberVerdict::Changed => verdict = MemberVerdict::Changed,
            MemberVerdict::Same => {}
        }
    }
    Ok(verdict)
}

/// Returns the error for a hard link whose excluded target is not available: the target is in a layer below, or comes
/// later in this layer, or the link leads to `target` through symbolic links.
fn leads_nowhere(
    link: &Member,
    target: &[u8],
    reader: &mut TarReader<impl BufRead>,
    place: &str,
) -> Error {
    let written = from_root(&link.link);
    let (path, leads) = (name(&link.path), name(&link.link));
    let what = format!("{place}: '{path}' is a link to '{leads}'");
    if written != target {
        let target = name(target);
        return Error::source(format!(
            "{what}, which is '{target}' through symbolic links, which is excluded"
        ))
        .hint("exclude the link as well, or neither");
    }
    let mut comes = false;
    while let (false, Ok(Some(member))) = (comes, reader.next_member()) {
        comes = member.plain_path() == target;
    }
    match comes {
        true => Error::source(format!("{what}, which is excluded and comes only after it"))
            .hint("a link must come after what it leads to: exclude both, or neither"),
        false => Error::source(format!("{what} in a layer below, which is excluded"))
            .hint("exclude the link as well, or neither"),
    }
}

/// Returns the error for a hard link to a dropped name of a file that stayed, but that another file has replaced.
fn replaced(link: &Member, place: &str) -> Error {
    let (path, target) = (name(&link.path), name(&link.link));
    Error::source(format!(
        "{place}: '{path}' is a link to '{target}', which is excluded, and its file is replaced in \
         the same layer"
    ))
    .hint("exclude the link as well, or neither")
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failed(cause: io::Error, place: &str) -> Error {
    from_io(cause, place)
}
