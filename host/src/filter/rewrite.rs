//! One layer through the passes of all filters, and written again.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::kept::{Gone, Kept};
use super::{Pass, Verdict};
use crate::blob::from_io;
use crate::error::{Error, Result};
use crate::layer_tar::{Member, MemberKind, Reader, Writer};

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
    let mut kept = Kept::new(folder);
    while let Some(mut member) = reader.next_member()? {
        if member.path.is_empty() {
            return Err(Error::source(format!("{place}: has a member without a name"))
                .hint("'occystrap check' tells all that is wrong with an image"));
        }
        let mut verdict = Verdict::Same;
        let mut stands_for = None;
        if member.kind == MemberKind::HardLink
            && let Some(gone) = kept.find(&member.link)
        {
            verdict = Verdict::Changed;
            match gone {
                Gone::Link(path) => member.link = path,
                Gone::Content(index) => {
                    stands_for = kept.stand_in(&mut member, index).then_some(index);
                }
            }
        }
        let verdict = judge(passes, &mut member, verdict)?;
        if verdict != Verdict::Same {
            changed.store(true, Ordering::Relaxed);
        }
        if verdict == Verdict::Drop {
            drop_member(&mut kept, &mut reader, &member, stands_for)?;
            continue;
        }
        let written = match stands_for {
            Some(index) => {
                let content = kept.content(index, &member);
                content.and_then(|mut content| writer.append(&member, &mut content))
            }
            None => {
                check_link(passes, &member, place)?;
                writer.append(&member, &mut reader.content())
            }
        };
        written.map_err(|cause| failed(cause, place))?;
    }
    writer.finish().map_err(|cause| failed(cause, place))?;
    Ok(())
}

/// Remember what links may need of a member that goes.
fn drop_member(
    kept: &mut Kept,
    reader: &mut Reader<impl BufRead>,
    member: &Member,
    stands_for: Option<usize>,
) -> Result<()> {
    match (stands_for, member.kind) {
        (Some(index), _) => kept.alias(member, Gone::Content(index)),
        (None, MemberKind::HardLink) => kept.alias(member, Gone::Link(member.link.clone())),
        (None, MemberKind::File) => {
            let place = reader.place().to_owned();
            kept.keep(member, &mut reader.content(), &place)?;
        }
        (None, _) => {}
    }
    Ok(())
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

/// What a link to a layer below needs is not at hand when it is dropped there.
fn check_link(passes: &Passes<'_>, member: &Member, place: &str) -> Result<()> {
    let is_link = member.kind == MemberKind::HardLink;
    if !is_link || !passes.iter().any(|pass| pass.drops(&member.link)) {
        return Ok(());
    }
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(Error::source(format!(
        "{place}: '{}' is a link to '{}' in a layer below, which is excluded",
        name(&member.path),
        name(&member.link)
    ))
    .hint("exclude the link as well, or neither"))
}

fn failed(cause: io::Error, place: &str) -> Error {
    from_io(cause, place)
}
