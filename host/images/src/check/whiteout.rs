//! Rules about whiteouts, by themselves: files that stand for a deletion (OCI image specification,
//! "Whiteouts").

use super::finding::Finding;
use occystrap_layer::overlay::whiteout::{is_aufs, target};
use occystrap_layer::tar::{Member, MemberKind};

/// All rules of a whiteout; nothing for other members.
pub fn check(member: &Member, say: &mut dyn FnMut(Finding)) {
    let path = member.plain_path();
    let Some(target) = target(&path) else { return };
    let mut say = |finding: Finding| say(finding.path(&member.path));
    match target {
        b"" => say(Finding::error("whiteout", "deletes nothing: no name follows '.wh.'")),
        b"." | b".." => {
            say(Finding::error("whiteout", "deletes the folder that it is in, or the one above"));
        }
        _ if is_aufs(&path) => {
            say(Finding::info("whiteout", "is a file of AUFS's own, which readers leave out"));
            return;
        }
        _ => {}
    }
    if member.kind != MemberKind::File {
        let message = format!("is a {}, and whiteouts are files", member.kind.name());
        say(Finding::warning("whiteout", message));
    } else if member.size > 0 {
        let message = format!("carries {} bytes, and whiteouts are empty", member.size);
        say(Finding::warning("whiteout-size", message));
    }
}
