//! One layer through the passes of all filters, and written again.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::dropped::{DroppedAs, DroppedMembers};
use super::{Pass, Verdict};
use occystrap_base::error::{Error, Result};
use occystrap_layer::blob::from_io;
use occystrap_layer::tar::member::plain as from_root;
use occystrap_layer::tar::{Member, MemberKind, Reader, Writer};

/// What filters are at work on a layer.
pub type Passes<'a> = Vec<Box<dyn Pass + Send + 'a>>;

/// Write a layer as the passes want it. As soon as that is known, `changed` says that they want
/// another one; else what was written holds the same, but need not be the same bytes. What links may
/// need goes to `folder`.
pub fn rewrite(
    plain: impl BufRead,
    place: &str,
    passes: &mut Passes<'_>,
    to: &mut dyn Write,
    changed: &AtomicBool,
    folder: &Path,
) -> Result<()> {
    let mut reader = Reader::new(plain, place);
    let mut writer = Writer::new(to);
    let mut kept = DroppedMembers::new(folder);
    while let Some(mut member) = reader.next_member()? {
        if member.path.is_empty() {
            return Err(Error::source(format!("{place}: has a member without a name"))
                .hint("'occystrap check' tells all that is wrong with an image"));
        }
        let (verdict, stands_for) = relink(&mut kept, &mut member, place)?;
        let verdict = judge(passes, &mut member, verdict)?;
        if verdict != Verdict::Same {
            changed.store(true, Ordering::Relaxed);
        }
        if verdict == Verdict::Drop {
            drop_member(&mut kept, &mut reader, &member, stands_for)?;
            continue;
        }
        kept.replace(&member);
        let written = match stands_for {
            Some(index) => {
                let content = kept.content(index, &member);
                content.and_then(|mut content| writer.append(&member, &mut content))
            }
            None => {
                if member.kind == MemberKind::HardLink
                    && let Some(target) = passes.iter().find_map(|pass| pass.drops(&member.link))
                {
                    return Err(leads_nowhere(&member, &target, &mut reader, place));
                }
                writer.append(&member, &mut reader.content())
            }
        };
        written.map_err(|cause| failed(cause, place))?;
    }
    writer.finish().map_err(|cause| failed(cause, place))?;
    let lost = reader.finish()?;
    if lost > 0 && changed.load(Ordering::Relaxed) {
        tracing::warn!(
            "{place}: what follows the end of its tar is left out ({lost} bytes that are not zero)"
        );
    }
    Ok(())
}

/// A hard link to what was dropped leads to what that has become, or becomes it: then it stands for a
/// content, by its index.
fn relink(
    kept: &mut DroppedMembers,
    member: &mut Member,
    place: &str,
) -> Result<(Verdict, Option<usize>)> {
    if member.kind != MemberKind::HardLink {
        return Ok((Verdict::Same, None));
    }
    match kept.find(&member.link) {
        None => Ok((Verdict::Same, None)),
        // A link to itself would lead nowhere.
        Some(DroppedAs::Link(path)) if from_root(&path) == member.plain_path() => {
            Err(replaced(member, place))
        }
        Some(DroppedAs::Link(path)) => {
            member.link = path;
            Ok((Verdict::Changed, None))
        }
        Some(DroppedAs::Content(index)) => {
            Ok((Verdict::Changed, kept.stand_in(member, index).then_some(index)))
        }
        Some(DroppedAs::Lost) => Err(replaced(member, place)),
    }
}

/// Remember what links may need of a member that goes.
fn drop_member(
    kept: &mut DroppedMembers,
    reader: &mut Reader<impl BufRead>,
    member: &Member,
    stands_for: Option<usize>,
) -> Result<()> {
    let place = reader.place().to_owned();
    match (stands_for, member.kind) {
        (Some(index), _) => kept.alias(member, DroppedAs::Content(index), &place),
        (None, MemberKind::HardLink) => {
            kept.alias(member, DroppedAs::Link(member.link.clone()), &place)
        }
        (None, MemberKind::Directory) => {
            kept.forget(member);
            Ok(())
        }
        (None, _) => kept.keep(member, &mut reader.content(), &place),
    }
}

/// Let the passes look at a layer, and change nothing.
pub fn look(plain: impl BufRead, place: &str, passes: &mut Passes<'_>) -> Result<()> {
    let mut reader = Reader::new(plain, place);
    while let Some(mut member) = reader.next_member()? {
        judge(passes, &mut member, Verdict::Same)?;
    }
    Ok(())
}

fn judge(passes: &mut Passes<'_>, member: &mut Member, start: Verdict) -> Result<Verdict> {
    let mut verdict = start;
    for pass in passes {
        match pass.member(member)? {
            Verdict::Drop => return Ok(Verdict::Drop),
            Verdict::Changed => verdict = Verdict::Changed,
            Verdict::Same => {}
        }
    }
    Ok(verdict)
}

/// What a link needs that is excluded and did not come before it under that name is not at hand: it
/// is in a layer below, or comes too late, or is `target`, to which symbolic links lead.
fn leads_nowhere(
    link: &Member,
    target: &[u8],
    reader: &mut Reader<impl BufRead>,
    place: &str,
) -> Error {
    let said = from_root(&link.link);
    let (path, leads) = (name(&link.path), name(&link.link));
    let what = format!("{place}: '{path}' is a link to '{leads}'");
    if said != target {
        let target = name(target);
        return Error::source(format!(
            "{what}, which symbolic links make '{target}', which is excluded"
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

/// A link to a dropped name of a file that stayed, and is another one now.
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
